//! The table on disk, for a router that starts while the controller is away.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use fairway_api::routes::{RouteUpdate, Whole};

/// The file in the data directory.
const FILE_NAME: &str = "route-table.json";

/// The file with the last table.
#[derive(Debug)]
pub(crate) struct KeptTable {
    file: PathBuf,
    /// False once there shall be none any more, whatever is still being written.
    wanted: Mutex<bool>,
}

impl KeptTable {
    /// That of the router with this data directory.
    pub(crate) fn in_dir(data_dir: &Path) -> Self {
        Self {
            file: data_dir.join(FILE_NAME),
            wanted: Mutex::new(true),
        }
    }

    /// The table that was kept, if there is one that can be read. One that cannot is as good as none,
    /// since the controller has the original. Blocks.
    pub(crate) fn load(&self) -> Option<RouteUpdate> {
        let file = self.file.display();
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("cannot read {file}, waiting for the controller: {error}");
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                tracing::warn!("{file} is damaged, waiting for the controller: {error}");
            })
            .ok()
    }

    /// Writes the table beside the old one and puts it in its place, so that a crash leaves one or
    /// the other. It is not forced to the disk platters: a machine that lost power has lost its pods
    /// too. Does nothing once the table was given up. Blocks.
    pub(crate) fn save(&self, table: &Whole) -> anyhow::Result<()> {
        let text = serde_json::to_vec(table).context("write the route table as JSON")?;
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if !*wanted {
            return Ok(());
        }
        let new = self.file.with_extension("json.new");
        std::fs::write(&new, text).with_context(|| format!("write {}", new.display()))?;
        std::fs::rename(&new, &self.file)
            .with_context(|| format!("replace {}", self.file.display()))
    }

    /// Removes the table for good: what it says is nobody's truth any more. Blocks for moments.
    pub(crate) fn give_up(&self) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = false;
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {error}", self.file.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use fairway_api::routes::{RouteBook, RouteTable};

    use super::*;

    fn table(generation: u64) -> Whole {
        let mut book = RouteBook::default();
        let table = RouteTable {
            generation,
            routes: Vec::new(),
        };
        book.take(RouteUpdate::try_from(&table).unwrap()).unwrap();
        book.whole()
    }

    #[test]
    fn a_kept_table_comes_back() {
        let data = tempfile::tempdir().unwrap();
        let kept = KeptTable::in_dir(data.path());
        assert!(kept.load().is_none());
        for generation in [1, 2] {
            kept.save(&table(generation)).unwrap();
            let update = kept.load().unwrap();
            assert_eq!((update.generation, update.since), (generation, 0));
        }
        let names: Vec<_> = std::fs::read_dir(data.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_table_that_was_given_up_does_not_come_back() {
        let data = tempfile::tempdir().unwrap();
        let kept = KeptTable::in_dir(data.path());
        kept.save(&table(1)).unwrap();
        kept.give_up();
        kept.save(&table(2)).unwrap();
        assert!(kept.load().is_none());
        kept.give_up();
    }

    #[test]
    fn a_damaged_table_is_as_good_as_none() {
        let data = tempfile::tempdir().unwrap();
        let kept = KeptTable::in_dir(data.path());
        for text in ["", "{", "{\"generation\": 1}", "null"] {
            std::fs::write(&kept.file, text).unwrap();
            assert!(kept.load().is_none(), "{text:?}");
        }
        std::fs::remove_file(&kept.file).unwrap();
        std::fs::create_dir(&kept.file).unwrap();
        assert!(kept.load().is_none());
    }
}
