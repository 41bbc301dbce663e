//! Manifests of a repository: read, write, remove.

use std::{
    fs,
    io::{self, ErrorKind, Read},
};

use crate::{
    document::{Document, DocumentError, Link},
    error::Error,
    names::{Digest, Reference, Repository},
    store::{Store, disk},
};

/// A manifest as it was pushed.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// What a repository has under a digest.
#[derive(Clone, Copy)]
enum Wanted {
    Blob,
    BlobOrManifest,
}

impl Store {
    /// The digest that a reference stands for, if the repository shows it. The manifest becomes
    /// young: an image that is still pulled is not collected.
    pub(crate) fn resolve(
        &self,
        name: &Repository,
        reference: &Reference,
    ) -> Result<Digest, Error> {
        let unknown = || Error::ManifestUnknown {
            reference: reference.to_string(),
        };
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => self
                .read_tag(name, tag)
                .map_err(Error::io("read a tag"))?
                .ok_or_else(unknown)?,
        };
        match self.hold(&self.manifest_links(name).join(digest.hex())) {
            Ok(true) => Ok(digest),
            Ok(false) => Err(unknown()),
            Err(error) => Err(Error::io("look for a manifest")(error)),
        }
    }

    /// Reads a manifest whole; they are small.
    pub(crate) fn read_manifest(
        &self,
        name: &Repository,
        reference: &Reference,
    ) -> Result<Manifest, Error> {
        let digest = self.resolve(name, reference)?;
        let unknown = || Error::ManifestUnknown {
            reference: reference.to_string(),
        };
        let (document, bytes) = self.read_document(&digest)?.ok_or_else(unknown)?;
        Ok(Manifest {
            digest,
            media_type: document.kind.media_type(),
            bytes,
        })
    }

    /// Reads the content of a manifest, no matter who shows it.
    pub(super) fn read_document(
        &self,
        digest: &Digest,
    ) -> Result<Option<(Document, Vec<u8>)>, Error> {
        let Some(mut blob) = self.open_content(digest)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        blob.file
            .read_to_end(&mut bytes)
            .map_err(Error::io("read a manifest"))?;
        let document = Document::parse(&bytes, None).map_err(|error| Error::Io {
            action: "read a manifest",
            source: io::Error::new(ErrorKind::InvalidData, error),
        })?;
        Ok(Some((document, bytes)))
    }

    /// Stores a manifest, and points a tag to it if the reference is one. On return it is durable
    /// with everything it refers to; until then nothing of it is visible.
    pub(crate) fn write_manifest(
        &self,
        name: &Repository,
        reference: &Reference,
        document: &Document,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if let Reference::Digest(expected) = reference
            && *expected != digest
        {
            return Err(Error::DigestMismatch {
                expected: *expected,
                actual: digest,
            });
        }
        for link in &document.blobs {
            self.check_link(name, link, Wanted::Blob)?;
        }
        for link in &document.entries {
            self.check_link(name, link, Wanted::BlobOrManifest)?;
        }
        self.publish(name, reference, document, bytes, &digest)
            .map_err(Error::io("store a manifest"))?;
        Ok(digest)
    }

    /// Does the repository have what a manifest refers to, and in the size that it says?
    fn check_link(&self, name: &Repository, link: &Link, wanted: Wanted) -> Result<(), Error> {
        let look = || {
            let hex = link.digest.hex();
            let found = match wanted {
                Wanted::Blob => self.hold(&self.blob_links(name).join(&hex))?,
                Wanted::BlobOrManifest => {
                    self.hold(&self.manifest_links(name).join(&hex))?
                        || self.hold(&self.blob_links(name).join(&hex))?
                }
            };
            let content = self.content(&link.digest);
            if !found || !self.hold(&content)? {
                return Ok(None);
            }
            fs::metadata(content).map(|metadata| Some(metadata.len()))
        };
        match look().map_err(Error::io("look for what a manifest refers to"))? {
            None => Err(Error::ManifestBlobUnknown {
                digest: link.digest,
            }),
            Some(actual) if actual != link.bytes => {
                Err(Error::ManifestInvalid(DocumentError::Size {
                    digest: link.digest,
                    announced: link.bytes,
                    actual,
                }))
            }
            Some(_) => Ok(()),
        }
    }

    /// First the content with all that it refers to, then the link that shows it, then the tag:
    /// each is durable before the next is made. Blobs come here with their content synced but
    /// their directory entries not, so that one sync of each directory serves all of them.
    fn publish(
        &self,
        name: &Repository,
        reference: &Reference,
        document: &Document,
        bytes: &[u8],
        digest: &Digest,
    ) -> io::Result<()> {
        let content = self.content(digest);
        if !self.hold(&content)? {
            let temporary = self.temporary();
            disk::write_synced(&temporary, bytes)
                .and_then(|()| fs::rename(&temporary, &content))
                .inspect_err(|_| drop(disk::remove(&temporary)))?;
        }
        disk::sync_dir(&self.blobs_dir())?;
        self.sync_up(&self.blob_links(name))?;
        if let Some(subject) = &document.subject {
            let dir = self.referrers_dir(name, subject);
            self.link(&dir.join(digest.hex()))?;
            self.sync_up(&dir)?;
        }
        self.link(&self.manifest_links(name).join(digest.hex()))?;
        self.sync_up(&self.manifest_links(name))?;
        match reference {
            Reference::Tag(tag) => self.write_tag(name, tag, digest),
            Reference::Digest(_) => Ok(()),
        }
    }

    /// Stops showing a manifest, and removes its tags first, so that none ever points to nothing.
    pub(crate) fn remove_manifest(&self, name: &Repository, digest: &Digest) -> Result<(), Error> {
        let reference = Reference::Digest(*digest);
        self.resolve(name, &reference)?;
        let subject = self
            .read_document(digest)
            .ok()
            .flatten()
            .and_then(|(document, _)| document.subject);
        let remove = || {
            {
                let _guard = self.remove_files();
                self.remove_tags_of(name, digest)?;
                disk::remove(&self.manifest_links(name).join(digest.hex()))?;
                if let Some(subject) = subject {
                    disk::remove(&self.referrers_dir(name, &subject).join(digest.hex()))?;
                }
            }
            disk::sync_dir(&self.tags_dir(name))?;
            disk::sync_dir(&self.manifest_links(name))
        };
        remove().map_err(Error::io("remove a manifest"))
    }
}
