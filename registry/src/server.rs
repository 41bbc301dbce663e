//! The running registry: its listener, its connections, and the sweep of abandoned uploads.

use std::{
    convert::Infallible,
    io::ErrorKind,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::{
    config::Config,
    http::{self, Shared},
    names::Repository,
    store::{
        Store,
        collect::{Collect, Collected},
        uploads::Uploads,
    },
};

/// Most connections at once. Each costs a buffer and a file handle; clients wait in the listener's
/// queue beyond.
const CONNECTIONS_MAX: usize = 1024;

/// Longest time to wait for a request's head, in seconds; also ends idle connections.
const HEAD_WAIT_SECS: u64 = 90;

/// Largest read buffer of a connection, in bytes, and so the longest head of a request. It grows to
/// this only while a client sends fast: fewer, larger reads are what makes large layers cheap.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// How long a directory that another process serves is waited for: one that is being stopped lets
/// go of it within moments, and so does a program that is just being started and still holds a copy
/// of every open file.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(2);
/// Pause between two tries, in milliseconds.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Longest time that requests may take to end after shutdown began, in seconds. What is cut off can
/// be resumed.
const SHUTDOWN_GRACE_SECS: u64 = 10;

/// Time between two looks for abandoned uploads, in seconds. They take room, but harm nothing.
const SWEEP_INTERVAL_SECS: u64 = 600;

/// Wait after the listener failed, in milliseconds: out of file handles, as a rule.
const ACCEPT_RETRY_MILLIS: u64 = 100;

/// A registry that is bound to its address, and serves from [`Registry::run`] on.
#[derive(Debug)]
pub struct Registry {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: Config,
    parts: Parts,
}

/// Collects garbage while the registry runs.
#[derive(Debug, Clone)]
pub struct Collector {
    store: Arc<Store>,
}

/// What the router and the loops share.
#[derive(Debug, Clone)]
struct Parts {
    store: Arc<Store>,
    uploads: Arc<Uploads>,
    shared: Arc<Shared>,
}

impl Parts {
    /// Like [`Self::open`], but waits a moment for whoever is just letting go of the directory.
    async fn open_patiently(config: &Config) -> anyhow::Result<Self> {
        let deadline = Instant::now() + BUSY_WAIT_MAX;
        loop {
            match Self::open(config) {
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    sleep(BUSY_PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    fn open(config: &Config) -> anyhow::Result<Self> {
        let open = || {
            let store = Arc::new(Store::open(&config.data_dir)?);
            let uploads = Arc::new(Uploads::open(Arc::clone(&store))?);
            std::io::Result::Ok((store, uploads))
        };
        let (store, uploads) = open()
            .with_context(|| format!("open the registry in {}", config.data_dir.display()))?;
        let shared = Shared::new(Arc::clone(&store), Arc::clone(&uploads), config);
        Ok(Self {
            store,
            uploads,
            shared: Arc::new(shared),
        })
    }
}

/// True when somebody else serves the directory.
fn is_busy(error: &anyhow::Error) -> bool {
    let cause = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|it| it.kind() == ErrorKind::ResourceBusy)
    };
    error.chain().any(cause)
}

/// A registry without a listener, for tests and for other servers. Nobody sweeps its uploads.
///
/// # Errors
///
/// If the data directory cannot be opened, or another process serves it.
pub fn router(config: &Config) -> anyhow::Result<Router> {
    Ok(http::router(Parts::open(config)?.shared))
}

impl Registry {
    /// Opens the data directory and the listener.
    ///
    /// # Errors
    ///
    /// If the directory cannot be opened or is served by another process, or the address is taken.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let parts = Parts::open_patiently(&config).await?;
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("listen on {} for the registry", config.listen))?;
        let local_addr = listener
            .local_addr()
            .context("read the registry's address")?;
        Ok(Self {
            listener,
            local_addr,
            config,
            parts,
        })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its answers without the listener.
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.parts.shared))
    }

    /// A handle to collect garbage with, also while the registry runs.
    pub fn collector(&self) -> Collector {
        Collector {
            store: Arc::clone(&self.parts.store),
        }
    }

    /// Serves until `shutdown`, then lets requests end for a short while.
    ///
    /// # Errors
    ///
    /// None at present: what fails concerns one connection or one sweep, and is logged.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        info!(address = %self.local_addr, "the registry listens");
        let sweep = sweep(Arc::clone(&self.parts.uploads), self.config.upload_idle_max);
        let serve = serve(
            &self.listener,
            http::router(Arc::clone(&self.parts.shared)),
            &shutdown,
        );
        tokio::select! {
            never = sweep => match never {},
            () = serve => Ok(()),
        }
    }
}

