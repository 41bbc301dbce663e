//! The body of an answer on its way to the client: the pod's, passed on as fast as the client
//! reads, or a page of the router's own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    access::{End, Record},
    drain::InFlight,
    failure::Failure,
    pool::Lease,
    upload::{Progress, Stage},
    worker::Worker,
};

/// The longest pause between two pieces of an answer, as on Heroku. Streams that are quiet for
/// longer send a comment line now and then, which they need for the proxies on the way anyhow.
const IDLE_TIMEOUT: Duration = Duration::from_secs(55);

/// What is sent to a client.
#[derive(Debug)]
pub(crate) enum Answer {
    /// From a pod. Boxed, since the other kind is small and rare answers should not pay for it.
    Relay(Box<Relay>),
    Page(Full<Bytes>),
}

/// Why an answer was cut off. The client sees a broken connection; the log has the reason.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the pod broke off its answer")]
    Pod(#[source] hyper::Error),
    #[error("the pod's answer stopped for {} s", IDLE_TIMEOUT.as_secs())]
    Idle,
}

/// A pod's answer.
#[derive(Debug)]
pub(crate) struct Relay {
    body: Incoming,
    /// Set at the first pause, since most answers have none.
    idle: Option<Pin<Box<Sleep>>>,
    /// False while `idle` still runs for an earlier pause.
    paused: bool,
    /// Gone when the answer has ended.
    open: Option<Open>,
}

/// What an answer holds on to until its end.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) worker: Arc<Worker>,
    pub(crate) lease: Lease,
    pub(crate) in_flight: InFlight,
    pub(crate) record: Record,
    pub(crate) upload: Option<Arc<Progress>>,
}

impl Relay {
    /// Passes on `body`; what `open` holds is let go at its end.
    pub(crate) fn new(body: Incoming, open: Open) -> Self {
        Self {
            body,
            idle: None,
            paused: false,
            open: Some(open),
        }
    }

    fn complete(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        open.record.end = End::Complete;
        // An answer may end before its request has: such a connection is still busy.
        if open
            .upload
            .is_none_or(|upload| upload.stage() == Stage::Ended)
        {
            open.worker
                .pool
                .keep(open.in_flight.endpoint(), open.lease.sender);
        }
    }

    fn fail(&mut self, failure: Failure) {
        if let Some(mut open) = self.open.take() {
            open.record.end = End::Failed(failure);
        }
    }

    /// True when neither side has moved for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> bool {
        let idle = self
            .idle
            .get_or_insert_with(|| Box::pin(sleep(IDLE_TIMEOUT)));
        if !self.paused {
            idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
            self.paused = true;
        }
        while idle.as_mut().poll(cx).is_ready() {
            let upload = self.open.as_ref().and_then(|open| open.upload.as_ref());
            let moved = upload.map(|upload| upload.moved() + IDLE_TIMEOUT);
            match moved {
                Some(until) if until > Instant::now() => idle.as_mut().reset(until),
                _ => return true,
            }
        }
        false
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // hyper does not ask for the end of a body whose end it knows, for example after HEAD.
        if self.body.is_end_stream() {
            self.complete();
        }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.paused = false;
                if let (Some(data), Some(open)) = (frame.data_ref(), &mut self.open) {
                    open.record.bytes += data.len() as u64;
                }
                if self.body.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.fail(Failure::Reset);
                Poll::Ready(Some(Err(Broken::Pod(error))))
            }
            Poll::Pending => {
                if self.poll_idle(cx) {
                    self.fail(Failure::Idle);
                    return Poll::Ready(Some(Err(Broken::Idle)));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Relay(relay) => Pin::new(relay.as_mut()).poll_frame(cx),
            Self::Page(page) => Pin::new(page)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Relay(relay) => relay.is_end_stream(),
            Self::Page(page) => page.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Relay(relay) => relay.size_hint(),
            Self::Page(page) => page.size_hint(),
        }
    }
}
