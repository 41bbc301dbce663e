//! Phase 3: what buildpacks find of their last build.
//!
//! Cached layers come back with their content. Of layers that are only in the image, a buildpack
//! gets the metadata: it can say that the layer is to stay as it is, and then nobody has to make
//! it or pack it again.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;

use super::{
    analyze::Previous,
    cache::Cache,
    detect::Detected,
    spec::{BuildpackMetadata, LayerToml, LayerTypes, StoreToml},
};
use crate::containers::slot::{Slot, own};

/// Fills `/layers`.
pub(super) fn restore(
    slot: &Slot,
    detected: &Detected,
    cache: &mut Cache,
    previous: &Previous,
) -> anyhow::Result<()> {
    let layers = slot.layers();
    let mut versions = Vec::new();
    for buildpack in &detected.buildpacks {
        let dir = layers.join(buildpack.folder());
        fs::create_dir_all(&dir)
            .and_then(|()| own(&dir))
            .with_context(|| format!("make {}", dir.display()))?;
        versions.push((buildpack.folder(), buildpack.version.clone()));
    }
    cache
        .lend(&layers, &versions)
        .context("take the layers out of the app's build cache")?;
    for buildpack in &detected.buildpacks {
        let folder = buildpack.folder();
        let same = |known: &&BuildpackMetadata| known.key == buildpack.id;
        let known = previous.metadata.buildpacks.iter().find(same);
        let cached = cache.record.buildpacks.get(&folder);
        let mut tomls: BTreeMap<String, LayerToml> = BTreeMap::new();
        if let Some(known) = known {
            tomls.extend(of_image(known));
        }
        let mut store = known.and_then(|known| known.store.clone());
        if let Some(cached) = cached {
            let of_cache = cached
                .layers
                .iter()
                .map(|(name, layer)| (name.clone(), untyped(&layer.toml)));
            tomls.extend(of_cache);
            store = cached.store.clone().or(store);
        }
        write(&layers.join(&folder), &tomls, store.as_ref())
            .with_context(|| format!("restore the layers of {}", buildpack.name))?;
    }
    Ok(())
}

/// Layers of the previous image that can be kept without their content.
fn of_image(known: &BuildpackMetadata) -> impl Iterator<Item = (String, LayerToml)> {
    let keepable = known.layers.iter().filter(|(name, layer)| {
        let is_name = !name.contains('/') && !name.starts_with('.');
        layer.launch && !layer.build && !layer.cache && is_name
    });
    keepable.map(|(name, layer)| {
        let toml = LayerToml {
            types: LayerTypes::default(),
            metadata: layer.data.clone(),
        };
        (name.clone(), toml)
    })
}

/// The specification has a buildpack say in each build what a layer is for.
fn untyped(toml: &LayerToml) -> LayerToml {
    LayerToml {
        types: LayerTypes::default(),
        metadata: toml.metadata.clone(),
    }
}

fn write(
    dir: &Path,
    tomls: &BTreeMap<String, LayerToml>,
    store: Option<&StoreToml>,
) -> anyhow::Result<()> {
    let put = |name: &str, text: String| -> anyhow::Result<()> {
        let path = dir.join(name);
        fs::write(&path, text)?;
        Ok(own(&path)?)
    };
    for (name, toml) in tomls {
        put(&format!("{name}.toml"), toml::to_string(toml)?)?;
    }
    if let Some(store) = store {
        put("store.toml", toml::to_string(store)?)?;
    }
    Ok(())
}
