//! Phase 5: the image. Packs what changed, publishes what the registry does not have, and works
//! out what the cache keeps.
//!
//! ```text
//! run image's layers | layers of buildpacks | launch scripts | the app
//! ```
//!
//! Sorted by how seldom they change, so that a push that changes only code makes one new layer. A
//! layer whose tree is as it was when it was last packed is not even read.

mod configuration;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use fairway_api::builds::BuildpackRef;
use futures_util::future::try_join_all;
use serde_json::json;

use self::configuration::{configuration, run_image};
use super::{
    Lifecycle, LifecycleImage, Session,
    analyze::Previous,
    build::Built,
    cache::{Cache, CacheRecord, CachedBuildpack, CachedLayer},
    confined::Folder,
    digest,
    launch::{self, APP_DIR, Launch},
    layer_tar::{self, Packed, TreeState, pack},
    spec::{BuildpackMetadata, ImageMetadata, LayerMetadata, LayerSha},
};
use crate::{
    build::BuildFailure,
    publish::{BlobFile, MANIFEST_TYPE},
    stack::files::{CONFIG_TYPE, LAYER_TYPE},
};

/// The time of images: as for files in layers, so that equal input gives equal images.
const CREATED: &str = "1980-01-01T00:00:01Z";

/// A published image, and what the cache is to keep.
pub(crate) struct Exported {
    pub(crate) image: LifecycleImage,
    pub(crate) record: CacheRecord,
}

/// A layer of the new image.
#[derive(Debug, Clone)]
struct ImageLayer {
    packed: Packed,
    /// The file it was packed into just now; `None` when it is in the registry already.
    file: Option<PathBuf>,
    /// For the image's history.
    what: String,
}

/// The layers that buildpacks made, packed or known, and what is to be remembered of them.
struct Collected {
    layers: Vec<ImageLayer>,
    metadata: Vec<BuildpackMetadata>,
    record: BTreeMap<String, CachedBuildpack>,
}

impl Session<'_> {
    /// Packs and publishes.
    pub(super) async fn export(
        &mut self,
        built: &[Built],
        cache: &Cache,
        previous: &Previous,
    ) -> Result<Exported, BuildFailure> {
        let slot = self.sandbox.slot();
        let scratch = slot.packed();
        std::fs::create_dir_all(&scratch).context("make a folder for packed layers")?;
        let layers_dir = Folder::open(&slot.layers()).context("read the layers")?;
        let workspace = Folder::open(&slot.workspace()).context("read the built app")?;
        let launch = launch::launch(&layers_dir, built)?;
        if launch.processes.is_empty() {
            return Err(BuildFailure::new(
                "there is nothing to run: no buildpack found a start command; add a Procfile with \
                 a line such as \"web: ./server\"",
            ));
        }
        // Reading and packing files blocks, and takes what it needs of the one thread it is on.
        let (collected, ours) = tokio::task::block_in_place(|| {
            let collected = collect(&layers_dir, built, cache, previous, &scratch)?;
            let ours = own_layers(&launch, &workspace, &scratch)?;
            Ok::<_, BuildFailure>((collected, ours))
        })?;
        let Collected {
            mut layers,
            metadata,
            record,
        } = collected;
        let app = ours
            .last()
            .map(|layer| layer.packed.diff_id.to_string())
            .unwrap_or_default();
        let start = ours
            .first()
            .map(|layer| layer.packed.diff_id.to_string())
            .unwrap_or_default();
        layers.extend(ours);
        let stack = self.lifecycle.stack;
        let metadata = ImageMetadata {
            app: vec![LayerSha { sha: app }],
            config: LayerSha { sha: start },
            buildpacks: metadata,
            run_image: run_image(stack),
        };
        let config = configuration(stack, &layers, &metadata, built, &launch)?;
        let image = self.lifecycle.publish(&layers, config, &scratch).await?;
        drop(std::fs::remove_dir_all(&scratch));
        let size_bytes = stack
            .run
            .layers
            .iter()
            .map(|blob| blob.size_bytes)
            .sum::<u64>()
            + layers
                .iter()
                .map(|layer| layer.packed.size_bytes)
                .sum::<u64>();
        let names: Vec<&str> = built
            .iter()
            .map(|one| one.buildpack.name.as_str())
            .collect();
        let record = CacheRecord {
            stack: cache.record.stack.clone(),
            buildpacks: record,
        };
        let image = LifecycleImage {
            image,
            size_bytes,
            buildpacks: built.iter().map(reference).collect(),
            built_with: names.join(", "),
            processes: launch.processes,
        };
        Ok(Exported { image, record })
    }
}

