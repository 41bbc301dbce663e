//! Reads folders that a build has written to, without ever following a link out of them.
//!
//! Whatever a build left behind, and even a process of it that still runs, can replace any file or
//! folder by a symbolic link at any moment, while the builder reads with more rights than the
//! build had. So each step goes from an open folder to one name in it and refuses links; there are
//! no paths of more than one part. Devices and pipes are seen, but never opened.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, openat, readlinkat,
    statat,
};

/// How deep folders may be nested: deeper than any real tree, and each level is an open file.
const DEPTH_MAX: usize = 128;

/// An open folder.
pub(crate) struct Folder {
    fd: OwnedFd,
}

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Link,
    /// A device, a pipe or a socket.
    Other,
}

/// A name in a folder, and what was known of it when the folder was read.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) size_bytes: u64,
    pub(crate) stat: Identity,
}

/// What changes whenever a file does: the kernel keeps the time of change, and no process can set
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) inode: u64,
    pub(crate) modified_nanos: i128,
    pub(crate) changed_nanos: i128,
    /// Space that it takes on disk.
    pub(crate) disk_bytes: u64,
}

impl Folder {
    /// Opens a folder whose own path is trusted.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            fd: openat(CWD, path, folder_flags(), Mode::empty())?,
        })
    }

    /// Opens a folder in this one.
    pub(crate) fn folder(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self {
            fd: openat(&self.fd, part(name)?, folder_flags(), Mode::empty())?,
        })
    }

    /// Opens the folder of this name, if there is a real one.
    pub(crate) fn folder_if_any(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Self>> {
        match self.folder(name.as_ref()) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Everything in it, sorted by name.
    pub(crate) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let stat = match statat(&self.fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Gone since the folder was read.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            entries.push(entry_of(OsString::from_vec(name.to_vec()), &stat));
        }
        entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        Ok(entries)
    }

    /// Opens a regular file.
    pub(crate) fn file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(&self.fd, part(name)?, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(File::from(fd))
    }

    /// The content of a small file; `None` when there is none of this name.
    pub(crate) fn read(
        &self,
        name: impl AsRef<OsStr>,
        bytes_max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        let file = match self.file(name.as_ref()) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::other(format!(
                "it is larger than {bytes_max} bytes"
            )));
        }
        Ok(Some(bytes))
    }

    /// Where a link points to.
    pub(crate) fn link(&self, name: &OsStr) -> io::Result<OsString> {
        let target = readlinkat(&self.fd, part(name)?, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Calls `visit` for everything below, folders before what is in them, with the path from here.
    pub(crate) fn walk(
        &self,
        visit: &mut dyn FnMut(&Self, &Path, &Entry) -> io::Result<()>,
    ) -> io::Result<()> {
        self.walk_from(Path::new(""), 0, visit)
    }

    fn walk_from(
        &self,
        at: &Path,
        depth: usize,
        visit: &mut dyn FnMut(&Self, &Path, &Entry) -> io::Result<()>,
    ) -> io::Result<()> {
        if depth == DEPTH_MAX {
            let text = format!(
                "{} is nested more than {DEPTH_MAX} folders deep",
                at.display()
            );
            return Err(io::Error::other(text));
        }
        for entry in self.entries()? {
            let path = at.join(&entry.name);
            visit(self, &path, &entry)?;
            if entry.kind == Kind::Folder {
                self.folder(&entry.name)?
                    .walk_from(&path, depth + 1, visit)?;
            }
        }
        Ok(())
    }

    /// Moves a folder of this one to another place on the same disk. False when there is no real
    /// folder of this name.
    pub(crate) fn move_out(&self, name: &OsStr, to: &Path) -> io::Result<bool> {
        let Some(_real) = self.folder_if_any(name)? else {
            return Ok(false);
        };
        rustix::fs::renameat(&self.fd, part(name)?, CWD, to)?;
        // What was moved is looked at again: it could have been replaced in between.
        if to.symlink_metadata()?.is_dir() {
            return Ok(true);
        }
        std::fs::remove_file(to)?;
        Ok(false)
    }

    /// Makes one user the owner of everything in it. For trees that no build has seen yet.
    pub(crate) fn chown(&self, (user, group): (u32, u32)) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        self.walk(&mut |folder, _, entry| {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            Ok(chownat(
                &folder.fd,
                part(&entry.name)?,
                Some(user),
                Some(group),
                flags,
            )?)
        })
    }

    /// The space that everything in it takes on disk, in bytes. What vanishes meanwhile counts
    /// nothing, and neither does what is nested too deep to be packed anyway.
    pub(crate) fn disk_bytes(&self) -> io::Result<u64> {
        self.disk_bytes_from(0)
    }

    fn disk_bytes_from(&self, depth: usize) -> io::Result<u64> {
        let mut sum = 0;
        for entry in self.entries()? {
            sum += entry.stat.disk_bytes;
            if entry.kind == Kind::Folder
                && depth < DEPTH_MAX
                && let Some(folder) = self.folder_if_any(&entry.name)?
            {
                sum += folder.disk_bytes_from(depth + 1)?;
            }
        }
        Ok(sum)
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// One part of a path, and not a way out of the folder.
fn part(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(io::Error::other(format!("{name:?} is not a name")));
    }
    Ok(name)
}

/// True when there is nothing usable of that name: missing, a link, or not a folder.
fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::LOOP | Errno::NOTDIR))
}

