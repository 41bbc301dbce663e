//! What local volumes use of their disk.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The most files of a plain directory that are counted; with more, nobody knows what it uses.
const FILES_MAX: usize = 1_000_000;
/// stat(2) counts in these.
const BLOCK_BYTES: u64 = 512;

/// Bytes that a file system of its own uses, and what it can hold in all.
pub(super) fn file_system(data: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(data).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    Some((bytes(used), bytes(stat.f_blocks)))
}

/// Bytes that the files of a directory use. Takes a while: not on a task's own thread.
pub(super) fn directory(data: &Path) -> Option<u64> {
    let mut files = 0_usize;
    let mut bytes = 0_u64;
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        // One that has just gone uses nothing.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            files += 1;
            if files > FILES_MAX {
                return None;
            }
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            bytes += metadata.blocks() * BLOCK_BYTES;
            // Metadata of an entry is that of a link and not of what it leads to.
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_count_and_links_do_not_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/file"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("out")).unwrap();
        let bytes = directory(dir.path()).unwrap();
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
        assert!(file_system(dir.path()).is_some_and(|(used, all)| used <= all && all > 0));
    }
}