impl Lifecycle<'_> {
    /// Sends what the registry lacks, and the manifest last.
    async fn publish(
        &self,
        layers: &[ImageLayer],
        config: Vec<u8>,
        scratch: &Path,
    ) -> Result<fairway_api::images::ImageRef, BuildFailure> {
        let registry = self.registry;
        let repository = self.order.repository.as_str();
        let stack = self.stack;
        let base_repository = stack.run.role.repository();
        let base = stack
            .run
            .layers
            .iter()
            .map(|blob| (blob.clone(), Some(base_repository)));
        let own = layers.iter().map(|layer| {
            let path = layer
                .file
                .clone()
                .unwrap_or_else(|| scratch.join("missing"));
            (layer.packed.in_file(&path), None)
        });
        let blobs: Vec<(BlobFile, Option<&str>)> = base.chain(own).collect();
        let config_digest = digest::of_bytes(&config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": config_digest, "size": config.len() },
            "layers": blobs.iter().map(|(blob, _)| json!({
                "mediaType": LAYER_TYPE,
                "digest": blob.digest,
                "size": blob.size_bytes,
            })).collect::<Vec<_>>(),
        });
        let manifest = serde_json::to_vec(&manifest).context("write the image's manifest")?;
        let sending = blobs
            .iter()
            .map(|(blob, from)| registry.ensure_blob(repository, blob, *from));
        let (sent, ()) = tokio::try_join!(
            try_join_all(sending),
            registry.send_bytes(repository, config, &config_digest),
        )
        .map_err(|error| anyhow::Error::new(error).context("publish the image"))?;
        let image = registry
            .put_manifest(repository, None, manifest)
            .await
            .map_err(|error| anyhow::Error::new(error).context("publish the image"))?;
        let bytes: u64 = (blobs.iter().zip(&sent))
            .filter(|(_, sent)| **sent)
            .map(|((blob, _), _)| blob.size_bytes)
            .sum();
        let new = sent.iter().filter(|sent| **sent).count();
        self.output.detail(format!(
            "Done: {new} of {} layers are new, {:.1} MB sent",
            blobs.len(),
            bytes as f64 / 1e6
        ));
        Ok(image)
    }
}

fn reference(built: &Built) -> BuildpackRef {
    let buildpack = &built.buildpack;
    BuildpackRef {
        name: format!("{}@{}", buildpack.id, buildpack.version),
        url: buildpack.homepage.clone(),
    }
}

/// Packs the buildpacks' layers, except those that are known.
fn collect(
    layers: &Folder,
    built: &[Built],
    cache: &Cache,
    previous: &Previous,
    scratch: &Path,
) -> Result<Collected, BuildFailure> {
    let mut all = Collected {
        layers: vec![],
        metadata: vec![],
        record: BTreeMap::new(),
    };
    for one in built {
        let mut metadata = BuildpackMetadata {
            key: one.buildpack.id.clone(),
            version: one.buildpack.version.clone(),
            layers: BTreeMap::new(),
            store: one.store.clone(),
        };
        let mut record = empty_record(one);
        let folder = one.buildpack.folder();
        let dir = layers.folder_if_any(&folder).context("read the layers")?;
        for (name, toml) in &one.layers {
            let found = match &dir {
                Some(dir) => dir.folder_if_any(name).context("read a layer")?,
                None => None,
            };
            let state = found.as_ref().map(layer_tar::state).transpose();
            let state = state.map_err(|error| unpackable(&folder, name, &error))?;
            let known = cache.record.layer(&folder, name);
            let mut packed = None;
            if toml.types.launch {
                let layer = match (&found, &state) {
                    (Some(tree), Some(state)) => layer(one, name, tree, state, known, scratch)?,
                    _ => kept(one, name, previous)?,
                };
                packed = Some(layer.packed.clone());
                metadata.layers.insert(
                    name.clone(),
                    LayerMetadata {
                        sha: layer.packed.diff_id.to_string(),
                        data: toml.metadata.clone(),
                        build: toml.types.build,
                        launch: true,
                        cache: toml.types.cache,
                    },
                );
                all.layers.push(layer);
            }
            if let Some(state) = state.filter(|_| toml.types.cache) {
                record
                    .layers
                    .insert(name.clone(), cached(toml, state, packed));
            }
        }
        all.metadata.push(metadata);
        all.record.insert(folder, record);
    }
    Ok(all)
}

fn empty_record(built: &Built) -> CachedBuildpack {
    CachedBuildpack {
        version: built.buildpack.version.clone(),
        layers: BTreeMap::new(),
        store: built.store.clone(),
    }
}

