//! A tar archive from a process, onto this computer. The archive is written by whatever runs
//! there, so nothing in it may reach out of the target: no `..`, no absolute path, no path through
//! a symlink, no symlink that leads out, no device, no set-user-id.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rustix::fs::OFlags;
use tar::{Archive, Entry, EntryType};

use crate::failure::Failure;

/// The most entries that are left out before it counts as no archive of ours.
const SKIPPED_MAX: usize = 10_000;
/// Which bits of a mode are kept.
const MODE_MASK: u32 = 0o777;

/// Unpacks with the archive's first part as `target`; gives what was left out and why.
pub(super) fn unpack(from: impl Read, target: &Path) -> Result<Vec<String>, Failure> {
    let mut archive = Archive::new(from);
    let mut skipped = Vec::new();
    let mut folders = Vec::new();
    let mut any = false;
    let broken =
        |error: io::Error| Failure::failed(format!("what came is no whole archive: {error}"));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        any = true;
        let name = entry.path().map_err(broken)?.into_owned();
        let shown = name.display().to_string();
        let Some(inside) = inside(&name) else {
            skipped.push(format!("{shown}: it leads out of the copy"));
            continue;
        };
        let failed =
            |error| Failure::io(format!("write {}", target.join(&inside).display()))(error);
        match place(&mut entry, target, &inside).map_err(failed)? {
            Placed::Done => {}
            Placed::Folder(mode) => folders.push((target.join(&inside), mode)),
            Placed::Not(why) => skipped.push(format!("{shown}: {why}")),
        }
        if skipped.len() > SKIPPED_MAX {
            return Err(Failure::failed("too much of the copy cannot be written"));
        }
    }
    // Last and inmost first: a folder may be one that nothing can be written to.
    for (folder, mode) in folders.into_iter().rev() {
        fs::set_permissions(&folder, Permissions::from_mode(mode))
            .map_err(Failure::io(format!("set the mode of {}", folder.display())))?;
    }
    if any {
        Ok(skipped)
    } else {
        Err(Failure::failed("nothing came"))
    }
}

/// A name of the archive below its first part; `None` for one that leads elsewhere.
fn inside(name: &Path) -> Option<PathBuf> {
    let mut parts = name.components();
    if !matches!(parts.next()?, Component::Normal(_) | Component::CurDir) {
        return None;
    }
    let rest: PathBuf = parts.collect();
    let plain = rest
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain.then_some(rest)
}

enum Placed {
    Done,
    Folder(u32),
    Not(&'static str),
}

fn place<R: Read>(entry: &mut Entry<'_, R>, target: &Path, inside: &Path) -> io::Result<Placed> {
    if passes_symlink(target, inside) {
        return Ok(Placed::Not("it leads through a symlink"));
    }
    let path = target.join(inside);
    let path = if inside.as_os_str().is_empty() {
        target.to_path_buf()
    } else {
        path
    };
    if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    let mode = entry.header().mode().unwrap_or(0o644) & MODE_MASK;
    match entry.header().entry_type() {
        EntryType::Directory => {
            if !fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir()) {
                make_room(&path)?;
                fs::create_dir(&path)?;
            }
            Ok(Placed::Folder(mode))
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            make_room(&path)?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)?;
            io::copy(entry, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            if let Ok(seconds) = entry.header().mtime() {
                // A time that cannot be is no reason to have no file.
                drop(file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds.min(1 << 40))));
            }
            Ok(Placed::Done)
        }
        EntryType::Symlink => {
            let Some(to) = entry.link_name()?.map(std::borrow::Cow::into_owned) else {
                return Ok(Placed::Not("a symlink to nothing"));
            };
            if leads_out(inside, &to) {
                return Ok(Placed::Not("a symlink out of the copy"));
            }
            make_room(&path)?;
            symlink(to, &path)?;
            Ok(Placed::Done)
        }
        EntryType::Link => {
            let first = entry.link_name()?.and_then(|name| self::inside(&name));
            let first = first.filter(|first| !passes_symlink(target, first));
            let Some(first) = first.map(|first| target.join(first)) else {
                return Ok(Placed::Not("a hard link out of the copy"));
            };
            if !fs::symlink_metadata(&first).is_ok_and(|it| it.is_file()) || first == path {
                return Ok(Placed::Not("a hard link to what is not there"));
            }
            make_room(&path)?;
            fs::copy(first, &path)?;
            Ok(Placed::Done)
        }
        _ => Ok(Placed::Not("neither file nor folder")),
    }
}

