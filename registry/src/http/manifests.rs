//! Manifests: read, write, remove.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use tracing::info;

use crate::{
    document::{Document, MANIFEST_BYTES_MAX},
    error::Error,
    http::{
        CONTENT_DIGEST, Shared, answer, blocking, content,
        content::{Batch, Then},
        content_length,
    },
    names::{Reference, Repository},
    store::manifests::Manifest,
};

/// Confirms that the registry will list the manifest among its subject's referrers.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(
    shared: &Shared,
    name: Repository,
    reference: Reference,
) -> Result<Response, Error> {
    let store = Arc::clone(&shared.store);
    let Manifest {
        digest,
        media_type,
        bytes,
    } = blocking(move || store.read_manifest(&name, &reference)).await?;
    let mut response = answer::empty(
        StatusCode::OK,
        [
            (CONTENT_DIGEST, digest.to_string()),
            (header::ETAG, format!("\"{digest}\"")),
            (header::CONTENT_TYPE, media_type.to_owned()),
            (header::CONTENT_LENGTH, bytes.len().to_string()),
        ],
    );
    // The server leaves the body out of an answer to HEAD.
    *response.body_mut() = Body::from(bytes);
    Ok(response)
}

pub(super) async fn put(
    shared: &Shared,
    parts: &Parts,
    body: &mut Body,
    name: Repository,
    reference: Reference,
) -> Result<Response, Error> {
    let bytes = read(parts, body).await?;
    let content_type = match parts
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::to_str)
    {
        Some(Ok(text)) => Some(text.to_owned()),
        Some(Err(_)) => Some("?".to_owned()),
        None => None,
    };
    let store = Arc::clone(&shared.store);
    let repository = name.clone();
    let tagged = reference.clone();
    let (digest, subject) = blocking(move || {
        let document =
            Document::parse(&bytes, content_type.as_deref()).map_err(Error::ManifestInvalid)?;
        let digest = store.write_manifest(&repository, &tagged, &document, &bytes)?;
        Ok((digest, document.subject))
    })
    .await?;
    info!(repository = %name, %reference, %digest, "stored a manifest");
    let mut response = answer::empty(
        StatusCode::CREATED,
        [
            (header::LOCATION, format!("/v2/{name}/manifests/{digest}")),
            (CONTENT_DIGEST, digest.to_string()),
        ],
    );
    if let Some(Ok(subject)) = subject.map(|subject| HeaderValue::try_from(subject.to_string())) {
        response.headers_mut().insert(SUBJECT, subject);
    }
    Ok(response)
}

pub(super) async fn delete(
    shared: &Shared,
    name: Repository,
    reference: Reference,
) -> Result<Response, Error> {
    let store = Arc::clone(&shared.store);
    blocking(move || match &reference {
        Reference::Tag(tag) => store.remove_tag(&name, tag),
        Reference::Digest(digest) => store.remove_manifest(&name, digest),
    })
    .await?;
    Ok(answer::empty(StatusCode::ACCEPTED, []))
}

/// Reads a manifest whole, up to its limit.
async fn read(parts: &Parts, body: &mut Body) -> Result<Vec<u8>, Error> {
    let max = MANIFEST_BYTES_MAX as u64;
    if content_length(parts).is_some_and(|length| length > max) {
        return Err(Error::TooLarge { max });
    }
    let mut bytes = Vec::new();
    loop {
        let Batch { chunks, then, .. } = content::next_batch(body).await;
        for chunk in chunks {
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(Error::TooLarge { max });
        }
        match then {
            Then::More => {}
            Then::End => return Ok(bytes),
            Then::Failed(error) => return Err(error),
        }
    }
}
