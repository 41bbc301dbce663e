//! What one app's builds keep for the next: layers that buildpacks marked as cached, and what is
//! known of them.
//!
//! ```text
//! CACHE/cache.json        what is kept; present exactly while the layers are in place
//! CACHE/lent.json         the same, while a build has the layers
//! CACHE/layers/BP/LAYER   the layers
//! ```
//!
//! A build does not get a copy: the layers are moved into its folders and back, which takes no
//! time, however large they are. So a build that fails or dies in the middle may have spoilt them.
//! What it did not touch, by the fingerprint of each tree, goes back; the rest is forgotten, and
//! the next build makes it anew. A spoilt layer is never used.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use fairway_api::names::Digest;
use serde::{Deserialize, Serialize};

use super::{
    confined::Folder,
    layer_tar::{self, Packed},
    spec::{LayerToml, StoreToml},
};

/// The cache of one app. Only one build of an app runs at a time, so nobody else has it open.
pub(crate) struct Cache {
    dir: PathBuf,
    pub(crate) record: CacheRecord,
}

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CacheRecord {
    /// The build image that everything was made in.
    pub(crate) stack: String,
    /// By the buildpack's folder name.
    pub(crate) buildpacks: BTreeMap<String, CachedBuildpack>,
}

/// What one buildpack keeps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CachedBuildpack {
    pub(crate) version: String,
    pub(crate) layers: BTreeMap<String, CachedLayer>,
    pub(crate) store: Option<StoreToml>,
}

/// A layer that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CachedLayer {
    pub(crate) toml: LayerToml,
    pub(crate) fingerprint: Digest,
    pub(crate) disk_bytes: u64,
    /// How it is in the image, if it is.
    pub(crate) packed: Option<Packed>,
}

impl Cache {
    /// Opens an app's cache. What was made in another build image is of no use, and is removed.
    pub(crate) fn open(dir: PathBuf, stack: &str) -> io::Result<Self> {
        fs::create_dir_all(dir.join("layers"))?;
        let mut cache = Self {
            dir,
            record: CacheRecord::default(),
        };
        if let Some(record) = cache.read("cache.json") {
            cache.record = record;
        } else if let Some(lent) = cache.read("lent.json") {
            // A build died. What it gave back was looked at by `recover`; the rest is gone.
            cache.record = lent;
            cache.forget_changed(&cache.dir.join("layers"))?;
        }
        if cache.record.stack != stack {
            cache.record = CacheRecord {
                stack: stack.to_owned(),
                ..CacheRecord::default()
            };
        }
        Ok(cache)
    }

    /// Moves the layers of these buildpacks, given with their versions, into a build's folder.
    /// Those of other versions and other buildpacks are dropped.
    pub(crate) fn lend(&mut self, layers: &Path, wanted: &[(String, String)]) -> io::Result<()> {
        self.record.buildpacks.retain(|folder, cached| {
            wanted
                .iter()
                .any(|(name, version)| name == folder && *version == cached.version)
        });
        self.write("lent.json")?;
        remove_file(&self.dir.join("cache.json"))?;
        for (folder, cached) in &mut self.record.buildpacks {
            cached.layers.retain(|name, _| {
                let from = self.dir.join("layers").join(folder).join(name);
                fs::rename(from, layers.join(folder).join(name)).is_ok()
            });
        }
        Ok(())
    }

    /// Takes the layers back that `record` names, from a build's folder, and drops all others.
    pub(crate) fn take_back(&mut self, layers: &Path, record: CacheRecord) -> io::Result<()> {
        let kept = self.dir.join("layers");
        fs::remove_dir_all(&kept)?;
        self.record = record;
        for (folder, cached) in &mut self.record.buildpacks {
            let to = kept.join(folder);
            fs::create_dir_all(&to)?;
            let Some(from) = Folder::open(layers)?.folder_if_any(folder)? else {
                cached.layers.clear();
                continue;
            };
            cached.layers.retain(|name, _| {
                from.move_out(OsStr::new(name), &to.join(name))
                    .unwrap_or(false)
            });
        }
        self.write("cache.json")?;
        remove_file(&self.dir.join("lent.json"))
    }

    /// What is still as it was when it was lent, in the folder of a build that did not succeed.
    pub(crate) fn untouched(&self, layers: &Path) -> CacheRecord {
        let mut record = self.record.clone();
        for (folder, cached) in &mut record.buildpacks {
            cached
                .layers
                .retain(|name, layer| is_unchanged(layers, folder, name, layer));
        }
        record
    }

    /// Takes back what a build that died left untouched. For the start of the builder.
    pub(crate) fn recover(dir: PathBuf, layers: &Path) -> io::Result<()> {
        let mut cache = Self {
            dir,
            record: CacheRecord::default(),
        };
        if let Some(lent) = cache
            .read("lent.json")
            .filter(|_| !cache.dir.join("cache.json").exists())
        {
            cache.record = lent;
            let untouched = cache.untouched(layers);
            cache.take_back(layers, untouched)?;
        }
        Ok(())
    }

    fn forget_changed(&mut self, layers: &Path) -> io::Result<()> {
        self.record = self.untouched(layers);
        self.write("cache.json")?;
        remove_file(&self.dir.join("lent.json"))
    }

    fn read(&self, name: &str) -> Option<CacheRecord> {
        serde_json::from_slice(&fs::read(self.dir.join(name)).ok()?).ok()
    }

    /// Replaces a file at once. It is not forced to the disk: after a power cut, a cache that is
    /// lost or unreadable only makes the next build slower.
    fn write(&self, name: &str) -> io::Result<()> {
        let unfinished = self.dir.join("new.json");
        fs::write(&unfinished, serde_json::to_vec(&self.record)?)?;
        fs::rename(unfinished, self.dir.join(name))
    }
}

impl CacheRecord {
    /// Drops layers, largest first, until all fit; gives their names.
    pub(crate) fn fit(&mut self, bytes_max: u64) -> Vec<String> {
        let mut dropped = Vec::new();
        while self
            .layers()
            .map(|(_, _, layer)| layer.disk_bytes)
            .sum::<u64>()
            > bytes_max
        {
            let largest = self.layers().max_by_key(|(_, _, layer)| layer.disk_bytes);
            let Some((folder, name, _)) = largest else {
                break;
            };
            let (folder, name) = (folder.to_owned(), name.to_owned());
            if let Some(buildpack) = self.buildpacks.get_mut(&folder) {
                buildpack.layers.remove(&name);
            }
            dropped.push(format!("{folder}/{name}"));
        }
        dropped
    }

    /// The layer of this name, if it is kept.
    pub(crate) fn layer(&self, folder: &str, name: &str) -> Option<&CachedLayer> {
        self.buildpacks.get(folder)?.layers.get(name)
    }

    fn layers(&self) -> impl Iterator<Item = (&str, &str, &CachedLayer)> {
        self.buildpacks.iter().flat_map(|(folder, cached)| {
            let layers = cached.layers.iter();
            layers.map(move |(name, layer)| (folder.as_str(), name.as_str(), layer))
        })
    }
}

fn is_unchanged(layers: &Path, folder: &str, name: &str, layer: &CachedLayer) -> bool {
    let look = || -> io::Result<bool> {
        let Some(folder) = Folder::open(layers)?.folder_if_any(folder)? else {
            return Ok(false);
        };
        let Some(found) = folder.folder_if_any(name)? else {
            return Ok(false);
        };
        Ok(layer_tar::state(&found)?.fingerprint == layer.fingerprint)
    };
    look().unwrap_or(false)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