/// Takes away what has the name, unless it is a folder: what is there may be a symlink, or have
/// other names.
fn make_room(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => Err(io::Error::other("a folder of that name is there")),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a folder on the way below the target is a symlink.
fn passes_symlink(target: &Path, inside: &Path) -> bool {
    let mut way = target.to_path_buf();
    let Some(parents) = inside.parent() else {
        return false;
    };
    // The target itself counts too, if there is something below it.
    let mut passed = [None].into_iter().chain(parents.components().map(Some));
    passed.any(|part| {
        if let Some(part) = part {
            way.push(part);
        }
        fs::symlink_metadata(&way).is_ok_and(|it| it.is_symlink())
    })
}

/// Whether a symlink at this place leads out of the copy.
fn leads_out(inside: &Path, to: &Path) -> bool {
    // Below the target; the link's own name is no step.
    let mut depth = inside.components().count() as i64 - 1;
    if depth < 0 || to.is_absolute() {
        return true;
    }
    for part in to.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return true,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;
    use crate::copy::pack::pack;

    /// Name, kind, content or target, mode.
    type Given = (&'static str, EntryType, &'static str, u32);

    fn archive(entries: &[Given]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for &(name, kind, content, mode) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            // Written as bytes: the library refuses to make what an enemy would.
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            let data = if kind == EntryType::Regular {
                content.as_bytes()
            } else {
                let field = &mut header.as_old_mut().linkname;
                field[..content.len()].copy_from_slice(content.as_bytes());
                b""
            };
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn nothing_gets_out_of_the_target() {
        use EntryType::{Char, Directory, Link, Regular, Symlink};
        let table: [(&str, &[Given]); 13] = [
            ("x/../../out", &[("x/../../out", Regular, "bad", 0o644)]),
            ("/out", &[("/out", Regular, "bad", 0o644)]),
            ("../out", &[("../out", Regular, "bad", 0o644)]),
            ("absolute link", &[("x/l", Symlink, "/etc", 0o777)]),
            ("link out", &[("x/l", Symlink, "../out", 0o777)]),
            (
                "link out by a detour",
                &[("x/l", Symlink, "a/../../out", 0o777)],
            ),
            ("a lone link", &[("x", Symlink, "out", 0o777)]),
            ("hard link out", &[("x/l", Link, "/etc/passwd", 0o644)]),
            (
                "hard link up",
                &[("x/l", Link, "x/../../etc/passwd", 0o644)],
            ),
            ("hard link to nothing", &[("x/l", Link, "x/none", 0o644)]),
            ("device", &[("x/d", Char, "", 0o644)]),
            (
                "through a link",
                &[
                    ("x/d", Directory, "", 0o755),
                    ("x/l", Symlink, "d", 0o777),
                    ("x/l/f", Regular, "bad", 0o644),
                ],
            ),
            (
                "hard link through a link",
                &[
                    ("x/d", Directory, "", 0o755),
                    ("x/d/f", Regular, "good", 0o644),
                    ("x/l", Symlink, "d", 0o777),
                    ("x/h", Link, "x/l/f", 0o644),
                ],
            ),
        ];
        for (what, entries) in table {
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("target");
            let skipped = unpack(&archive(entries)[..], &target).unwrap();
            assert_eq!(skipped.len(), 1, "{what}: {skipped:?}");
            let around: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
            assert!(
                around.iter().all(|it| it.file_name() == "target"),
                "{what}: {around:?}"
            );
        }
    }

    #[test]
    fn a_link_that_was_there_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "mine").unwrap();
        let target = dir.path().join("target");
        symlink(&secret, &target).unwrap();
        let bytes = archive(&[("x", EntryType::Regular, "theirs", 0o4755)]);
        assert_eq!(unpack(&bytes[..], &target).unwrap(), Vec::<String>::new());
        assert_eq!(fs::read_to_string(&secret).unwrap(), "mine");
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "no set-user-id");
    }

    #[test]
    fn what_is_packed_comes_out_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir_all(source.join("a/empty")).unwrap();
        fs::write(source.join("a/run"), b"\0\x01binary".repeat(50_000)).unwrap();
        fs::set_permissions(source.join("a/run"), Permissions::from_mode(0o750)).unwrap();
        symlink("run", source.join("a/link")).unwrap();
        let long = "n".repeat(200);
        fs::write(source.join(&long), "long").unwrap();
        fs::set_permissions(source.join("a"), Permissions::from_mode(0o555)).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(
            pack(&source, "x", &mut bytes).unwrap(),
            Vec::<String>::new()
        );
        let target = dir.path().join("target");
        assert_eq!(unpack(&bytes[..], &target).unwrap(), Vec::<String>::new());
        assert_eq!(
            fs::read(target.join("a/run")).unwrap(),
            fs::read(source.join("a/run")).unwrap()
        );
        let mode = |path: &str| {
            let about = fs::metadata(target.join(path)).unwrap();
            about.permissions().mode() & 0o7777
        };
        assert_eq!((mode("a/run"), mode("a")), (0o750, 0o555));
        assert!(target.join("a/empty").is_dir());
        assert_eq!(
            fs::read_link(target.join("a/link")).unwrap(),
            Path::new("run")
        );
        assert_eq!(fs::read_to_string(target.join(long)).unwrap(), "long");
        for folder in ["source/a", "target/a"] {
            let open = Permissions::from_mode(0o755);
            fs::set_permissions(dir.path().join(folder), open).unwrap();
        }
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        for bytes in [&b""[..], b"sh: tar: not found\n"] {
            assert!(unpack(bytes, &target).is_err(), "{bytes:?}");
        }
        let whole = archive(&[("x", EntryType::Regular, "yyyyyyyyyy", 0o644)]);
        assert!(unpack(&whole[..515], &target).is_err(), "cut off");
    }
}
