//! Uploads: start, go on, ask, end, cancel; and mounting, which starts like one.

use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderName, StatusCode, header, request::Parts},
    response::Response,
};
use serde::Deserialize;

use crate::{
    error::Error,
    http::{
        CONTENT_DIGEST, Shared, answer, blob_path, blocking,
        content::{self, Batch, Then},
        content_length, parse_digest, query,
    },
    names::{Digest, Repository, UploadId},
    ranges,
    store::uploads::{Upload, Uploads},
};

/// The upload's id alone, which Docker prints.
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// What an upload may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) upload_bytes_max: u64,
    pub(super) disk_reserve_bytes: u64,
}

impl Limits {
    /// May an upload grow from `length` by `more` bytes?
    fn check(&self, uploads: &Uploads, length: u64, more: u64) -> Result<(), Error> {
        if length.saturating_add(more) > self.upload_bytes_max {
            return Err(Error::TooLarge {
                max: self.upload_bytes_max,
            });
        }
        let free = uploads.free_bytes()?;
        if free < self.disk_reserve_bytes.saturating_add(more) {
            return Err(Error::DiskFull {
                free,
                reserve: self.disk_reserve_bytes,
                wanted: more,
            });
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Start {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
}

/// `POST`: mounts a blob, takes one whole, or opens an upload.
pub(super) async fn start(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Body,
    name: Repository,
) -> Result<Response, Error> {
    let Start {
        digest,
        mount,
        from,
    } = query(parts)?;
    if let Some(mount) = mount {
        let digest = parse_digest(&mount)?;
        let parse = |text: String| match text.parse::<Repository>() {
            Ok(name) => Ok(name),
            Err(source) => Err(Error::NameInvalid { text, source }),
        };
        let from = from.map(parse).transpose()?;
        let (store, repository) = (Arc::clone(&shared.store), name.clone());
        if blocking(move || store.mount(&repository, from.as_ref(), &digest)).await? {
            return Ok(created(&name, &digest));
        }
    }
    let digest = digest.as_deref().map(parse_digest).transpose()?;
    let (uploads, repository) = (Arc::clone(&shared.uploads), name.clone());
    let (id, upload) = blocking(move || uploads.start(&repository)).await?;
    let Some(digest) = digest else {
        return Ok(progress(StatusCode::ACCEPTED, &name, id, 0));
    };
    // Nobody was told of this upload, so that nobody could go on with it.
    match receive(shared, upload, body, content_length(parts), None).await {
        Ok(upload) => finish(name, upload, digest).await,
        Err(error) => {
            let uploads = Arc::clone(&shared.uploads);
            drop(blocking(move || uploads.resume(&name, id)?.discard()).await);
            Err(error)
        }
    }
}

/// `GET`: how far the upload is.
pub(super) async fn status(
    shared: &Shared,
    name: Repository,
    id: UploadId,
) -> Result<Response, Error> {
    let (uploads, repository) = (Arc::clone(&shared.uploads), name.clone());
    let length = blocking(move || uploads.length(&repository, id)).await?;
    Ok(progress(StatusCode::NO_CONTENT, &name, id, length))
}

/// `PATCH`: the next chunk, or all of it as a stream.
pub(super) async fn patch(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Body,
    name: Repository,
    id: UploadId,
) -> Result<Response, Error> {
    let upload = append(shared, parts, body, &name, id).await?;
    Ok(progress(StatusCode::ACCEPTED, &name, id, upload.length()))
}

#[derive(Deserialize)]
struct End {
    digest: Option<String>,
}

/// `PUT`: the last chunk, if any, and the digest of it all.
pub(super) async fn put(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Body,
    name: Repository,
    id: UploadId,
) -> Result<Response, Error> {
    let End { digest } = query(parts)?;
    let digest = parse_digest(&digest.ok_or(Error::DigestMissing)?)?;
    let upload = append(shared, parts, body, &name, id).await?;
    finish(name, upload, digest).await
}

/// `DELETE`: forgets what was received.
pub(super) async fn cancel(
    shared: &Shared,
    name: Repository,
    id: UploadId,
) -> Result<Response, Error> {
    let uploads = Arc::clone(&shared.uploads);
    blocking(move || uploads.resume(&name, id)?.discard()).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT, []))
}

/// Adds a request's body to an upload, if it belongs at its end.
async fn append(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &mut Body,
    name: &Repository,
    id: UploadId,
) -> Result<Upload, Error> {
    let (uploads, repository) = (Arc::clone(&shared.uploads), name.clone());
    let upload = blocking(move || uploads.resume(&repository, id)).await?;
    let announced = content_length(parts);
    let chunk = match parts.headers.get(header::CONTENT_RANGE) {
        None => None,
        Some(value) => Some(expected_chunk(
            value.to_str().unwrap_or("?"),
            &upload,
            announced,
        )?),
    };
    receive(shared, upload, body, announced, chunk).await
}

/// Reads a chunk's `Content-Range` and compares it with what is known before the body is read.
fn expected_chunk(
    header: &str,
    upload: &Upload,
    announced: Option<u64>,
) -> Result<Range<u64>, Error> {
    let length = upload.length();
    let Some(chunk) = ranges::chunk(header) else {
        return Err(Error::ChunkMalformed {
            text: header.to_owned(),
            length,
        });
    };
    if chunk.start != length {
        return Err(Error::ChunkOutOfOrder {
            start: chunk.start,
            length,
        });
    }
    match announced {
        Some(actual) if actual != chunk.end - chunk.start => Err(Error::ChunkLength {
            announced: chunk.end - chunk.start,
            actual,
        }),
        _ => Ok(chunk),
    }
}

/// Streams a body to the end of an upload: while one part is hashed and written, the next comes in.
///
/// What may not be stored is removed with the whole upload; what a broken connection sent is kept.
async fn receive(
    shared: &Arc<Shared>,
    mut upload: Upload,
    body: &mut Body,
    announced: Option<u64>,
    chunk: Option<Range<u64>>,
) -> Result<Upload, Error> {
    let start = upload.length();
    upload = store(shared, upload, Vec::new(), announced.unwrap_or(0)).await?;
    let mut batch = content::next_batch(body).await;
    loop {
        let Batch {
            chunks,
            bytes,
            then,
        } = batch;
        let storing = store(shared, upload, chunks, bytes);
        match then {
            Then::More => {
                let (stored, next) = tokio::join!(storing, content::next_batch(body));
                upload = stored?;
                batch = next;
            }
            Then::End => {
                upload = storing.await?;
                break;
            }
            Then::Failed(error) => {
                storing.await?;
                return Err(error);
            }
        }
    }
    let actual = upload.length() - start;
    match chunk.map(|chunk| chunk.end - chunk.start) {
        Some(announced) if announced != actual => {
            blocking(move || upload.truncate(start)).await?;
            Err(Error::ChunkLength { announced, actual })
        }
        _ => Ok(upload),
    }
}

/// Appends chunks if `room` bytes may be added; removes the upload if not.
async fn store(
    shared: &Arc<Shared>,
    mut upload: Upload,
    chunks: Vec<bytes::Bytes>,
    room: u64,
) -> Result<Upload, Error> {
    if room == 0 {
        return Ok(upload);
    }
    let shared = Arc::clone(shared);
    blocking(move || {
        let limits = &shared.limits;
        let stored = limits
            .check(&shared.uploads, upload.length(), room)
            .and_then(|()| upload.append(&chunks));
        match stored {
            Ok(()) => Ok(upload),
            Err(error @ (Error::TooLarge { .. } | Error::DiskFull { .. } | Error::NoSpace)) => {
                upload.discard()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    })
    .await
}

async fn finish(name: Repository, upload: Upload, digest: Digest) -> Result<Response, Error> {
    let repository = name.clone();
    blocking(move || upload.finish(&repository, &digest)).await?;
    Ok(created(&name, &digest))
}

fn created(name: &Repository, digest: &Digest) -> Response {
    answer::empty(
        StatusCode::CREATED,
        [
            (header::LOCATION, blob_path(name, digest)),
            (CONTENT_DIGEST, digest.to_string()),
        ],
    )
}

fn progress(status: StatusCode, name: &Repository, id: UploadId, length: u64) -> Response {
    answer::empty(
        status,
        [
            (header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
            (header::RANGE, ranges::received(length)),
            (UPLOAD_UUID, id.to_string()),
        ],
    )
}
