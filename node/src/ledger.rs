//! What the agent remembers on disk: the last plan and what it last saw of each pod, so that pods
//! outlive a dead controller and a restarted agent.
//!
//! One JSON file per noun, readable by its owner only (plans hold config vars), each replaced as a
//! whole by an atomic rename. It must not decide anything.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use fairway_api::lock::{DirectoryLock, LockError};
use serde::{Serialize, de::DeserializeOwned};

/// Why the ledger could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("cannot use the agent's directory {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The agent's directory, held by one agent at a time.
#[derive(Debug)]
pub(crate) struct Ledger {
    dir: PathBuf,
    _lock: DirectoryLock,
}

/// A file that was replaced but may not be on the platter yet.
#[derive(Debug)]
#[must_use = "call `sync` where losing the file in a power cut would matter"]
pub(crate) struct Written(File, PathBuf);

impl Ledger {
    /// Opens the directory, making it if it is missing; waits a moment for an agent that is just
    /// letting go of it.
    pub(crate) async fn open(dir: &Path) -> Result<Self, LedgerError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| LedgerError::Directory {
                path: dir.to_owned(),
                source,
            })?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: DirectoryLock::take(dir, "lock", "agent").await?,
        })
    }

    /// What was last saved under this name. A file that cannot be read is set aside and counts as
    /// missing: the controller and the engine know the rest.
    pub(crate) fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.path(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(path = %path.display(), "cannot read the agent's memory: {error}");
                return None;
            }
        };
        match serde_json::from_slice(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                let aside = path.with_extension("unreadable");
                drop(fs::rename(&path, &aside));
                tracing::error!(
                    kept_as = %aside.display(),
                    "the agent's memory is damaged and starts empty: {error}"
                );
                None
            }
        }
    }

    /// Replaces what is saved under this name. A crash of the agent at any moment leaves the old
    /// or the new content, never a mix; for a crash of the machine see [`Written::sync`].
    pub(crate) fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<Written, LedgerError> {
        let path = self.path(name);
        let failed = |source| LedgerError::Write {
            path: path.clone(),
            source,
        };
        let text = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
        let fresh = path.with_extension("new");
        let mut file = private().truncate(true).open(&fresh).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        fs::rename(&fresh, &path).map_err(failed)?;
        Ok(Written(file, path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("json")
    }
}

impl Written {
    /// Waits until the file is on the platter.
    pub(crate) fn sync(self) -> Result<(), LedgerError> {
        self.0.sync_all().map_err(|source| LedgerError::Write {
            path: self.1,
            source,
        })
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn it_returns_what_was_saved_and_keeps_it_private() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).await.unwrap();
        assert_eq!(ledger.load::<Vec<u8>>("plan"), None);
        ledger.save("plan", &vec![1, 2]).unwrap().sync().unwrap();
        ledger.save("plan", &vec![3]).unwrap().sync().unwrap();
        assert_eq!(ledger.load::<Vec<u8>>("plan"), Some(vec![3]));
        let mode = fs::metadata(dir.path().join("plan.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_damaged_file_counts_as_missing_and_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).await.unwrap();
        fs::write(dir.path().join("plan.json"), "{\"node\":").unwrap();
        assert_eq!(ledger.load::<Vec<u8>>("plan"), None);
        assert!(dir.path().join("plan.unreadable").exists());
    }
}
