//! The grammar of names: repositories, tags, digests and upload ids.
//!
//! Every one of these becomes part of a path on disk, so this module is also what makes path
//! traversal impossible: no value of these types holds an empty component, a component that starts
//! with a dot or an underscore, or anything but ASCII letters, digits and `._-` between slashes.

use std::{fmt, str::FromStr};

use sha2::Sha256;
use uuid::Uuid;

/// Longest repository name in bytes: the specification's limit, and a file name's.
const REPOSITORY_BYTES_MAX: usize = 255;

/// Longest tag in bytes, by the specification.
const TAG_BYTES_MAX: usize = 128;

/// Why a text is no name of the wanted kind. One variant per rule, each with what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The repository name is too long or empty.
    #[error("a repository name has 1 to 255 characters; choose a shorter one")]
    RepositoryLength,
    /// The repository name has a bad component.
    #[error(
        "a repository name is made of lower-case letters and digits, joined by single dots, one or \
         two underscores or any number of dashes, in parts separated by slashes"
    )]
    RepositoryGrammar,
    /// The tag is too long, empty, or has a bad character.
    #[error(
        "a tag has 1 to 128 letters, digits, underscores, dots and dashes, and starts with none of \
         the last two"
    )]
    Tag,
    /// The digest's algorithm is missing or not supported.
    #[error("a digest starts with sha256: here; other algorithms are not supported")]
    DigestAlgorithm,
    /// The digest's hash is no SHA-256 in hexadecimal.
    #[error("a sha256 digest has exactly 64 lower-case hexadecimal digits")]
    DigestHex,
    /// The upload id is not one that this registry gave out.
    #[error("an upload is named by the address that the registry answered when it was started")]
    Upload,
}

/// Name of a repository: `apps/shop`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(String);

impl Repository {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() || text.len() > REPOSITORY_BYTES_MAX {
            return Err(ParseError::RepositoryLength);
        }
        if text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::RepositoryGrammar)
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, the specification's path component.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().copied().is_some_and(is_word) || !bytes.last().copied().is_some_and(is_word) {
        return false;
    }
    bytes
        .split(|byte| is_word(*byte))
        .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

/// A tag: `v1`, `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag(String);

impl Tag {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let first_fits = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let rest_fits = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if first_fits && rest_fits && text.len() <= TAG_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::Tag)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 digest: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of bytes that are in memory.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(<Sha256 as sha2::Digest>::digest(bytes).into())
    }

    /// The digest of what a hasher was fed.
    pub(crate) fn finish(hasher: Sha256) -> Self {
        Self(sha2::Digest::finalize(hasher).into())
    }

    /// The 64 digits without the algorithm: the name of the file on disk.
    pub(crate) fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The reverse of [`Self::hex`].
    pub(crate) fn from_hex(text: &str) -> Result<Self, ParseError> {
        let lower_case = text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        let mut bytes = [0; 32];
        if !lower_case || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(ParseError::DigestHex);
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::from_hex(
            text.strip_prefix("sha256:")
                .ok_or(ParseError::DigestAlgorithm)?,
        )
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a request names a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = ParseError;

    /// A colon decides: no tag has one, every digest does.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.contains(':') {
            text.parse().map(Self::Digest)
        } else {
            text.parse().map(Self::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Identity of an upload; random, so that nobody guesses another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(Uuid);

impl UploadId {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl FromStr for UploadId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let id = Uuid::try_parse(text).map_err(|_| ParseError::Upload)?;
        // The parser accepts braces, capitals and no dashes too; one upload has one address.
        if id.to_string() == text {
            Ok(Self(id))
        } else {
            Err(ParseError::Upload)
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
