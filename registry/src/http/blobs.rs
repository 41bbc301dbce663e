//! Blobs: read, and remove from a repository.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    response::Response,
};

use crate::{
    error::Error,
    http::{CONTENT_DIGEST, Shared, answer, blocking, content},
    names::{Digest, Repository},
    ranges::{self, Part},
};

/// How long a cache may keep what is named by its digest, in seconds: for good, that is a year.
const CACHE_SECS: u32 = 31_536_000;

pub(super) async fn get(
    shared: &Shared,
    parts: &Parts,
    name: Repository,
    digest: Digest,
) -> Result<Response, Error> {
    let store = Arc::clone(&shared.store);
    let head_only = parts.method == Method::HEAD;
    let range = wanted_range(&parts.headers, &digest);
    let (status, total, bytes, body) = blocking(move || {
        let blob = store.open_blob(&name, &digest)?;
        if head_only {
            return Ok((StatusCode::OK, blob.bytes, 0..blob.bytes, Body::empty()));
        }
        let (status, bytes) = match ranges::part(range.as_deref(), blob.bytes) {
            Part::Whole => (StatusCode::OK, 0..blob.bytes),
            Part::Bytes(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
            Part::Unsatisfiable => return Err(Error::RangeUnsatisfiable { length: blob.bytes }),
        };
        let body =
            content::file_body(blob.file, bytes.clone()).map_err(Error::io("read a blob"))?;
        Ok((status, blob.bytes, bytes, body))
    })
    .await?;

    let mut response = answer::empty(
        status,
        [
            (CONTENT_DIGEST, digest.to_string()),
            (header::ETAG, etag(&digest)),
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (
                header::CONTENT_LENGTH,
                (bytes.end - bytes.start).to_string(),
            ),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            (
                header::CACHE_CONTROL,
                format!("private, max-age={CACHE_SECS}, immutable"),
            ),
        ],
    );
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{total}", bytes.start, bytes.end - 1);
        if let Ok(value) = range.try_into() {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    *response.body_mut() = body;
    Ok(response)
}

pub(super) async fn delete(
    shared: &Shared,
    name: Repository,
    digest: Digest,
) -> Result<Response, Error> {
    let store = Arc::clone(&shared.store);
    blocking(move || store.remove_blob(&name, &digest)).await?;
    Ok(answer::empty(StatusCode::ACCEPTED, []))
}

/// The range that is asked for. `If-Range` withdraws it when the client has a part of other content.
fn wanted_range(headers: &HeaderMap, digest: &Digest) -> Option<String> {
    let other = headers
        .get(header::IF_RANGE)
        .is_some_and(|tag| tag.as_bytes() != etag(digest).as_bytes());
    let range = headers.get(header::RANGE).filter(|_| !other)?;
    range.to_str().ok().map(str::to_owned)
}

fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}
