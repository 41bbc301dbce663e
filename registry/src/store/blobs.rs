//! Blobs of a repository: look, open, mount, remove.

use std::{fs::File, io::ErrorKind};

use crate::{
    error::Error,
    names::{Digest, Repository},
    store::{Store, disk},
};

/// A blob that is open for reading.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

impl Store {
    /// Opens a blob of the repository. Who looks at a blob may go on to push a manifest that needs
    /// it, so that looking makes it young.
    pub(crate) fn open_blob(&self, name: &Repository, digest: &Digest) -> Result<Blob, Error> {
        let found = self
            .hold(&self.blob_links(name).join(digest.hex()))
            .map_err(Error::io("look for a blob"))?;
        if !found {
            return Err(Error::BlobUnknown { digest: *digest });
        }
        self.open_content(digest)?
            .ok_or(Error::BlobUnknown { digest: *digest })
    }

    pub(super) fn open_content(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        let file = match File::open(self.content(digest)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::io("open a blob"))?,
        };
        let bytes = file.metadata().map_err(Error::io("measure a blob"))?.len();
        Ok(Some(Blob { file, bytes }))
    }

    /// Shows a blob of another repository, or of any, in this one. False if there is none.
    pub(crate) fn mount(
        &self,
        name: &Repository,
        from: Option<&Repository>,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let mount = || {
            if let Some(from) = from
                && !self.hold(&self.blob_links(from).join(digest.hex()))?
            {
                return Ok(false);
            }
            if !self.hold(&self.content(digest))? {
                return Ok(false);
            }
            self.link(&self.blob_links(name).join(digest.hex()))?;
            Ok(true)
        };
        mount().map_err(Error::io("mount a blob"))
    }

    /// Stops showing a blob in the repository. The content goes when the collector finds that no
    /// repository shows it.
    pub(crate) fn remove_blob(&self, name: &Repository, digest: &Digest) -> Result<(), Error> {
        match disk::remove(&self.blob_links(name).join(digest.hex())) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::BlobUnknown { digest: *digest }),
            Err(error) => Err(Error::io("remove a blob")(error)),
        }
    }
}
