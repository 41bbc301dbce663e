//! Everything that a request can fail with, in the words that its sender reads.

use std::io::{self, ErrorKind};

use axum::http::StatusCode;

use crate::{
    document::DocumentError,
    names::{Digest, ParseError},
};

const MIB: u64 = 1024 * 1024;

/// A failed request. `Display` is the message of the answer, except for [`Error::Io`], whose
/// details stay in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("this registry needs a user name and a password; log in with `docker login`")]
    Unauthorized,
    #[error("there is nothing at this path; the API of the registry begins at /v2/")]
    NoSuchPath,
    #[error("this path does not support the method; it answers to {allow}")]
    Method { allow: &'static str },
    #[error("a parameter of the query is malformed: {reason}")]
    Query { reason: String },

    #[error("repository name {text:?} is not valid: {source}")]
    NameInvalid { text: String, source: ParseError },
    #[error("tag {text:?} is not valid: {source}")]
    TagInvalid { text: String, source: ParseError },
    #[error("digest {text:?} is not valid: {source}")]
    DigestInvalid { text: String, source: ParseError },
    #[error("the digest parameter is missing; end an upload with ?digest=sha256:...")]
    DigestMissing,
    #[error("the content has digest {actual}, not {expected}; it was discarded, send it again")]
    DigestMismatch { expected: Digest, actual: Digest },

    #[error("repository {name} has nothing in it; push an image to it first")]
    NameUnknown { name: String },
    #[error("the repository has no manifest {reference}; push it first")]
    ManifestUnknown { reference: String },
    #[error("the repository has no blob {digest}; push or mount it first")]
    BlobUnknown { digest: Digest },
    #[error("the manifest refers to {digest}, which the repository does not have; push it first")]
    ManifestBlobUnknown { digest: Digest },
    #[error("the manifest is not valid: {0}")]
    ManifestInvalid(#[source] DocumentError),

    #[error("there is no such upload; it was ended, cancelled or swept. Start a new one")]
    UploadUnknown,
    #[error(
        "another request is writing to this upload; wait for it to end, then ask for its state"
    )]
    UploadBusy,
    #[error("{open} uploads are open, which is the limit; end or cancel some and try again")]
    UploadsTooMany { open: usize },
    #[error("Content-Range {text:?} is not of the form FIRST-LAST")]
    ChunkMalformed { text: String, length: u64 },
    #[error(
        "the chunk begins at byte {start}, but the upload has {length} bytes; go on from there"
    )]
    ChunkOutOfOrder { start: u64, length: u64 },
    #[error("Content-Range announces {announced} bytes, the body has {actual}; it was not stored")]
    ChunkLength { announced: u64, actual: u64 },
    #[error("no byte of the {length} that the blob has is in the range")]
    RangeUnsatisfiable { length: u64 },
    #[error("the body ended early; ask for the upload's state and go on from there")]
    BodyAborted,
    #[error("nothing came for {seconds} s; ask for the upload's state and go on from there")]
    BodyStalled { seconds: u64 },

    #[error("the content is larger than {max} bytes, the most that is accepted; nothing was kept")]
    TooLarge { max: u64 },
    #[error(
        "the disk has {} MiB free, {} MiB stay in reserve, and {} MiB were to come; nothing was \
         kept. Free some space or ask the operator to",
        free / MIB, reserve / MIB, wanted.div_ceil(MIB)
    )]
    DiskFull {
        free: u64,
        reserve: u64,
        wanted: u64,
    },

    #[error("the disk is full; nothing was kept. Free some space or ask the operator to")]
    NoSpace,
    #[error("the registry could not {action}; its log has the reason. Try again later")]
    Io {
        action: &'static str,
        source: io::Error,
    },
}

impl Error {
    /// The specification's code, or one of ours where it has none.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "UNAUTHORIZED",
            Self::NoSuchPath => "NOT_FOUND",
            Self::Method { .. } => "UNSUPPORTED",
            Self::Query { .. } => "QUERY_INVALID",
            Self::NameInvalid { .. } => "NAME_INVALID",
            Self::TagInvalid { .. } => "TAG_INVALID",
            Self::DigestInvalid { .. } | Self::DigestMissing | Self::DigestMismatch { .. } => {
                "DIGEST_INVALID"
            }
            Self::NameUnknown { .. } => "NAME_UNKNOWN",
            Self::ManifestUnknown { .. } => "MANIFEST_UNKNOWN",
            Self::BlobUnknown { .. } => "BLOB_UNKNOWN",
            Self::ManifestBlobUnknown { .. } => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid(_) => "MANIFEST_INVALID",
            Self::UploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::UploadBusy
            | Self::ChunkMalformed { .. }
            | Self::ChunkOutOfOrder { .. }
            | Self::BodyAborted
            | Self::BodyStalled { .. } => "BLOB_UPLOAD_INVALID",
            Self::UploadsTooMany { .. } => "TOOMANYREQUESTS",
            Self::ChunkLength { .. } | Self::TooLarge { .. } => "SIZE_INVALID",
            Self::RangeUnsatisfiable { .. } => "RANGE_INVALID",
            Self::DiskFull { .. } | Self::NoSpace => "INSUFFICIENT_STORAGE",
            Self::Io { .. } => "UNKNOWN",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoSuchPath
            | Self::NameUnknown { .. }
            | Self::ManifestUnknown { .. }
            | Self::BlobUnknown { .. }
            | Self::UploadUnknown => StatusCode::NOT_FOUND,
            Self::UploadBusy => StatusCode::CONFLICT,
            Self::UploadsTooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::ChunkMalformed { .. }
            | Self::ChunkOutOfOrder { .. }
            | Self::RangeUnsatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::BodyStalled { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::DiskFull { .. } | Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Self::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Query { .. }
            | Self::NameInvalid { .. }
            | Self::TagInvalid { .. }
            | Self::DigestInvalid { .. }
            | Self::DigestMissing
            | Self::DigestMismatch { .. }
            | Self::ManifestBlobUnknown { .. }
            | Self::ManifestInvalid(_)
            | Self::ChunkLength { .. }
            | Self::BodyAborted => StatusCode::BAD_REQUEST,
        }
    }

    /// For `map_err` on file operations: `.map_err(Error::io("read a blob"))`.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io { action, source },
        }
    }
}
