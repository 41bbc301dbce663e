//! The two images that everything builds on: the run image, under every app built by buildpacks,
//! and the build image, in which the buildpacks run.
//!
//! ```text
//! recipe -> files (mmdebstrap, once per machine, kept) -> our registry -> engine (pull and tag)
//! ```
//!
//! Each arrow is skipped when its right side is there already. Through the registry and not
//! straight into the engine, so that every machine gets them in the same way, and so that an app's
//! image shares the run image's layer with them. The images are tagged `fairway/run:SUITE` and
//! `fairway/build:SUITE` in the engine, for Dockerfiles to say `FROM` without any outside registry.

pub(crate) mod files;
pub(crate) mod recipe;
pub(crate) mod toolchain;

use anyhow::Context as _;
use fairway_api::names::Digest;
use oci_spec::image::ImageConfiguration;

use self::{
    files::StackFiles,
    recipe::{Recipe, Role},
};
use crate::{
    containers::Engine,
    lifecycle::digest,
    publish::{BlobFile, Registry},
};

/// Where to say what takes long: a line at a time, without line ends.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// How to come by a stack.
#[derive(Debug, Clone)]
pub struct StackSettings {
    /// Debian's name of the release that the images are made from.
    pub suite: String,
    /// A mirror of Debian's packages; `None` takes Debian's own servers.
    pub debian_mirror: Option<String>,
    /// Where finished images are kept, apart from all other data, so that several installations on
    /// a machine make them once.
    pub cache_dir: std::path::PathBuf,
}

/// One image of a stack, complete in files.
#[derive(Debug, Clone)]
pub(crate) struct StackImage {
    pub(crate) role: Role,
    pub(crate) layers: Vec<BlobFile>,
    pub(crate) config: ImageConfiguration,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) manifest_bytes: Vec<u8>,
    /// Its name in the engine: `fairway/run:bookworm`.
    pub(crate) tag: String,
}

/// A stack that is ready for builds.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    pub(crate) id: String,
    pub(crate) run: StackImage,
    pub(crate) build: StackImage,
}

impl Stack {
    /// True when the engine still has both images under their names. Somebody may have cleaned up.
    pub(crate) async fn is_in(&self, engine: &Engine) -> anyhow::Result<bool> {
        let (run, build) = tokio::try_join!(
            engine.image_id(&self.run.tag),
            engine.image_id(&self.build.tag)
        )?;
        let is = |found: Option<String>, image: &StackImage| {
            found.is_some_and(|id| id == image.image_id().as_str())
        };
        Ok(is(run, &self.run) && is(build, &self.build))
    }
}

impl StackImage {
    /// The engine's id of the image: the digest of its configuration.
    pub(crate) fn image_id(&self) -> Digest {
        digest::of_bytes(&self.config_bytes)
    }
}

/// Makes sure that the stack's images are in files, in the registry and in the engine.
pub(crate) async fn ensure(
    settings: &StackSettings,
    engine: &Engine,
    registry: &Registry,
    progress: Progress<'_>,
) -> anyhow::Result<Stack> {
    let files = StackFiles::open(&settings.cache_dir)?;
    let recipe = |role| Recipe {
        role,
        suite: settings.suite.clone(),
        mirror: settings.debian_mirror.clone(),
    };
    // Side by side: most of the time of each is one process at work.
    let (run_recipe, build_recipe) = (recipe(Role::Run), recipe(Role::Build));
    let (run, build) = tokio::try_join!(
        files.image(&run_recipe, progress),
        files.image(&build_recipe, progress),
    )?;
    for image in [&run, &build] {
        let name = image.tag.as_str();
        publish(image, registry, &settings.suite)
            .await
            .with_context(|| format!("put the stack image {name} into the registry"))?;
        fetch(image, engine, registry, progress)
            .await
            .with_context(|| format!("fetch the stack image {name} into the container engine"))?;
    }
    Ok(Stack {
        id: run_recipe.stack_id(),
        run,
        build,
    })
}

/// Puts an image into the registry, unless it is there.
async fn publish(image: &StackImage, registry: &Registry, tag: &str) -> anyhow::Result<()> {
    let repository = image.role.repository();
    for layer in &image.layers {
        registry.ensure_blob(repository, layer, None).await?;
    }
    let config = image.image_id();
    if !registry.has_blob(repository, &config).await? {
        registry
            .send_bytes(repository, image.config_bytes.clone(), &config)
            .await?;
    }
    registry
        .put_manifest(repository, Some(tag), image.manifest_bytes.clone())
        .await?;
    Ok(())
}

/// Gets an image into the engine under its tag, unless it is there.
async fn fetch(
    image: &StackImage,
    engine: &Engine,
    registry: &Registry,
    progress: Progress<'_>,
) -> anyhow::Result<()> {
    let id = image.image_id();
    if engine
        .image_id(&image.tag)
        .await?
        .is_some_and(|there| there == id.as_str())
    {
        return Ok(());
    }
    let started = tokio::time::Instant::now();
    let host = &registry.access().host;
    let digest = digest::of_bytes(&image.manifest_bytes);
    let name = format!("{host}/{}@{digest}", image.role.repository());
    engine.pull(&name, registry.access()).await?;
    engine.tag(&name, &image.tag).await?;
    progress(&format!(
        "Fetched {} into the container engine in {:.0} s",
        image.tag,
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}
