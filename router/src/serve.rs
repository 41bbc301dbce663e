//! Client connections: from an accepted byte stream to requests.
//!
//! [`serve`] takes any byte stream whose protocol is known. The plain listener finds the protocol
//! by looking at the first bytes ([`plain_protocol`]); a TLS acceptor would hand in its stream, the
//! protocol of its ALPN and the scheme `https`, and nothing else here would change.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};

use crate::{headers::Peer, proxy, worker::Worker};

/// How long a connection may take to send a whole request head; it is also how long an idle
/// connection is kept, since the waiting for the next head is the same wait to hyper. Above the
/// 50 to 60 s of common load balancers, which must not find a connection closed that they reuse.
const HEAD_TIMEOUT: Duration = Duration::from_secs(65);
/// The same for a connection that was accepted while the router stops and gets one request.
const LAST_HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of a request's head, as nginx has it (4 x 8 KiB) and doubled for large cookies.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header fields in a head; what many servers allow at most.
const HEAD_FIELDS_MAX: usize = 128;
/// The most bytes of a request that are read ahead of a slow pod.
const BUFFER_BYTES_MAX: usize = 256 * 1024;
/// How long a client may take nothing of an answer that waits for it.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(55);
/// Requests at once on one HTTP/2 connection, as nginx has it.
const STREAMS_MAX: u32 = 128;
/// How often an HTTP/2 connection is asked whether the client is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long to wait for the rest of four bytes of which the first were seen.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Whether a connection may bring more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    KeepAlive,
    OneRequest,
}

impl Lifetime {
    /// How long to wait for a request's head, and on a kept connection for the next.
    fn head_timeout(self) -> Duration {
        match self {
            Self::KeepAlive => HEAD_TIMEOUT,
            Self::OneRequest => LAST_HEAD_TIMEOUT,
        }
    }
}

/// Serves a connection without TLS until it ends or the router stops.
pub(crate) async fn plain(worker: Arc<Worker>, stream: TcpStream, peer: Peer, lifetime: Lifetime) {
    drop(stream.set_nodelay(true));
    let protocol = tokio::select! {
        protocol = timeout(lifetime.head_timeout(), plain_protocol(&stream)) => protocol,
        () = worker.stopping.cancelled(), if lifetime == Lifetime::KeepAlive => return,
    };
    if let Ok(Ok(protocol)) = protocol {
        serve(worker, stream, protocol, Arc::new(peer), lifetime).await;
    }
}

/// Tells HTTP/2 by prior knowledge from HTTP/1 without taking a byte off the stream: no request of
/// HTTP/1 begins with the method `PRI`.
async fn plain_protocol(stream: &TcpStream) -> io::Result<Protocol> {
    const PREFACE: &[u8] = b"PRI ";
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(&first[..seen]) {
            return Ok(Protocol::Http1);
        }
        if seen == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        sleep(PREFACE_PAUSE).await;
    }
}

/// Serves requests from a byte stream until it ends or the router stops; the request at hand is
/// finished then.
pub(crate) async fn serve<I>(
    worker: Arc<Worker>,
    stream: I,
    protocol: Protocol,
    peer: Arc<Peer>,
    lifetime: Lifetime,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Patient {
        io: stream,
        stalled: None,
    });
    let stopping = worker.stopping.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (worker, peer) = (worker.clone(), peer.clone());
        async move { Ok::<_, Infallible>(proxy::answer(worker, peer, request).await) }
    });
    let ended = match protocol {
        Protocol::Http1 => {
            let keep_alive = lifetime == Lifetime::KeepAlive;
            let connection = conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(lifetime.head_timeout())
                .keep_alive(keep_alive)
                .max_headers(HEAD_FIELDS_MAX)
                .max_header_size(HEAD_BYTES_MAX)
                .max_buf_size(BUFFER_BYTES_MAX)
                .serve_connection(io, service)
                .with_upgrades();
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = stopping.cancelled(), if keep_alive => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Protocol::Http2 => {
            let connection = conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .keep_alive_interval(PING_INTERVAL)
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        // Clients break the rules and go away all day; what concerns an app is in its log.
        tracing::debug!(%error, "a client connection ended early");
    }
}

/// A stream whose writes fail when the other side takes nothing for too long. hyper has no such
/// limit, and without it a client that never reads would hold a pod's answer for ever.
struct Patient<I> {
    io: I,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<I> Patient<I> {
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(WRITE_STALL_TIMEOUT)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Patient<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Patient<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
