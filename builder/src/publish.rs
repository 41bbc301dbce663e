//! Puts images into a registry, and reads what is there.
//!
//! Layers go up as streams from files on disk, never whole in memory, and only when the registry
//! does not have them: first asked for, then mounted from a repository that has them, then sent.
//! A manifest is put last, so that an image that can be named is complete. It must not know how an
//! image came to be.

use std::path::PathBuf;

use bytes::Bytes;
use fairway_api::{
    images::{ImageRef, RegistryAccess},
    names::Digest,
};
use futures_util::TryStreamExt;
use http::HeaderValue;
use oci_distribution::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use oci_spec::image::{ImageConfiguration, ImageManifest};
use tokio_util::io::ReaderStream;

/// How much of a layer is read and sent at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// Seconds until a connection to the registry must stand.
const CONNECT_SECS_MAX: u64 = 10;
/// Seconds of silence after which the registry counts as gone. It may have to write a large layer
/// to a slow disk before it answers.
const SILENCE_SECS_MAX: u64 = 120;
/// The HTTP status of a registry without room.
const DISK_FULL: u16 = 507;
/// The content type of the manifests that we write.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry, with one set of credentials.
pub(crate) struct Registry {
    client: Client,
    auth: RegistryAuth,
    host: String,
    access: RegistryAccess,
}

/// A blob that lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobFile {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size_bytes: u64,
}

/// A registry that did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The registry refused or was out of reach.
    #[error("cannot {action} {host}/{repository}")]
    Registry {
        action: &'static str,
        host: String,
        repository: String,
        #[source]
        source: Box<OciDistributionError>,
    },
    /// The registry has no room. Its own words come wrapped in a URL and JSON.
    #[error(
        "the disk of the registry {host} is full, or so nearly that it keeps the rest in reserve; \
         its operator has to free some space{}",
        why.as_ref().map(|why| format!(" (it says: {why})")).unwrap_or_default()
    )]
    DiskFull { host: String, why: Option<String> },
    /// A file of ours could not be read.
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A name that the registry's rules forbid, or a document that is not what it should be.
    #[error("{what} in {host}/{repository} is not valid: {why}")]
    Invalid {
        what: &'static str,
        host: String,
        repository: String,
        why: String,
    },
}

impl Registry {
    /// A client for this registry. Nothing is sent yet.
    pub(crate) fn new(access: &RegistryAccess) -> Self {
        let protocol = if access.plain_http {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        };
        let client = Client::new(ClientConfig {
            protocol,
            use_monolithic_push: true,
            connect_timeout: Some(std::time::Duration::from_secs(CONNECT_SECS_MAX)),
            read_timeout: Some(std::time::Duration::from_secs(SILENCE_SECS_MAX)),
            ..ClientConfig::default()
        });
        let auth = if access.username.is_empty() {
            RegistryAuth::Anonymous
        } else {
            RegistryAuth::Basic(access.username.clone(), access.password.expose().to_owned())
        };
        Self {
            client,
            auth,
            host: access.host.clone(),
            access: access.clone(),
        }
    }

    /// What it was made from.
    pub(crate) fn access(&self) -> &RegistryAccess {
        &self.access
    }

    /// Makes sure that `repository` has the blob: asks, mounts it from `source`, else sends it.
    /// True when bytes were sent.
    pub(crate) async fn ensure_blob(
        &self,
        repository: &str,
        blob: &BlobFile,
        source: Option<&str>,
    ) -> Result<bool, PublishError> {
        if self.has_blob(repository, &blob.digest).await? {
            return Ok(false);
        }
        if let Some(source) = source
            && self.mount(repository, source, &blob.digest).await
        {
            return Ok(false);
        }
        self.send_file(repository, blob).await?;
        Ok(true)
    }

    /// True when `repository` has the blob.
    pub(crate) async fn has_blob(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, PublishError> {
        let image = self.reference(repository).await;
        self.client
            .blob_exists(&image, digest.as_str())
            .await
            .map_err(|source| self.failed("look for a blob in", repository, source))
    }

    /// Links a blob of another repository into this one. A registry may always decline, so that a
    /// failure only means that the blob has to be sent.
    pub(crate) async fn mount(&self, repository: &str, source: &str, digest: &Digest) -> bool {
        let image = self.reference(repository).await;
        let from = Reference::with_tag(self.host.clone(), source.into(), "latest".into());
        match self.client.mount_blob(&image, &from, digest.as_str()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(repository, source, %digest, "the blob was not mounted: {error}");
                false
            }
        }
    }

    /// Sends a blob from its file.
    async fn send_file(&self, repository: &str, blob: &BlobFile) -> Result<(), PublishError> {
        let file =
            tokio::fs::File::open(&blob.path)
                .await
                .map_err(|source| PublishError::File {
                    path: blob.path.clone(),
                    source,
                })?;
        let stream = ReaderStream::with_capacity(file, CHUNK_BYTES)
            .map_err(|error| OciDistributionError::GenericError(Some(error.to_string())));
        let image = self.reference(repository).await;
        self.client
            .push_blob_stream(&image, stream, blob.digest.as_str(), Some(blob.size_bytes))
            .await
            .map_err(|source| self.failed("send a layer to", repository, source))?;
        Ok(())
    }

    /// Sends a small blob, such as an image's configuration.
    pub(crate) async fn send_bytes(
        &self,
        repository: &str,
        bytes: Vec<u8>,
        digest: &Digest,
    ) -> Result<(), PublishError> {
        let image = self.reference(repository).await;
        self.client
            .push_blob(&image, Bytes::from(bytes), digest.as_str())
            .await
            .map_err(|source| {
                self.failed("send an image's configuration to", repository, source)
            })?;
        Ok(())
    }