fn cached(toml: &super::spec::LayerToml, state: TreeState, packed: Option<Packed>) -> CachedLayer {
    let TreeState {
        fingerprint,
        disk_bytes,
    } = state;
    CachedLayer {
        toml: toml.clone(),
        fingerprint,
        disk_bytes,
        packed,
    }
}

fn unpackable(folder: &str, name: &str, error: &std::io::Error) -> BuildFailure {
    BuildFailure::new(format!(
        "the layer {folder}/{name} cannot be packed: {error}"
    ))
}

/// A layer that is there: as it was packed when it is unchanged since, else packed now.
fn layer(
    built: &Built,
    name: &str,
    tree: &Folder,
    state: &TreeState,
    known: Option<&CachedLayer>,
    scratch: &Path,
) -> Result<ImageLayer, BuildFailure> {
    let folder = built.buildpack.folder();
    let what = format!(
        "Layer: '{name}', Created by buildpack: {}",
        built.buildpack.id
    );
    let unchanged = known.filter(|known| known.fingerprint == state.fingerprint);
    if let Some(packed) = unchanged.and_then(|known| known.packed.clone()) {
        return Ok(ImageLayer {
            packed,
            file: None,
            what,
        });
    }
    let file = scratch.join(format!("{folder}-{name}.tar.gz"));
    let packed = pack(&file, |layer| {
        layer.folder(&format!("layers/{folder}"))?;
        layer.folder(&format!("layers/{folder}/{name}"))?;
        layer.tree(&format!("layers/{folder}/{name}"), tree)
    });
    let packed = packed.map_err(|error| unpackable(&folder, name, &error))?;
    Ok(ImageLayer {
        packed,
        file: Some(file),
        what,
    })
}

/// A layer that the buildpack wants kept from the previous image.
fn kept(built: &Built, name: &str, previous: &Previous) -> Result<ImageLayer, BuildFailure> {
    let id = &built.buildpack.id;
    let known = previous
        .metadata
        .buildpacks
        .iter()
        .find(|known| known.key == *id);
    let sha = known
        .and_then(|known| known.layers.get(name))
        .map(|layer| layer.sha.as_str());
    let packed = sha.and_then(|sha| previous.layers.get(sha)).cloned();
    let packed = packed.ok_or_else(|| {
        BuildFailure::new(format!(
            "the {} buildpack made no layer {name}, and there is none in a previous image to keep",
            built.buildpack.name
        ))
    })?;
    Ok(ImageLayer {
        packed,
        file: None,
        what: format!("Layer: '{name}', Kept by buildpack: {id}"),
    })
}

/// The launch scripts and the app.
fn own_layers(
    launch: &Launch,
    workspace: &Folder,
    scratch: &Path,
) -> Result<Vec<ImageLayer>, BuildFailure> {
    let file = scratch.join("launch.tar.gz");
    let packed = pack(&file, |layer| launch.write(layer)).context("pack the launch scripts")?;
    let what = "Launch scripts".to_owned();
    let scripts = ImageLayer {
        packed,
        file: Some(file),
        what,
    };
    let file = scratch.join("app.tar.gz");
    let packed = pack(&file, |layer| {
        layer.folder(&APP_DIR[1..])?;
        layer.tree(&APP_DIR[1..], workspace)
    });
    let packed =
        packed.map_err(|error| BuildFailure::new(format!("the app cannot be packed: {error}")))?;
    let app = ImageLayer {
        packed,
        file: Some(file),
        what: "Application".to_owned(),
    };
    Ok(vec![scripts, app])
}

/// What the cache keeps of buildpacks that ended well in a build that did not.
pub(crate) fn finished(
    built: &[Built],
    layers: &Path,
    before: &CacheRecord,
) -> BTreeMap<String, CachedBuildpack> {
    let mut records = BTreeMap::new();
    for one in built {
        let folder = one.buildpack.folder();
        let mut record = empty_record(one);
        for (name, toml) in one.layers.iter().filter(|(_, toml)| toml.types.cache) {
            let look = || -> std::io::Result<Option<TreeState>> {
                let Some(dir) = Folder::open(layers)?.folder_if_any(&folder)? else {
                    return Ok(None);
                };
                dir.folder_if_any(name)?
                    .as_ref()
                    .map(layer_tar::state)
                    .transpose()
            };
            if let Ok(Some(state)) = look() {
                let known = before.layer(&folder, name);
                let same = known.filter(|known| known.fingerprint == state.fingerprint);
                let packed = same.and_then(|known| known.packed.clone());
                record
                    .layers
                    .insert(name.clone(), cached(toml, state, packed));
            }
        }
        records.insert(folder, record);
    }
    records
}
