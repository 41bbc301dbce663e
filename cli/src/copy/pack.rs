//! A file or folder as a tar archive. Symlinks stay what they are, wherever they lead.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header, HeaderMode};

use crate::failure::Failure;

/// How deep folders may be nested.
const DEPTH_MAX: usize = 256;

/// Fails where there is nothing that can be copied.
pub(super) fn look(source: &Path) -> Result<(), Failure> {
    fs::metadata(source)
        .map(drop)
        .map_err(Failure::io(format!("read {}", source.display())))
}

/// The name that a path has in its folder, also for `.` and `..`.
pub(super) fn own_name(source: &Path) -> Result<String, Failure> {
    let whole = source.canonicalize();
    let whole = whole.map_err(Failure::io(format!("read {}", source.display())))?;
    // Of a symlink its own name, not that of what it leads to.
    let name = source.file_name().or_else(|| whole.file_name());
    Ok(name.map_or_else(|| "root".into(), |name| name.to_string_lossy().into_owned()))
}

/// Writes the archive, everything in it below `top`; gives what could not go into it.
pub(super) fn pack(source: &Path, top: &str, to: impl Write) -> Result<Vec<String>, Failure> {
    let mut builder = Builder::new(to);
    builder.mode(HeaderMode::Complete);
    builder.follow_symlinks(false);
    let mut skipped = Vec::new();
    // What the user names is copied itself, also where a symlink leads there.
    let root = source.canonicalize();
    let root = root.map_err(Failure::io(format!("read {}", source.display())))?;
    let mut left = vec![(root, PathBuf::from(top), 0)];
    while let Some((path, name, depth)) = left.pop() {
        let failed = |error| Failure::io(format!("copy {}", path.display()))(error);
        let about = fs::symlink_metadata(&path).map_err(failed)?;
        let kind = about.file_type();
        if kind.is_dir() && depth < DEPTH_MAX {
            builder.append_dir(&name, &path).map_err(failed)?;
            let mut inside = Vec::new();
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                inside.push((entry.path(), name.join(entry.file_name()), depth + 1));
            }
            inside.sort();
            left.extend(inside.into_iter().rev());
        } else if kind.is_file() {
            let mut file = fs::File::open(&path).map_err(failed)?;
            builder.append_file(&name, &mut file).map_err(failed)?;
        } else if kind.is_symlink() {
            let mut header = Header::new_gnu();
            header.set_metadata(&about);
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            let target = fs::read_link(&path).map_err(failed)?;
            builder
                .append_link(&mut header, &name, target)
                .map_err(failed)?;
        } else {
            skipped.push(format!("{}: neither file nor folder", path.display()));
        }
    }
    let written = builder.into_inner().and_then(|mut to| to.flush());
    written.map_err(Failure::io("send the archive"))?;
    Ok(skipped)
}
