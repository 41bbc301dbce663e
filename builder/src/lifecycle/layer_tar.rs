//! Packs folders as layers of an image: equal content gives equal bytes.
//!
//! Names are sorted, times and owners are the same for all, and of the mode only the permissions
//! count, so that no set-user bit gets into an image. Devices, pipes and sockets are left out. A
//! layer is written to a file while it is digested twice, before and after compression; it is
//! never whole in memory.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use fairway_api::names::Digest;
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};

use super::{
    confined::{Folder, Kind},
    digest::DigestWriter,
};
use crate::{publish::BlobFile, stack::recipe::USER_ID};

/// The time of everything in a layer: 1980-01-01 00:00:01, as buildpacks agreed on, in seconds
/// since 1970.
const MODIFIED_SECS: u64 = 315_532_801;

/// A layer that is packed, or was in an earlier build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packed {
    /// Digest before compression: what the image's configuration names.
    pub(crate) diff_id: Digest,
    /// Digest after compression: what the registry names.
    pub(crate) digest: Digest,
    pub(crate) size_bytes: u64,
}

impl Packed {
    /// The layer as a blob in this file.
    pub(crate) fn in_file(&self, path: &Path) -> BlobFile {
        BlobFile {
            path: path.to_owned(),
            digest: self.digest.clone(),
            size_bytes: self.size_bytes,
        }
    }
}

/// What a tree was like: changes when anything in it does. Compared between builds of one app on
/// one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeState {
    pub(crate) fingerprint: Digest,
    pub(crate) disk_bytes: u64,
}

/// Writes a layer.
pub(crate) struct LayerWriter {
    tar: tar::Builder<DigestWriter<GzEncoder<DigestWriter<File>>>>,
}

/// Packs a layer into the file at `path`.
pub(crate) fn pack(
    path: &Path,
    write: impl FnOnce(&mut LayerWriter) -> io::Result<()>,
) -> io::Result<Packed> {
    let compressed = GzEncoder::new(DigestWriter::new(File::create(path)?), Compression::fast());
    let mut writer = LayerWriter {
        tar: tar::Builder::new(DigestWriter::new(compressed)),
    };
    write(&mut writer)?;
    let (compressed, diff_id, _) = writer.tar.into_inner()?.finish();
    let (mut file, digest, size_bytes) = compressed.finish()?.finish();
    file.flush()?;
    Ok(Packed {
        diff_id,
        digest,
        size_bytes,
    })
}

impl LayerWriter {
    /// Adds a folder.
    pub(crate) fn folder(&mut self, path: &str) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        self.tar.append_data(&mut header, path, io::empty())
    }

    /// Adds a program that is only text.
    pub(crate) fn script(&mut self, path: &str, text: &str) -> io::Result<()> {
        let mut header = header(tar::EntryType::Regular, 0o755, text.len() as u64);
        self.tar.append_data(&mut header, path, text.as_bytes())
    }

    /// Adds all that is in a folder, below `path`.
    pub(crate) fn tree(&mut self, path: &str, folder: &Folder) -> io::Result<()> {
        let root = Path::new(path);
        folder.walk(&mut |folder, inside, entry| {
            let path = root.join(inside);
            let named = |error| named(&path, &error);
            match entry.kind {
                Kind::Folder => {
                    let mut header = header(tar::EntryType::Directory, entry.mode, 0);
                    self.tar
                        .append_data(&mut header, &path, io::empty())
                        .map_err(named)
                }
                Kind::Link => {
                    let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                    let target = folder.link(&entry.name).map_err(named)?;
                    self.tar
                        .append_link(&mut header, &path, target)
                        .map_err(named)
                }
                Kind::File => {
                    let file = folder.file(&entry.name).map_err(named)?;
                    let size = file.metadata().map_err(named)?.len();
                    let mut header = header(tar::EntryType::Regular, entry.mode, size);
                    // A file that grows meanwhile must not break the archive.
                    self.tar
                        .append_data(&mut header, &path, file.take(size))
                        .map_err(named)
                }
                Kind::Other => Ok(()),
            }
        })
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o777);
    header.set_uid(u64::from(USER_ID));
    header.set_gid(u64::from(USER_ID));
    header.set_mtime(MODIFIED_SECS);
    header.set_size(size);
    header
}

/// Looks at everything in a folder without reading it. The folder itself is left out, since being
/// moved into a build and back changes it.
pub(crate) fn state(folder: &Folder) -> io::Result<TreeState> {
    let mut listing = DigestWriter::new(io::sink());
    let mut disk_bytes = 0;
    folder.walk(&mut |_, path, entry| {
        let stat = &entry.stat;
        disk_bytes += stat.disk_bytes;
        writeln!(
            listing,
            "{path:?} {:?} {:o} {} {} {} {}",
            entry.kind,
            entry.mode,
            entry.size_bytes,
            stat.inode,
            stat.modified_nanos,
            stat.changed_nanos
        )
    })?;
    let (_, fingerprint, _) = listing.finish();
    Ok(TreeState {
        fingerprint,
        disk_bytes,
    })
}

#[cfg(test)]
mod tests;
