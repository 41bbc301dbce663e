//! Reads files of a source tree without ever leaving it. A pushed symbolic link may point at
//! anything on the builder; what it points at must not become part of an error text or an image.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

/// What a file in a source tree turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    Missing,
    /// A folder, a link that leads out of the tree, or a link to nothing.
    NotAFile,
    /// More than the bytes asked for.
    TooBig,
    Text(Vec<u8>),
}

/// Reads `name` below `root`, up to `bytes_max`. Links are followed as long as they stay inside.
pub(crate) fn read_inside(root: &Path, name: &Path, bytes_max: u64) -> io::Result<Inside> {
    let folder = File::open(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&folder, name, flags, Mode::empty(), within) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) if folder_has(root, name) => return Ok(Inside::NotAFile),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Inside::Missing),
        Err(Errno::XDEV | Errno::LOOP) => return Ok(Inside::NotAFile),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(Inside::NotAFile);
    }
    let mut text = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut text)?;
    Ok(if text.len() as u64 > bytes_max {
        Inside::TooBig
    } else {
        Inside::Text(text)
    })
}

/// True for a link to nothing.
fn folder_has(root: &Path, name: &Path) -> bool {
    root.join(name).symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::{Inside, read_inside};

    #[test]
    fn links_are_followed_inside_and_not_out() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("key"), "secret").unwrap();
        let tree = outside.path().join("tree");
        fs::create_dir_all(tree.join("config")).unwrap();
        fs::write(tree.join("config/Procfile"), "web: x").unwrap();
        symlink("config/Procfile", tree.join("Procfile")).unwrap();
        symlink("../key", tree.join("up")).unwrap();
        symlink(outside.path().join("key"), tree.join("absolute")).unwrap();
        symlink("..", tree.join("out")).unwrap();
        symlink("gone", tree.join("dangling")).unwrap();
        symlink("loop", tree.join("loop")).unwrap();
        for (name, expected) in [
            ("Procfile", Inside::Text(b"web: x".to_vec())),
            ("config/Procfile", Inside::Text(b"web: x".to_vec())),
            ("missing", Inside::Missing),
            ("missing/too", Inside::Missing),
            ("config", Inside::NotAFile),
            ("up", Inside::NotAFile),
            ("absolute", Inside::NotAFile),
            ("out/key", Inside::NotAFile),
            ("../key", Inside::NotAFile),
            ("dangling", Inside::NotAFile),
            ("loop", Inside::NotAFile),
        ] {
            assert_eq!(
                read_inside(&tree, Path::new(name), 6).unwrap(),
                expected,
                "{name}"
            );
        }
        assert_eq!(
            read_inside(&tree, Path::new("Procfile"), 5).unwrap(),
            Inside::TooBig
        );
    }
}
