//! The Cloud Native Buildpacks lifecycle: a source tree and buildpacks in, an image out.
//!
//! ```text
//! detect   which buildpacks build this app             in the build container
//! analyze  what the previous image consists of         here, from the registry
//! restore  cached layers and what is known of others   here
//! build    each buildpack in turn                      in the build container
//! export   pack what changed, publish                  here
//! ```
//!
//! A phase is a file. Buildpacks run in one container, without credentials and within limits;
//! everything that needs the registry runs in the builder. What a build wrote is only ever read
//! through [`confined`].

// What the phases speak in.
mod buildpacks;
pub(crate) mod cache;
pub(crate) mod confined;
pub(crate) mod digest;
mod environment;
pub(crate) mod layer_tar;
mod plan;
mod spec;

// The phases, and what the app is started by.
mod analyze;
mod build;
mod detect;
mod export;
pub(crate) mod launch;
mod restore;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use fairway_api::{
    build_orders::BuildOrder, builds::BuildpackRef, images::ImageRef, phases::Phase,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{build::Built, cache::Cache, environment::Variables};
use crate::{
    build::{BuildFailure, BuildLimits},
    containers::{
        pool::Pool,
        sandbox::{Ended, Sandbox, Stopped},
        slot::build_user,
    },
    output::Output,
    publish::Registry,
    stack::{Stack, toolchain::Toolchain},
};

/// What a build by buildpacks needs.
pub(crate) struct Lifecycle<'a> {
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) registry: &'a Registry,
    pub(crate) stack: &'a Stack,
    pub(crate) limits: &'a BuildLimits,
    pub(crate) toolchain: &'a Toolchain,
    pub(crate) buildpacks_dir: &'a Path,
    /// The cache of this app.
    pub(crate) cache_dir: PathBuf,
    pub(crate) cache_bytes_max: u64,
    pub(crate) order: &'a BuildOrder,
    /// Used up by the build.
    pub(crate) source: &'a Path,
    pub(crate) output: &'a Output,
    pub(crate) cancel: &'a CancellationToken,
}

/// An image made by buildpacks, published.
pub(crate) struct LifecycleImage {
    pub(crate) image: ImageRef,
    pub(crate) size_bytes: u64,
    pub(crate) buildpacks: Vec<BuildpackRef>,
    /// Names of the buildpacks that built, for people.
    pub(crate) built_with: String,
    pub(crate) processes: Vec<LaunchProcess>,
}

/// A process type of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaunchProcess {
    pub(crate) process_type: String,
    /// To show.
    pub(crate) command_line: String,
    /// The program in the image that starts it.
    pub(crate) launcher: String,
}

/// One build under way in its container.
struct Session<'a> {
    lifecycle: &'a Lifecycle<'a>,
    sandbox: Sandbox,
    deadline: Instant,
    /// What every buildpack sees, before any layer.
    base: Variables,
    /// What the user set for builds.
    users: Variables,
}

impl Lifecycle<'_> {
    /// Builds and publishes.
    pub(crate) async fn run(&self) -> Result<LifecycleImage, BuildFailure> {
        let deadline = Instant::now() + Duration::from_secs(self.limits.time_secs);
        let started = Instant::now();
        let groups = buildpacks::read(self.buildpacks_dir).context("read the buildpacks")?;
        let taken = self.pool.take(self.order.app.id).await;
        let mut sandbox = taken.context("get a build container")?;
        let mut session = match self.prepare(&sandbox) {
            Ok((base, users)) => Session {
                lifecycle: self,
                sandbox,
                deadline,
                base,
                users,
            },
            Err(error) => {
                drop(sandbox.clean().await);
                self.pool.give_back(self.order.app.id, sandbox).await;
                return Err(error.into());
            }
        };
        let stack = self.stack.build.image_id().to_string();
        let mut cache =
            Cache::open(self.cache_dir.clone(), &stack).context("open the app's build cache")?;
        Phase::Container.log(self.order.id, started.elapsed());
        let outcome = session.phases(&groups, &mut cache).await;
        session.end(outcome, cache).await
    }

    /// Puts source and environment into the container's folders.
    fn prepare(&self, sandbox: &Sandbox) -> anyhow::Result<(Variables, Variables)> {
        let slot = sandbox.slot();
        slot.assign(self.order.app.id)
            .context("mark the folders of the build container")?;
        confined::Folder::open(self.source)
            .and_then(|source| source.chown(build_user()))
            .context("hand the source over to the build")?;
        for entry in std::fs::read_dir(self.source).context("read the source tree")? {
            let entry = entry.context("read the source tree")?;
            std::fs::rename(entry.path(), slot.workspace().join(entry.file_name()))
                .context("move the source into the build container")?;
        }
        let env = slot.platform().join("env");
        std::fs::create_dir_all(&env).context("write the build's environment")?;
        let mut users = Variables::new();
        for (name, value) in &self.order.env {
            std::fs::write(env.join(name.as_str()), value.expose())
                .context("write the build's environment")?;
            users.insert(name.as_str().to_owned(), value.expose().to_owned());
        }
        Ok((self.base_variables(), users))
    }

    fn base_variables(&self) -> Variables {
        let mut base = Variables::new();
        let image = self.stack.build.config.config().as_ref();
        for pair in image
            .and_then(|config| config.env().as_deref())
            .unwrap_or_default()
        {
            if let Some((name, value)) = pair.split_once('=') {
                base.insert(name.to_owned(), value.to_owned());
            }
        }
        base.extend(self.toolchain.container_env());
        let fixed = [
            ("HOME", "/home/cnb"),
            ("CNB_STACK_ID", self.stack.id.as_str()),
            ("CNB_PLATFORM_DIR", "/platform"),
            ("CNB_TARGET_OS", "linux"),
            ("CNB_TARGET_ARCH", crate::stack::files::architecture()),
            ("CNB_TARGET_DISTRO_NAME", "debian"),
            ("CNB_TARGET_DISTRO_VERSION", "12"),
        ];
        base.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        base
    }
}

