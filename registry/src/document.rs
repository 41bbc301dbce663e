//! What a manifest says: its kind and what it refers to. Pure; whether those things exist is the
//! store's question.
//!
//! The media type is read from the content and nowhere stored beside it, so that the two cannot
//! disagree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{Digest, ParseError};

/// Largest manifest, in bytes: the size that the specification tells registries to accept.
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The kinds of manifest that this registry stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OciManifest,
    OciIndex,
    DockerManifest,
    DockerList,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::OciManifest,
        Self::OciIndex,
        Self::DockerManifest,
        Self::DockerList,
    ];

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn of(media_type: &str) -> Result<Self, DocumentError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.media_type() == media_type)
            .ok_or_else(|| DocumentError::MediaTypeUnknown(media_type.to_owned()))
    }

    fn is_list(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }
}

/// Why a text is no manifest. One variant per rule, each with what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("it is no JSON of a manifest ({0})")]
    Json(serde_json::Error),
    #[error("it is no JSON object")]
    NotAnObject,
    #[error(
        "media type {0:?} is not supported; push an OCI manifest or index, or a Docker manifest \
         (schema 2) or manifest list"
    )]
    MediaTypeUnknown(String),
    #[error("the request's Content-Type is {header:?}, the manifest's mediaType is {body:?}")]
    MediaTypeDiffers { header: String, body: String },
    #[error("it has no mediaType, which only the OCI formats allow")]
    MediaTypeMissing,
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    #[error("it needs config and layers, and must not have manifests")]
    NotAnImage,
    #[error("it needs manifests, and must not have config or layers")]
    NotAList,
    #[error("it refers to digest {text:?}: {reason}")]
    Digest { text: String, reason: ParseError },
    #[error("it says that {digest} has {announced} bytes, but it has {actual}")]
    Size {
        digest: Digest,
        announced: u64,
        actual: u64,
    },
}

/// A manifest's reference to something else by digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

/// What the registry has to know about a manifest.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) kind: Kind,
    /// Config and layers. Layers that are to be fetched elsewhere are left out.
    pub(crate) blobs: Vec<Link>,
    /// The entries of a list: manifests as a rule; build caches list blobs.
    pub(crate) entries: Vec<Link>,
    /// The manifest that this one is about. It need not exist yet.
    pub(crate) subject: Option<Digest>,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// One line of a referrers answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// The JSON as it comes, with what we do not need left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawLink>,
    layers: Option<Vec<RawLink>>,
    manifests: Option<Vec<RawLink>>,
    subject: Option<RawLink>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLink {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl RawLink {
    fn parse(&self) -> Result<Link, DocumentError> {
        let digest = self
            .digest
            .parse()
            .map_err(|reason| DocumentError::Digest {
                text: self.digest.clone(),
                reason,
            })?;
        Ok(Link {
            digest,
            bytes: self.size,
        })
    }

    /// Layers whose licence forbids to push them carry addresses to fetch them from.
    fn is_elsewhere(&self) -> bool {
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

impl Document {
    /// Reads a manifest. `content_type` is the request's header when it is pushed.
    pub(crate) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, DocumentError> {
        // serde would also take the fields as an array, in order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(DocumentError::NotAnObject);
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        let kind = kind_of(&raw, content_type)?;
        if raw.schema_version != Some(2) {
            return Err(DocumentError::SchemaVersion);
        }
        let artifact_type = raw.artifact_type.filter(|text| !text.is_empty());
        let mut document = Self {
            kind,
            blobs: Vec::new(),
            entries: Vec::new(),
            subject: raw
                .subject
                .as_ref()
                .map(RawLink::parse)
                .transpose()?
                .map(|l| l.digest),
            artifact_type,
            annotations: raw.annotations.unwrap_or_default(),
        };
        match (kind.is_list(), raw.config, raw.layers, raw.manifests) {
            (false, Some(config), Some(layers), None) => {
                for link in std::iter::once(&config).chain(&layers) {
                    let parsed = link.parse()?;
                    if !link.is_elsewhere() {
                        document.blobs.push(parsed);
                    }
                }
                document.artifact_type.get_or_insert(config.media_type);
            }
            (true, None, None, Some(manifests)) => {
                document.entries = manifests
                    .iter()
                    .map(RawLink::parse)
                    .collect::<Result<_, _>>()?;
            }
            (false, ..) => return Err(DocumentError::NotAnImage),
            (true, ..) => return Err(DocumentError::NotAList),
        }
        Ok(document)
    }

    /// How a referrers answer describes this manifest.
    pub(crate) fn describe(self, digest: Digest, bytes: u64) -> Descriptor {
        Descriptor {
            media_type: self.kind.media_type(),
            digest: digest.to_string(),
            size: bytes,
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        }
    }
}

/// The content decides the kind; the header must agree. OCI formats may leave their media type
/// out, and then their fields tell them apart.
fn kind_of(raw: &Raw, content_type: Option<&str>) -> Result<Kind, DocumentError> {
    let header = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
    let header_kind = header
        .filter(|text| !text.is_empty())
        .map(Kind::of)
        .transpose()?;
    let kind = match &raw.media_type {
        Some(media_type) => Kind::of(media_type)?,
        None if matches!(header_kind, Some(Kind::DockerManifest | Kind::DockerList)) => {
            return Err(DocumentError::MediaTypeMissing);
        }
        None if raw.manifests.is_some() => Kind::OciIndex,
        None => Kind::OciManifest,
    };
    match header_kind {
        Some(header) if header != kind => Err(DocumentError::MediaTypeDiffers {
            header: header.media_type().to_owned(),
            body: kind.media_type().to_owned(),
        }),
        _ => Ok(kind),
    }
}

#[cfg(test)]
mod tests;
