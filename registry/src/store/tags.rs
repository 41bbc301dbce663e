//! Tags: symbolic links to a manifest of the same repository.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use crate::{
    error::Error,
    names::{Digest, Repository, Tag},
    store::{Store, disk},
};

impl Store {
    /// The manifest that a tag names.
    pub(super) fn read_tag(&self, name: &Repository, tag: &Tag) -> io::Result<Option<Digest>> {
        read(&self.tag(name, tag))
    }

    /// Points a tag to a manifest, in one step; durable on return.
    pub(super) fn write_tag(&self, name: &Repository, tag: &Tag, to: &Digest) -> io::Result<()> {
        let path = self.tag(name, tag);
        let temporary = self.temporary();
        std::os::unix::fs::symlink(Path::new("../_manifests").join(to.hex()), &temporary)?;
        let place = || {
            // Somebody may have removed the manifest since it was stored. A removal takes its tags
            // along in one go, so that this tag cannot end up alone.
            let _guard = self.keep_files();
            disk::make_link(&self.manifest_links(name).join(to.hex()))?;
            fs::create_dir_all(self.tags_dir(name))?;
            fs::rename(&temporary, &path)
        };
        place().inspect_err(|_| drop(disk::remove(&temporary)))?;
        self.sync_up(&self.tags_dir(name))
    }

    /// Removes a tag; the manifest stays.
    pub(crate) fn remove_tag(&self, name: &Repository, tag: &Tag) -> Result<(), Error> {
        match disk::remove(&self.tag(name, tag)) {
            Ok(true) => disk::sync_dir(&self.tags_dir(name)).map_err(Error::io("remove a tag")),
            Ok(false) => Err(Error::ManifestUnknown {
                reference: tag.to_string(),
            }),
            Err(error) => Err(Error::io("remove a tag")(error)),
        }
    }

    /// Removes every tag of a manifest.
    pub(super) fn remove_tags_of(&self, name: &Repository, digest: &Digest) -> io::Result<()> {
        for (tag, target) in self.tags_with_targets(name)? {
            if target == *digest {
                disk::remove(&self.tags_dir(name).join(tag))?;
            }
        }
        Ok(())
    }

    pub(super) fn tags_with_targets(&self, name: &Repository) -> io::Result<Vec<(String, Digest)>> {
        let mut tags = Vec::new();
        for tag in disk::names(&self.tags_dir(name))? {
            if let Some(target) = read(&self.tags_dir(name).join(&tag))? {
                tags.push((tag, target));
            }
        }
        Ok(tags)
    }
}

fn read(path: &Path) -> io::Result<Option<Digest>> {
    let target = match fs::read_link(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let hex = target
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    Digest::from_hex(hex)
        .map(Some)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}