/// What the phases came to: the image, and what each buildpack that ended well left behind.
type Outcome = (Result<export::Exported, Failed>, Vec<Built>);

/// Why the phases ended early.
enum Failed {
    /// The build did not succeed; its container is in order.
    Build(BuildFailure),
    /// The build did not end by itself.
    Stopped(Stopped),
}

impl From<BuildFailure> for Failed {
    fn from(failure: BuildFailure) -> Self {
        Self::Build(failure)
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Build(error.into())
    }
}

impl From<Stopped> for Failed {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl Session<'_> {
    async fn phases(&mut self, groups: &[buildpacks::Group], cache: &mut Cache) -> Outcome {
        let id = self.lifecycle.order.id;
        let mut since = Instant::now();
        let mut measure = |phase: Phase| {
            phase.log(id, since.elapsed());
            since = Instant::now();
        };
        let Lifecycle {
            registry, order, ..
        } = *self.lifecycle;
        let (detected, previous) = tokio::join!(
            self.detect(groups),
            analyze::previous_image(registry, order.previous_image.as_ref()),
        );
        let previous = &previous;
        let detected = match detected {
            Ok(detected) => detected,
            Err(failed) => return (Err(failed), Vec::new()),
        };
        measure(Phase::Detect);
        if let Err(error) = restore::restore(self.sandbox.slot(), &detected, cache, previous) {
            return (Err(error.into()), Vec::new());
        }
        measure(Phase::Restore);
        let mut built = Vec::new();
        if let Err(failed) = self.build(&detected, &mut built).await {
            return (Err(failed), built);
        }
        measure(Phase::Build);
        let (cancel, deadline) = (self.lifecycle.cancel, self.deadline);
        let secs = self.lifecycle.limits.time_secs;
        let exported = tokio::select! {
            exported = self.export(&built, cache, previous) => exported.map_err(Failed::from),
            () = cancel.cancelled() => Err(Stopped::Cancelled.into()),
            () = tokio::time::sleep_until(deadline) => Err(Stopped::Time { secs }.into()),
        };
        measure(Phase::Export);
        (exported, built)
    }

    /// Runs a script in the container; `shown` says whether the user sees what it prints.
    async fn run(&mut self, script: &str, shown: bool) -> Result<Ended, Stopped> {
        let output = self.lifecycle.output;
        let mut sink = |bytes: &[u8]| {
            if shown {
                output.raw(bytes);
            }
        };
        self.sandbox
            .run(script, &mut sink, self.deadline, self.lifecycle.cancel)
            .await
    }

    /// Takes the cache back, gives the container back, and tells the result.
    async fn end(self, outcome: Outcome, mut cache: Cache) -> Result<LifecycleImage, BuildFailure> {
        let (result, built) = outcome;
        let Session {
            lifecycle, sandbox, ..
        } = self;
        let layers = sandbox.slot().layers();
        let app = lifecycle.order.app.id;
        let (image, mut record) = match result {
            Ok(exported) => (Ok(exported.image), exported.record),
            Err(failed) => (Err(failed), cache.untouched(&layers)),
        };
        if image.is_err() {
            // What buildpacks finished before the failure is as good as after a success.
            record
                .buildpacks
                .extend(export::finished(&built, &layers, &cache.record));
        }
        for dropped in record.fit(lifecycle.cache_bytes_max) {
            lifecycle
                .output
                .detail(format!("The cached layer {dropped} is too large to keep"));
        }
        if let Err(error) = cache.take_back(&layers, record) {
            tracing::warn!("the build cache of an app is lost: {error}");
        }
        let failure = match image {
            Ok(image) => {
                // The next step of a push must not wait for this.
                lifecycle.pool.give_back_later(app, sandbox);
                return Ok(image);
            }
            Err(Failed::Build(failure)) => {
                lifecycle.pool.give_back_later(app, sandbox);
                failure
            }
            Err(Failed::Stopped(stopped)) => {
                lifecycle.pool.give_up(sandbox).await;
                match stopped {
                    Stopped::Lost(error) => {
                        BuildFailure::ours(&error.context("the build container was lost"))
                    }
                    stopped => BuildFailure::new(stopped.to_string()),
                }
            }
        };
        Err(failure)
    }
}

/// Layers by name, as buildpacks left them.
type Layers = BTreeMap<String, spec::LayerToml>;
