//! What follows a `101 Switching Protocols`: bytes in both directions, WebSocket or anything else.
//! A tunnel counts as a request in flight until both sides have closed it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    sync::Notify,
    time::sleep,
};

use crate::{
    access::{End, Record},
    drain::InFlight,
    failure::Failure,
};

/// How long a tunnel may be silent. Long, since a quiet WebSocket is nothing unusual; there at all,
/// since a peer that vanished without a word would be counted as in flight for ever.
const TUNNEL_IDLE: Duration = Duration::from_secs(60 * 60);

/// How long a client may keep its half open after the pod has closed: a pod that has ended must not
/// count as in flight for the sake of a client that does not care. The other way round there is no
/// such limit, since a pod may have much to say after the client's last word.
const CLIENT_LINGER_MAX: Duration = Duration::from_secs(2);

/// Carries bytes between the client and the pod until one of them has enough. Dropping the future
/// closes both.
pub(crate) async fn carry(
    client: OnUpgrade,
    pod: OnUpgrade,
    in_flight: InFlight,
    mut record: Record,
) {
    let (client, pod) = match tokio::try_join!(client, pod) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a connection ended before it could switch protocols");
            return;
        }
    };
    let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let pod_ended = Arc::new(Notify::new());
    let metered = |io, written: &Arc<AtomicU64>, closed| Metered {
        io: TokioIo::new(io),
        written: written.clone(),
        closed,
    };
    let mut client = metered(client, &sent, Some(pod_ended.clone()));
    let mut pod = metered(pod, &received, None);
    let silence = async {
        let mut before = None;
        loop {
            let now = (sent.load(Relaxed), received.load(Relaxed));
            if before.replace(now) == Some(now) {
                return;
            }
            sleep(TUNNEL_IDLE).await;
        }
    };
    let client_lingers = async {
        pod_ended.notified().await;
        sleep(CLIENT_LINGER_MAX).await;
    };
    record.end = tokio::select! {
        end = copy_bidirectional(&mut client, &mut pod) => match end {
            // Most WebSockets end by one side closing hard; that is their ordinary end.
            Ok(_) => End::Complete,
            Err(error) if is_hangup(&error) => End::Complete,
            Err(error) => {
                tracing::debug!(%error, "a tunnel broke");
                End::Failed(Failure::Reset)
            }
        },
        () = silence => End::Failed(Failure::Idle),
        () = client_lingers => End::Complete,
    };
    record.bytes = sent.load(Relaxed);
    drop(in_flight);
}

fn is_hangup(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
    )
}

/// A stream that counts what is written to it, and tells when nothing more will be written.
struct Metered<I> {
    io: I,
    written: Arc<AtomicU64>,
    closed: Option<Arc<Notify>>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Metered<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Metered<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.written.fetch_add(written as u64, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(closed) = &self.closed {
            closed.notify_one();
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