fn entry_of(name: OsString, stat: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    let nanos = |secs: i64, nanos: i128| i128::from(secs) * 1_000_000_000 + nanos;
    Entry {
        name,
        kind,
        mode: stat.st_mode & 0o7777,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        stat: Identity {
            inode: stat.st_ino,
            modified_nanos: nanos(stat.st_mtime, i128::from(stat.st_mtime_nsec)),
            changed_nanos: nanos(stat.st_ctime, i128::from(stat.st_ctime_nsec)),
            disk_bytes: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir_all(inside.join("real")).unwrap();
        fs::write(inside.join("real/file"), "text").unwrap();
        symlink("../secret", inside.join("link")).unwrap();
        symlink("..", inside.join("up")).unwrap();
        let folder = Folder::open(&inside).unwrap();
        assert_eq!(folder.read("link", 100).unwrap(), None);
        assert_eq!(folder.read("missing", 100).unwrap(), None);
        assert!(folder.folder_if_any("up").unwrap().is_none());
        for name in ["..", ".", "", "real/file", "/etc/passwd"] {
            assert!(folder.file(OsStr::new(name)).is_err(), "{name}");
        }
        let real = folder.folder_if_any("real").unwrap().unwrap();
        assert_eq!(real.read("file", 4).unwrap().unwrap(), b"text");
        assert!(real.read("file", 3).is_err());
        assert_eq!(folder.link(OsStr::new("link")).unwrap(), "../secret");
        let mut seen = Vec::new();
        folder
            .walk(&mut |_, path, entry| {
                seen.push((path.to_owned(), entry.kind));
                Ok(())
            })
            .unwrap();
        let seen: Vec<_> = seen
            .iter()
            .map(|(p, k)| (p.to_str().unwrap(), *k))
            .collect();
        let want = [
            ("link", Kind::Link),
            ("real", Kind::Folder),
            ("real/file", Kind::File),
            ("up", Kind::Link),
        ];
        assert_eq!(seen, want);
    }

    #[test]
    fn a_pipe_is_seen_and_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        rustix::fs::mknodat(&folder.fd, "pipe", FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(folder.entries().unwrap()[0].kind, Kind::Other);
        assert!(folder.file(OsStr::new("pipe")).is_err());
    }

    #[test]
    fn too_deep_is_refused_before_files_run_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().to_owned();
        for _ in 0..=DEPTH_MAX {
            path.push("d");
        }
        fs::create_dir_all(&path).unwrap();
        let error = Folder::open(dir.path())
            .unwrap()
            .walk(&mut |_, _, _| Ok(()))
            .unwrap_err();
        assert!(error.to_string().contains("nested more than"), "{error}");
    }
}
