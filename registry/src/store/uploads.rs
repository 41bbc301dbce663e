//! Uploads: files that grow until their digest is checked and they become blobs.
//!
//! The file is the truth: its length is what was received, also after a crash. What is in memory
//! is only the hash so far, which is computed again from the file where it is missing, and who is
//! writing at the moment.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    error::Error,
    names::{Digest, Repository, UploadId},
    store::{Store, disk},
};

/// Most uploads that may be open at once. Each is a file and a hash in memory; a client that
/// starts uploads and forgets them should hear of it long before the disk runs out of inodes.
const UPLOADS_OPEN_MAX: usize = 4096;

/// Bytes read at a time when a hash is computed again.
const REHASH_BYTES: usize = 1024 * 1024;

/// Bytes after which the kernel is asked to begin writing to the disk. Large enough for long
/// writes, small enough that little is left when the upload ends.
const WRITE_BACK_BYTES: u64 = 8 * 1024 * 1024;

/// Who has an upload.
#[derive(Debug)]
enum Slot {
    /// Nobody; the hash of its file, if known.
    Idle(Option<Sha256>),
    /// A request that writes to it.
    Busy,
}

/// All open uploads, and the store that they end in.
#[derive(Debug)]
pub(crate) struct Uploads {
    pub(crate) store: Arc<Store>,
    slots: Mutex<HashMap<PathBuf, Slot>>,
}

/// An upload that one request has for itself, until it is dropped.
#[derive(Debug)]
pub(crate) struct Upload {
    uploads: Arc<Uploads>,
    path: PathBuf,
    file: File,
    length: u64,
    /// Length up to which the kernel was asked to write to the disk.
    written_back: u64,
    /// Hash of the whole file; `None` if it has to be computed again.
    hasher: Option<Sha256>,
    /// True once the file is gone, as a blob or for good.
    ended: bool,
}

impl Uploads {
    /// Finds the uploads that an earlier process left.
    pub(crate) fn open(store: Arc<Store>) -> io::Result<Self> {
        let dir = store.uploads_dir();
        let slots = disk::names(&dir)?
            .into_iter()
            .map(|name| (dir.join(name), Slot::Idle(None)))
            .collect();
        Ok(Self {
            store,
            slots: Mutex::new(slots),
        })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<PathBuf, Slot>> {
        // Every change is one insert or remove, so that a panic elsewhere leaves the map whole.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an upload, and hands it out.
    pub(crate) fn start(self: &Arc<Self>, name: &Repository) -> Result<(UploadId, Upload), Error> {
        let id = UploadId::random();
        let path = self.store.upload(name, id);
        {
            let mut slots = self.slots();
            if slots.len() >= UPLOADS_OPEN_MAX {
                return Err(Error::UploadsTooMany { open: slots.len() });
            }
            slots.insert(path.clone(), Slot::Busy);
        }
        let options = OpenOptions::new()
            .append(true)
            .read(true)
            .create_new(true)
            .clone();
        match options.open(&path) {
            Ok(file) => Ok((id, self.hand_out(path, file, 0, Some(Sha256::new())))),
            Err(error) => {
                self.slots().remove(&path);
                Err(Error::io("start an upload")(error))
            }
        }
    }

    /// Bytes received so far.
    pub(crate) fn length(&self, name: &Repository, id: UploadId) -> Result<u64, Error> {
        match fs::metadata(self.store.upload(name, id)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::UploadUnknown),
            Err(error) => Err(Error::io("look for an upload")(error)),
        }
    }

    /// Hands out an upload to go on with it.
    pub(crate) fn resume(
        self: &Arc<Self>,
        name: &Repository,
        id: UploadId,
    ) -> Result<Upload, Error> {
        let path = self.store.upload(name, id);
        let hasher = match self.slots().get_mut(&path) {
            None => return Err(Error::UploadUnknown),
            Some(Slot::Busy) => return Err(Error::UploadBusy),
            Some(slot @ Slot::Idle(_)) => match std::mem::replace(slot, Slot::Busy) {
                Slot::Idle(hasher) => hasher,
                Slot::Busy => None,
            },
        };
        let opened = OpenOptions::new()
            .append(true)
            .read(true)
            .open(&path)
            .and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        match opened {
            Ok((file, length)) => Ok(self.hand_out(path, file, length, hasher)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.slots().remove(&path);
                Err(Error::UploadUnknown)
            }
            Err(error) => {
                self.slots().insert(path, Slot::Idle(None));
                Err(Error::io("open an upload")(error))
            }
        }
    }

    /// Bytes that the disk of the uploads has left.
    pub(crate) fn free_bytes(&self) -> Result<u64, Error> {
        disk::free_bytes(&self.store.uploads_dir()).map_err(Error::io("measure the disk"))
    }

    fn hand_out(
        self: &Arc<Self>,
        path: PathBuf,
        file: File,
        length: u64,
        hasher: Option<Sha256>,
    ) -> Upload {
        let uploads = Arc::clone(self);
        Upload {
            uploads,
            path,
            file,
            length,
            written_back: length,
            hasher,
            ended: false,
        }
    }

    /// Removes uploads that nobody touched for some time; says how many.
    pub(crate) fn sweep(&self, now: SystemTime, idle_max: Duration) -> io::Result<usize> {
        let mut swept = 0;
        let idle: Vec<PathBuf> = {
            let slots = self.slots();
            let idle = slots
                .iter()
                .filter(|(_, slot)| matches!(slot, Slot::Idle(_)));
            idle.map(|(path, _)| path.clone()).collect()
        };
        for path in idle {
            let touched = fs::metadata(&path).and_then(|metadata| metadata.modified());
            // A clock that was set back makes a file young, never old.
            let age = touched.map(|touched| now.duration_since(touched).unwrap_or_default());
            if age.is_ok_and(|age| age < idle_max) {
                continue;
            }
            // It may have been resumed meanwhile; only the slot's owner may touch the file.
            let mut slots = self.slots();
            if matches!(slots.get(&path), Some(Slot::Idle(_))) {
                slots.remove(&path);
                drop(slots);
                swept += usize::from(disk::remove(&path)?);
            }
        }
        Ok(swept)
    }
}

impl Upload {
    /// Bytes received so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, chunks: &[Bytes]) -> Result<(), Error> {
        let mut hasher = self.current_hash()?;
        // If it fails, part of it may be in the file: the next request measures and hashes it again.
        write_all(&mut self.file, chunks).map_err(Error::io("write an upload"))?;
        for chunk in chunks {
            hasher.update(chunk);
            self.length += chunk.len() as u64;
        }
        self.hasher = Some(hasher);
        if self.length - self.written_back >= WRITE_BACK_BYTES {
            let bytes = self.length - self.written_back;
            disk::begin_writing_back(&self.file, self.written_back, bytes);
            self.written_back = self.length;
        }
        Ok(())
    }

