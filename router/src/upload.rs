//! A request's body on its way to the pod. It is polled by the pod's connection only as fast as the
//! pod reads, which holds the client back in turn; and it notes who keeps whom waiting.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

/// The body of a request to a pod; none for most.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Option<(Incoming, Arc<Progress>)>,
}

/// How far an upload is.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    /// When the last piece moved, in milliseconds since `begun`.
    moved_ms: AtomicU64,
    stage: AtomicU8,
}

/// Who an upload waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// The pod has not asked for the next piece.
    Pod,
    /// The client has not sent the next piece.
    Client,
    /// Nobody: all of it was handed over.
    Ended,
    /// The client went away in the middle.
    Broken,
    /// What the client sent in the middle is not HTTP.
    Malformed,
}

impl Upload {
    /// The client's body, and how far it is if there is one.
    pub(crate) fn new(body: Incoming) -> (Self, Option<Arc<Progress>>) {
        if body.is_end_stream() {
            return (Self::none(), None);
        }
        let progress = Arc::new(Progress::begin());
        (
            Self {
                body: Some((body, progress.clone())),
            },
            Some(progress),
        )
    }

    /// No body.
    pub(crate) fn none() -> Self {
        Self { body: None }
    }

    /// True if there is no body.
    pub(crate) fn is_none(&self) -> bool {
        self.body.is_none()
    }
}

impl Progress {
    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Pod,
            1 => Stage::Client,
            2 => Stage::Ended,
            3 => Stage::Broken,
            _ => Stage::Malformed,
        }
    }

    /// When the last piece moved; the beginning if none did.
    pub(crate) fn moved(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved_ms.load(Relaxed))
    }

    /// An upload of which nothing has moved.
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            moved_ms: AtomicU64::new(0),
            stage: AtomicU8::new(Stage::Pod as u8),
        }
    }

    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Relaxed);
    }

    /// A piece moved, or the end was reached.
    pub(crate) fn note(&self, stage: Stage) {
        let elapsed_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(elapsed_ms, Relaxed);
        self.enter(stage);
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some((body, progress)) = &mut self.body else {
            return Poll::Ready(None);
        };
        progress.enter(Stage::Client);
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        progress.note(match &frame {
            Some(Ok(_)) if body.is_end_stream() => Stage::Ended,
            Some(Ok(_)) => Stage::Pod,
            Some(Err(error)) if is_malformed(error) => Stage::Malformed,
            Some(Err(_)) => Stage::Broken,
            None => Stage::Ended,
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or(SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}

/// True for chunks that break the rules, as opposed to a connection that ended.
fn is_malformed(error: &hyper::Error) -> bool {
    use std::io::{
        Error,
        ErrorKind::{InvalidData, InvalidInput},
    };
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    source.is_some_and(|source| matches!(source.kind(), InvalidData | InvalidInput))
}
