//! What is on disk, and the only code that touches it.
//!
//! ```text
//! blobs/HEX                             content, of blobs and manifests alike
//! uploads/ID-REPOSITORY_HASH            content that is still coming; resumed at its end
//! tmp/                                  files on their way to a name; emptied at start
//! lock                                  held by the one process that serves this directory
//! repositories/NAME/_blobs/HEX          empty: the repository may show this blob
//! repositories/NAME/_manifests/HEX      empty: the repository may show this manifest
//! repositories/NAME/_tags/TAG           symbolic link to `../_manifests/HEX`
//! repositories/NAME/_referrers/HEX/HEX  empty: the second manifest has the first as its subject
//! ```
//!
//! No component of a repository's name begins with an underscore, so that names never meet the
//! four fixed directories. Links are empty and tags are symbolic links, so that making either is
//! one atomic change of a directory and needs no sync of its own.
//!
//! Everything here blocks; callers run it on the blocking pool. The one lock orders two things:
//! "see that it is there and make it young" against the collector's "see that it is old and remove
//! it". It is never held over a sync of data or a network wait.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sha2::Digest as _;

use crate::names::{Digest, Repository, Tag, UploadId};

pub(crate) mod blobs;
pub(crate) mod collect;
pub(crate) mod disk;
pub(crate) mod listing;
pub(crate) mod manifests;
pub(crate) mod tags;
pub(crate) mod uploads;

/// The directory tree.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    removal: RwLock<()>,
    /// Keeps the file lock for as long as the store lives.
    _lock: File,
}

/// Holds the directory for this process alone, by the rule of all of Fairway's parts: the kernel
/// lets go of the lock however its holder ends, and the holder's process id stands in the file.
fn take(path: &Path) -> io::Result<File> {
    // What stands in it is the holder's until the lock is ours.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::Error(error)) => return Err(error),
        Err(fs::TryLockError::WouldBlock) => {
            let holder: Option<u32> = fs::read_to_string(path)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            let holder = holder.map(|pid| format!(" (process {pid})"));
            return Err(io::Error::new(
                ErrorKind::ResourceBusy,
                format!(
                    "another registry works in this directory{}; stop it first, or choose \
                     another directory",
                    holder.unwrap_or_default()
                ),
            ));
        }
    }
    file.set_len(0)?;
    writeln!(file, "{}", process::id())?;
    Ok(file)
}

impl Store {
    /// Opens a directory, and makes it if needed.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        // Layers may hold what only their app should read; whoever made the directory before has
        // decided otherwise.
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        for name in ["blobs", "uploads", "tmp", "repositories"] {
            private.create(root.join(name))?;
        }
        let lock = take(&root.join("lock"))?;
        for entry in fs::read_dir(root.join("tmp"))? {
            fs::remove_file(entry?.path())?;
        }
        disk::sync_dir(root)?;
        Ok(Self {
            root: root.to_owned(),
            removal: RwLock::new(()),
            _lock: lock,
        })
    }

    /// Taken by whoever relies on a file that it saw, for as long as it takes to make it young.
    fn keep_files(&self) -> RwLockReadGuard<'_, ()> {
        // The lock guards no data, so that a panic elsewhere leaves nothing to distrust.
        self.removal.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken by the collector for one "is it old? then remove it".
    fn remove_files(&self) -> RwLockWriteGuard<'_, ()> {
        self.removal.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is the file there? If so, the collector leaves it alone for its least age from now on.
    fn hold(&self, path: &Path) -> io::Result<bool> {
        let _guard = self.keep_files();
        disk::touch(path)
    }

    /// Makes an empty link and the directories above it; an existing one becomes young.
    fn link(&self, path: &Path) -> io::Result<()> {
        let _guard = self.keep_files();
        disk::make_link(path)
    }

    /// Makes the entries of a directory durable, and those that lead to it from the root.
    fn sync_up(&self, dir: &Path) -> io::Result<()> {
        for dir in dir.ancestors().take_while(|dir| *dir != self.root) {
            disk::sync_dir(dir)?;
        }
        Ok(())
    }

    fn blobs_dir(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn content(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    fn uploads_dir(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The file of an upload. The repository is part of its name, so that an upload is found only
    /// under the repository that it was started for, and that without a second file.
    fn upload(&self, repository: &Repository, id: UploadId) -> PathBuf {
        let hash = sha2::Sha256::digest(repository.as_str());
        self.uploads_dir()
            .join(format!("{id}-{}", hex::encode(&hash[..8])))
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("tmp").join(UploadId::random().to_string())
    }

    fn repositories_dir(&self) -> PathBuf {
        self.root.join("repositories")
    }

    fn blob_links(&self, repository: &Repository) -> PathBuf {
        self.repositories_dir()
            .join(repository.as_str())
            .join("_blobs")
    }

    fn manifest_links(&self, repository: &Repository) -> PathBuf {
        self.repositories_dir()
            .join(repository.as_str())
            .join("_manifests")
    }

    fn tags_dir(&self, repository: &Repository) -> PathBuf {
        self.repositories_dir()
            .join(repository.as_str())
            .join("_tags")
    }

    fn tag(&self, repository: &Repository, tag: &Tag) -> PathBuf {
        self.tags_dir(repository).join(tag.as_str())
    }

    fn referrers_dir(&self, repository: &Repository, subject: &Digest) -> PathBuf {
        let repository = self.repositories_dir().join(repository.as_str());
        repository.join("_referrers").join(subject.hex())
    }
}