    /// Why the registry has no room, when somebody else was told only that it has none: it is asked
    /// to take something small, and says.
    pub(crate) async fn why_full(&self, repository: &str) -> PublishError {
        let nothing = crate::lifecycle::digest::of_bytes(b"{}");
        match self.send_bytes(repository, b"{}".to_vec(), &nothing).await {
            Err(full @ PublishError::DiskFull { .. }) => full,
            // There is room again, or only for what is small.
            _ => PublishError::DiskFull {
                host: self.host.clone(),
                why: None,
            },
        }
    }

    /// Puts a manifest, under `tag` if there is one, and gives the image's name by digest.
    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        manifest: Vec<u8>,
    ) -> Result<ImageRef, PublishError> {
        let digest = crate::lifecycle::digest::of_bytes(&manifest);
        self.reference(repository).await;
        let (host, name) = (self.host.clone(), repository.to_owned());
        let image = match tag {
            Some(tag) => Reference::with_tag(host, name, tag.to_owned()),
            None => Reference::with_digest(host, name, digest.to_string()),
        };
        self.client
            .push_manifest_raw(&image, manifest, HeaderValue::from_static(MANIFEST_TYPE))
            .await
            .map_err(|source| self.failed("put an image's manifest into", repository, source))?;
        Ok(ImageRef {
            registry: self.host.clone(),
            repository: repository.to_owned(),
            digest,
        })
    }

    /// The manifest of an image that is there.
    pub(crate) async fn manifest(&self, image: &ImageRef) -> Result<ImageManifest, PublishError> {
        let repository = image.repository.as_str();
        let reference = self.by_digest(image).await;
        let accepted = [
            MANIFEST_TYPE,
            "application/vnd.docker.distribution.manifest.v2+json",
        ];
        let (bytes, _) = self
            .client
            .pull_manifest_raw(&reference, &self.auth, &accepted)
            .await
            .map_err(|source| self.failed("read an image's manifest from", repository, source))?;
        ImageManifest::from_reader(&bytes[..])
            .map_err(|error| self.invalid("the manifest", repository, &error))
    }

    /// The manifest and the configuration of an image that is there.
    pub(crate) async fn image(
        &self,
        image: &ImageRef,
    ) -> Result<(ImageManifest, ImageConfiguration), PublishError> {
        let repository = image.repository.as_str();
        let manifest = self.manifest(image).await?;
        let reference = self.by_digest(image).await;
        let mut config = Vec::new();
        let digest = manifest.config().digest().to_string();
        self.client
            .pull_blob(&reference, digest.as_str(), &mut config)
            .await
            .map_err(|source| {
                self.failed("read an image's configuration from", repository, source)
            })?;
        let config = ImageConfiguration::from_reader(&config[..])
            .map_err(|error| self.invalid("the configuration", repository, &error))?;
        Ok((manifest, config))
    }

    /// The repository as the client names it, with our credentials known to the client.
    async fn reference(&self, repository: &str) -> Reference {
        self.client
            .store_auth_if_needed(&self.host, &self.auth)
            .await;
        Reference::with_tag(
            self.host.clone(),
            repository.to_owned(),
            "latest".to_owned(),
        )
    }

    async fn by_digest(&self, image: &ImageRef) -> Reference {
        self.reference(&image.repository).await;
        Reference::with_digest(
            self.host.clone(),
            image.repository.clone(),
            image.digest.to_string(),
        )
    }

    fn failed(
        &self,
        action: &'static str,
        repository: &str,
        source: OciDistributionError,
    ) -> PublishError {
        let (host, repository) = (self.host.clone(), repository.to_owned());
        if let OciDistributionError::ServerError { code, message, .. } = &source
            && *code == DISK_FULL
        {
            let why = own_words(message);
            return PublishError::DiskFull { host, why };
        }
        PublishError::Registry {
            action,
            host,
            repository,
            source: Box::new(source),
        }
    }

    fn invalid(
        &self,
        what: &'static str,
        repository: &str,
        error: &dyn std::error::Error,
    ) -> PublishError {
        let (host, repository) = (self.host.clone(), repository.to_owned());
        PublishError::Invalid {
            what,
            host,
            repository,
            why: error.to_string(),
        }
    }
}

/// The message in a registry's error document.
fn own_words(document: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(document).ok()?;
    let message = document["errors"][0]["message"].as_str()?;
    Some(message.to_owned())
}

#[cfg(test)]
mod tests {
    use fairway_api::secret::Secret;

    use super::*;

    #[tokio::test]
    async fn a_registry_without_room_is_said_in_one_sentence() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let mut config =
            fairway_registry::Config::new(dir.path().to_owned(), "127.0.0.1:0".parse().unwrap());
        config.disk_reserve_bytes = u64::MAX;
        let registry = fairway_registry::Registry::bind(config).await.unwrap();
        let host = registry.local_addr().to_string();
        let serving = tokio::spawn(registry.run(tokio_util::sync::CancellationToken::new()));
        let client = Registry::new(&RegistryAccess {
            host: host.clone(),
            username: String::new(),
            password: Secret::new(""),
            plain_http: true,
        });
        let digest = crate::lifecycle::digest::of_bytes(b"{}");
        let error = client
            .send_bytes("apps/shop", b"{}".to_vec(), &digest)
            .await;
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("the disk of the registry {host} is full"))
                && text.contains("stay in reserve"),
            "{text}"
        );
        let told_less = client.why_full("apps/shop").await.to_string();
        assert_eq!(told_less, text);
        serving.abort();
    }
}
