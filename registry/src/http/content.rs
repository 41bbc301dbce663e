//! Content on its way in and out, in pieces, with the disk and the network at work side by side.

use std::{
    fs::File,
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Body,
    http::{header, request::Parts},
};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::{task::JoinHandle, time::timeout};
use tracing::warn;

use crate::error::Error;

/// Bytes that are collected from the network before they go to the disk together. Two of these are
/// in memory per upload: one on its way in, one on its way out.
const BATCH_BYTES: usize = 1024 * 1024;

/// Bytes read from the disk at a time. Two of these are in memory per download.
const READ_BYTES: u64 = 256 * 1024;

/// Longest time without a byte from a client, in seconds. A connection that is silent for longer
/// is dead; what it sent is kept.
const BODY_IDLE_SECS: u64 = 60;

/// Longest time that the rest of a refused body is read and thrown away, in seconds, so that the
/// client is still there to read the refusal. Most clients look for an answer at once.
const LINGER_SECS: u64 = 5;

/// Part of a body.
pub(super) struct Batch {
    pub(super) chunks: Vec<Bytes>,
    pub(super) bytes: u64,
    pub(super) then: Then,
}

/// What comes after a part of a body.
pub(super) enum Then {
    More,
    End,
    Failed(Error),
}

/// Reads the next part of a body. What came before a failure is part of it.
pub(super) async fn next_batch(body: &mut Body) -> Batch {
    let mut batch = Batch {
        chunks: Vec::new(),
        bytes: 0,
        then: Then::More,
    };
    while batch.bytes < BATCH_BYTES as u64 {
        match timeout(Duration::from_secs(BODY_IDLE_SECS), body.frame()).await {
            Ok(Some(Ok(frame))) => {
                // Trailers mean nothing here.
                if let Ok(chunk) = frame.into_data() {
                    batch.bytes += chunk.len() as u64;
                    batch.chunks.push(chunk);
                }
                continue;
            }
            Ok(None) => batch.then = Then::End,
            Ok(Some(Err(_))) => batch.then = Then::Failed(Error::BodyAborted),
            Err(_) => {
                batch.then = Then::Failed(Error::BodyStalled {
                    seconds: BODY_IDLE_SECS,
                })
            }
        }
        break;
    }
    batch
}

/// Reads the rest of a refused body in the background. Closing a connection while the client still
/// writes resets it, and the client would see that instead of our answer.
pub(super) fn linger(parts: &Parts, mut body: Body) {
    // Who asked whether to go on has sent nothing yet, and will not after this answer.
    if body.is_end_stream() || parts.headers.contains_key(header::EXPECT) {
        return;
    }
    let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
    drop(tokio::spawn(timeout(
        Duration::from_secs(LINGER_SECS),
        rest,
    )));
}

/// Part of a file as a body. The next piece is read while the last one is sent.
pub(super) fn file_body(file: File, bytes: Range<u64>) -> io::Result<Body> {
    let first = read(&file, &bytes)?;
    let rest = bytes.start + first.len() as u64..bytes.end;
    if rest.is_empty() {
        return Ok(Body::from(first));
    }
    Ok(Body::from_stream(stream::try_unfold(
        Reader {
            file: Arc::new(file),
            rest,
            first: Some(first),
            reading: None,
        },
        next_piece,
    )))
}

struct Reader {
    file: Arc<File>,
    /// Bytes that nobody has begun to read.
    rest: Range<u64>,
    first: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reader {
    fn read_ahead(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        let (file, bytes) = (Arc::clone(&self.file), self.rest.clone());
        self.rest.start = self.rest.end.min(self.rest.start + READ_BYTES);
        self.reading = Some(tokio::task::spawn_blocking(move || read(&file, &bytes)));
    }
}

async fn next_piece(mut reader: Reader) -> io::Result<Option<(Bytes, Reader)>> {
    let piece = match (reader.first.take(), reader.reading.take()) {
        (Some(first), _) => first,
        (None, Some(reading)) => reading
            .await
            .map_err(io::Error::other)
            .flatten()
            // The head of the answer is sent: all that is left is to break the connection.
            .inspect_err(|error| warn!("could not read a blob that is being sent: {error}"))?,
        (None, None) => return Ok(None),
    };
    reader.read_ahead();
    Ok(Some((piece, reader)))
}

/// Reads the first piece of a range.
fn read(file: &File, bytes: &Range<u64>) -> io::Result<Bytes> {
    let length = (bytes.end - bytes.start).min(READ_BYTES);
    let length = usize::try_from(length).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, bytes.start)?;
    Ok(buffer.into())
}
