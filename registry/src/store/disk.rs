//! File operations that the standard library has no single call for.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::Path,
};

use rustix::fs::{Advice, AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

/// Makes the entries of a directory durable. Cheap when nothing changed since the last time. One
/// that the collector removed has no entries.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other?.sync_all(),
    }
}

/// Makes an empty file and the directories above it; an existing one becomes young.
pub(crate) fn make_link(path: &Path) -> io::Result<()> {
    if touch(path)? {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path).map(drop)
}

/// Sets a file's modification time to now. False if there is no such file.
pub(crate) fn touch(path: &Path) -> io::Result<bool> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
    };
    match rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a file. False if there was none.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    absent_is_false(fs::remove_file(path).map(|()| true))
}

/// Is there a file?
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    absent_is_false(fs::symlink_metadata(path).map(|_| true))
}

fn absent_is_false(result: io::Result<bool>) -> io::Result<bool> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

/// Names of the files in a directory; none if there is no such directory.
pub(crate) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    // A name that is no UTF-8 is none of ours.
    entries
        .filter_map(|entry| entry.map(|e| e.file_name().into_string().ok()).transpose())
        .collect()
}

/// Writes a new file and makes its content durable; the entry in its directory is not yet.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Has the kernel begin to write a file's new pages to the disk, so that the sync at the end finds
/// little left to do. Only a hint, whose failure is harmless. Pages stay in the cache while they
/// are dirty, so that a pull right after the push finds them there.
pub(crate) fn begin_writing_back(file: &File, offset: u64, bytes: u64) {
    if let Some(bytes) = std::num::NonZero::new(bytes) {
        rustix::fs::fadvise(file, offset, Some(bytes), Advice::DontNeed).ok();
    }
}

/// Bytes that the file system around a path has left for ordinary users.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
