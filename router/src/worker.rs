//! A worker: one thread with a runtime, a listening socket and a pool of its own. Workers share
//! nothing on the path of a request but the table and the counts in it.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::AccessLog,
    drain::Tables,
    headers::Peer,
    pool::Pool,
    serve::{self, Lifetime},
};

/// Client connections per worker. Beyond it new ones wait in the kernel, so that memory and file
/// descriptors have a bound.
const CONNECTIONS_MAX: usize = 16_384;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4_096;
/// How often kept connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long to wait after an accept failed, which means that the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the tasks of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) tables: Arc<Tables>,
    pub(crate) access: Arc<AccessLog>,
    pub(crate) pool: Pool,
    /// Cancelled when no new work is wanted.
    pub(crate) stopping: CancellationToken,
    tasks: TaskTracker,
    connections: Arc<Semaphore>,
}

/// Opens `count` sockets that share one address; the kernel spreads connections over them.
pub(crate) fn listen(address: SocketAddr, count: usize) -> anyhow::Result<Vec<StdListener>> {
    if address.port() != 0 {
        // Sockets that share an address would also share it, unnoticed, with another router of the
        // same user. One that does not share finds out.
        drop(socket(address, false).with_context(|| {
            format!(
                "cannot listen on {address}: another program may use this port; stop it or choose \
                 another port for the router"
            )
        })?);
    }
    let first = socket(address, true).with_context(|| format!("cannot listen on {address}"))?;
    let address = first
        .local_addr()
        .context("read the address of the router's socket")?;
    let mut sockets = vec![first];
    while sockets.len() < count {
        sockets.push(socket(address, true).with_context(|| format!("cannot listen on {address}"))?);
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    // Accepted connections inherit it; it finds clients that vanished behind a silent tunnel.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

impl Worker {
    pub(crate) fn new(
        tables: Arc<Tables>,
        access: Arc<AccessLog>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            tables,
            access,
            pool: Pool::default(),
            stopping,
            tasks: TaskTracker::new(),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }

    /// Runs on the calling thread until told to stop and every request has ended or `drain` passed.
    pub(crate) fn run(self, socket: StdListener, drain: Duration) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start a worker of the router")?;
        let worker = Arc::new(self);
        runtime.block_on(async {
            let listener = TcpListener::from_std(socket).context("watch the router's socket")?;
            let sweeping = tokio::spawn(worker.clone().keep_swept());
            worker.clone().accept(listener).await;
            worker.tasks.close();
            if timeout(drain, worker.tasks.wait()).await.is_err() {
                let open = worker.tasks.len();
                tracing::warn!(open, "stopping although connections are still open");
                worker.access.stop();
            }
            sweeping.abort();
            Ok(())
        })
        // Dropping the runtime closes what is still open.
    }

    /// Runs a task that the worker waits for when it stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn(task));
    }

    /// The place of a tunnel among the connections: the one it came from has given up its own, or
    /// is about to.
    pub(crate) fn tunnel_place(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let port = listener.local_addr().map_or(0, |address| address.port());
        loop {
            let next = async {
                let place = self.connections.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let next = tokio::select! {
                next = next => next,
                () = self.stopping.cancelled() => break,
            };
            match next {
                (Ok(place), Ok((stream, from))) => {
                    let peer = Peer::new(from.ip(), port, "http");
                    self.take(stream, peer, place, Lifetime::KeepAlive);
                }
                (_, Err(error)) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
                // The semaphore is never closed.
                (Err(_), _) => break,
            }
        }
        // Whoever stands in the kernel's queue has been told that the connection is made; closing
        // the socket would reset them. They get one request each.
        while let Some(Ok((stream, from))) = listener.accept().now_or_never()
            && let Ok(place) = self.connections.clone().try_acquire_owned()
        {
            self.take(
                stream,
                Peer::new(from.ip(), port, "http"),
                place,
                Lifetime::OneRequest,
            );
        }
    }

    fn take(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: Peer,
        place: OwnedSemaphorePermit,
        lifetime: Lifetime,
    ) {
        let worker = self.clone();
        self.spawn(async move {
            serve::plain(worker, stream, peer, lifetime).await;
            drop(place);
        });
    }

    async fn keep_swept(self: Arc<Self>) {
        let mut swaps = self.tables.swaps();
        let mut timer = interval(SWEEP_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Ok(()) = swaps.changed() => {}
                _ = timer.tick() => {}
            }
            self.pool.sweep(|pod| self.tables.names(pod));
        }
    }
}