impl Collector {
    /// The repositories that there are.
    ///
    /// # Errors
    ///
    /// If a directory cannot be read.
    pub async fn repositories(&self) -> anyhow::Result<Vec<Repository>> {
        let store = Arc::clone(&self.store);
        let listed = tokio::task::spawn_blocking(move || store.repositories()).await;
        listed
            .map_err(std::io::Error::other)
            .flatten()
            .context("list the repositories")
    }

    /// Removes what no manifest refers to, as [`Collect`] says. Safe while clients push.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or removed; what was removed by then stays removed, and the next
    /// call goes on.
    pub async fn collect(&self, what: Collect) -> anyhow::Result<Collected> {
        let store = Arc::clone(&self.store);
        let pass = move || store.collect(&what, SystemTime::now());
        let collected = tokio::task::spawn_blocking(pass)
            .await
            .context("collect garbage")??;
        info!(
            manifests = collected.manifests.len(),
            blobs = collected.blobs.len(),
            contents = collected.contents.len(),
            bytes = collected.bytes,
            "collected garbage in the registry"
        );
        Ok(collected)
    }
}

/// Accepts connections until shutdown, then waits for their requests.
async fn serve(listener: &TcpListener, router: Router, shutdown: &CancellationToken) {
    // Also when this future is dropped: no connection outlives it.
    let cut_off = CancellationToken::new();
    let _cut_off = cut_off.clone().drop_guard();
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accept = async {
            // The semaphore is never closed; were it, accepting would end here, not panic.
            let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            Some((Ok((stream, peer)), permit)) => {
                let connection = connection(stream, peer, router.clone(), graceful.watcher());
                let cut_off = cut_off.clone();
                drop(tokio::spawn(async move {
                    cut_off.run_until_cancelled(connection).await;
                    drop(permit);
                }));
            }
            Some((Err(error), _)) => {
                error!("could not accept a connection to the registry: {error}");
                sleep(Duration::from_millis(ACCEPT_RETRY_MILLIS)).await;
            }
            None => break,
        }
    }
    if timeout(
        Duration::from_secs(SHUTDOWN_GRACE_SECS),
        graceful.shutdown(),
    )
    .await
    .is_err()
    {
        info!("some requests to the registry took too long to end and were cut off");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, watcher: Watcher) {
    // Answers are small and clients wait for them; failing to say so costs time only.
    stream.set_nodelay(true).ok();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_WAIT_SECS))
        .max_buf_size(READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        debug!(%peer, "a connection to the registry broke: {error}");
    }
}

/// Removes abandoned uploads, again and again.
async fn sweep(uploads: Arc<Uploads>, idle_max: Duration) -> Infallible {
    let mut ticks = interval(Duration::from_secs(SWEEP_INTERVAL_SECS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let uploads = Arc::clone(&uploads);
        let pass = move || uploads.sweep(SystemTime::now(), idle_max);
        match tokio::task::spawn_blocking(pass)
            .await
            .map_err(std::io::Error::other)
            .flatten()
        {
            Ok(0) => {}
            Ok(swept) => info!(swept, "removed abandoned uploads"),
            Err(error) => error!("could not remove abandoned uploads: {error}"),
        }
    }
}