    /// Takes the hash out; it goes back only when it and the file agree again.
    fn current_hash(&mut self) -> Result<Sha256, Error> {
        if let Some(hasher) = self.hasher.take() {
            return Ok(hasher);
        }
        rehash(&mut self.file).map_err(Error::io("read an upload"))
    }

    /// Forgets what came after the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: u64) -> Result<(), Error> {
        if length < self.length {
            self.hasher = None;
            self.file
                .set_len(length)
                .map_err(Error::io("shorten an upload"))?;
            self.length = length;
            self.written_back = self.written_back.min(length);
        }
        Ok(())
    }

    /// Ends the upload and removes what it received.
    pub(crate) fn discard(mut self) -> Result<(), Error> {
        self.ended = true;
        disk::remove(&self.path)
            .map(drop)
            .map_err(Error::io("remove an upload"))
    }

    /// Ends the upload: if the digest is right, the content is a blob of the repository, and its
    /// data is durable. If not, it is removed.
    pub(crate) fn finish(mut self, name: &Repository, expected: &Digest) -> Result<(), Error> {
        let actual = Digest::finish(self.current_hash()?);
        if actual != *expected {
            self.discard()?;
            return Err(Error::DigestMismatch {
                expected: *expected,
                actual,
            });
        }
        let store = Arc::clone(&self.uploads.store);
        let place = || {
            let content = store.content(expected);
            if store.hold(&content)? {
                disk::remove(&self.path)?;
            } else {
                self.file.sync_data()?;
                // The last byte may have come long ago; the collector counts from here.
                disk::touch(&self.path)?;
                // Two clients may get here with the same content; the second replaces equals.
                fs::rename(&self.path, &content)?;
            }
            store.link(&store.blob_links(name).join(expected.hex()))
        };
        place().map_err(Error::io("store a blob"))?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Upload {
    /// Gives the upload back, or forgets it if it ended.
    fn drop(&mut self) {
        let mut slots = self.uploads.slots();
        if self.ended {
            slots.remove(&self.path);
        } else {
            slots.insert(self.path.clone(), Slot::Idle(self.hasher.take()));
        }
    }
}

fn write_all(file: &mut File, chunks: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn rehash(file: &mut File) -> io::Result<Sha256> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; REHASH_BYTES];
    file.seek(SeekFrom::Start(0))?;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
