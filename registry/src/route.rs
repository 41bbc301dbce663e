//! From a request's path to what it names. Pure; the router cannot do it, since repository names
//! contain slashes.

use std::borrow::Cow;

use crate::{
    error::Error,
    names::{Digest, Reference, Repository, UploadId},
};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(Repository),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(Repository, Reference),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(Repository, Digest),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(Repository, Digest),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(Repository),
    /// `/v2/NAME/blobs/uploads/ID`
    Upload(Repository, UploadId),
}

impl Route {
    /// Reads the path from its end, where the fixed words are: `a/tags/b/blobs/uploads/` is an
    /// upload to `a/tags/b`. A path without such words is `NoSuchPath`, one with a bad name says
    /// which rule it breaks.
    pub(crate) fn parse(path: &str) -> Result<Self, Error> {
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some("/_catalog") => return Ok(Self::Catalog),
            Some(rest) => rest.strip_prefix('/').ok_or(Error::NoSuchPath)?,
            None => return Err(Error::NoSuchPath),
        };
        let (head, last) = rest.rsplit_once('/').ok_or(Error::NoSuchPath)?;
        let (name, noun) = head.rsplit_once('/').ok_or(Error::NoSuchPath)?;
        let last = percent_decoded(last);
        let last = last.as_ref();
        match noun {
            "uploads" if name.ends_with("/blobs") => {
                let name = repository(name.strip_suffix("/blobs").unwrap_or(name))?;
                if last.is_empty() {
                    return Ok(Self::Uploads(name));
                }
                Ok(Self::Upload(
                    name,
                    last.parse().map_err(|_| Error::UploadUnknown)?,
                ))
            }
            "blobs" if last == "uploads" => Ok(Self::Uploads(repository(name)?)),
            "blobs" => Ok(Self::Blob(repository(name)?, digest(last)?)),
            "manifests" => {
                let reference = last.parse().map_err(|source| match last.contains(':') {
                    true => Error::DigestInvalid {
                        text: last.into(),
                        source,
                    },
                    false => Error::TagInvalid {
                        text: last.into(),
                        source,
                    },
                })?;
                Ok(Self::Manifest(repository(name)?, reference))
            }
            "referrers" => Ok(Self::Referrers(repository(name)?, digest(last)?)),
            "tags" if last == "list" => Ok(Self::Tags(repository(name)?)),
            _ => Err(Error::NoSuchPath),
        }
    }

    /// The methods that the path answers to, for `Allow`.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET, HEAD",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }
}

/// Names need no escape, so that an escaped one is refused by the grammar rather than decoded.
fn repository(text: &str) -> Result<Repository, Error> {
    text.parse().map_err(|source| Error::NameInvalid {
        text: text.into(),
        source,
    })
}

fn digest(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|source| Error::DigestInvalid {
        text: text.into(),
        source,
    })
}

/// Some clients write a digest's colon as `%3A`. Decoding happens after splitting, so that `%2F`
/// never becomes a separator.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let mut decoded = [0];
        let escape = tail.get(..2).filter(|_| first == b'%');
        match escape.map(|digits| hex::decode_to_slice(digits, &mut decoded)) {
            Some(Ok(())) => {
                bytes.push(decoded[0]);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
