//! Connections to pods, kept open between requests. One pool per worker.
//!
//! Connections are kept by pod and not by address: an address is given to another pod one day.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fairway_api::ids::PodId;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{failure::Failure, table::Endpoint, upload::Upload};

/// How long a pod may take to accept a connection: time for one lost SYN to be sent again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a kept connection is used again for a request that can be sent twice. A pod that closes
/// it meanwhile costs a retry.
const REUSE_RETRYABLE: Duration = Duration::from_secs(60);
/// The same for a request that cannot be sent twice: below what servers commonly keep an idle
/// connection open (gunicorn 2 s, Node and uvicorn 5 s), so that it does not meet the closing.
const REUSE_ONCE: Duration = Duration::from_secs(1);
/// Kept connections per pod and worker; more concurrency than that is rare and opens new ones.
const KEPT_PER_POD_MAX: usize = 256;
/// The most bytes of a pod's response head and of what is read ahead of a slow client.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// The kept connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Oldest first. A leaf: locked by the tasks of one thread, so never for long.
    kept: Mutex<HashMap<PodId, Vec<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    sender: SendRequest<Upload>,
    since: Instant,
}

/// A connection in use by one request.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) sender: SendRequest<Upload>,
    /// True if it served a request before, so that it may be dead without anyone knowing yet.
    pub(crate) reused: bool,
    /// How long the connecting took.
    pub(crate) connect: Duration,
}

/// How much a request can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It can be sent again if the connection turns out to be dead.
    Retryable,
    /// It can be sent only once.
    Once,
    /// It just met a dead connection: a new one, please.
    Never,
}

impl Pool {
    /// A kept connection to the pod, or a new one.
    pub(crate) async fn lease(&self, endpoint: &Endpoint, reuse: Reuse) -> Result<Lease, Failure> {
        let max_idle = match reuse {
            Reuse::Retryable => REUSE_RETRYABLE,
            Reuse::Once => REUSE_ONCE,
            Reuse::Never => return connect(endpoint.address).await,
        };
        while let Some(mut sender) = self.take(endpoint.pod, max_idle) {
            // The task of the connection may still have to note the end of the last response.
            if sender.ready().await.is_ok() {
                return Ok(Lease {
                    sender,
                    reused: true,
                    connect: Duration::ZERO,
                });
            }
        }
        connect(endpoint.address).await
    }

    fn take(&self, pod: PodId, max_idle: Duration) -> Option<SendRequest<Upload>> {
        let mut pools = self.kept();
        let kept = pools.get_mut(&pod)?;
        // The youngest is the least likely to be closed by the pod.
        let youngest = kept.pop_if(|kept| kept.since.elapsed() <= max_idle)?;
        Some(youngest.sender)
    }

    /// Takes a connection back after its response ended.
    pub(crate) fn keep(&self, endpoint: &Endpoint, sender: SendRequest<Upload>) {
        if sender.is_closed() || endpoint.load.has_left() {
            return;
        }
        let mut pools = self.kept();
        let kept = pools.entry(endpoint.pod).or_default();
        if kept.len() < KEPT_PER_POD_MAX {
            kept.push(Kept {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Closes what was idle for too long and everything to pods that are no longer named, so that a
    /// pod's server does not wait for us when it stops.
    pub(crate) fn sweep(&self, is_named: impl Fn(PodId) -> bool) {
        self.kept().retain(|pod, kept| {
            kept.retain(|kept| !kept.sender.is_closed() && kept.since.elapsed() <= REUSE_RETRYABLE);
            !kept.is_empty() && is_named(*pod)
        });
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<PodId, Vec<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(address: SocketAddr) -> Result<Lease, Failure> {
    let begun = Instant::now();
    let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "a pod refused the connection");
            return Err(Failure::Refused);
        }
        Err(_) => return Err(Failure::ConnectTimeout),
    };
    // Without it small pieces of streamed answers would wait for acknowledgements. A failure means
    // that the connection is already dead, which the request will find out.
    drop(stream.set_nodelay(true));
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Failure::Reset)?;
    // It ends when the sender is dropped or the pod closes; requests on it learn of errors.
    drop(tokio::spawn(async move {
        drop(connection.with_upgrades().await)
    }));
    Ok(Lease {
        sender,
        reused: false,
        connect: begun.elapsed(),
    })
}
