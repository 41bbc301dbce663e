//! The role: binds the sockets, starts the workers, follows the controller, stops in order.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use fairway_api::{client::Client, names::RouterName, routes::RouteBook};
use futures_util::future::try_join_all;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{self, AccessLog, Line},
    drain::Tables,
    sync::{KeptTable, Sync},
    worker::{self, Worker},
};

/// How long requests may go on after the router was told to stop: what service managers commonly
/// give a process before they kill it is 90 s, and an ordinary request is done by then.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// How long connections wait in the queue of a router that starts without any table: one from a
/// controller that lives is there in a moment, and without it every answer is an error.
const FIRST_TABLE_MAX: Duration = Duration::from_secs(5);

/// What a router needs to know.
#[derive(Debug)]
pub struct Config {
    /// The name it reports under.
    pub name: RouterName,
    /// Keeps the last route table, so that the router can start while the controller is away.
    /// Created if it is missing.
    pub data_dir: PathBuf,
    /// The controller, with this router's credential.
    pub client: Client,
    /// Where HTTP is served; port 0 takes a free one.
    pub listen_http: SocketAddr,
    /// How many threads serve; `None` for one per core.
    pub workers: Option<NonZeroUsize>,
    /// How long open requests may go on when the router stops, usually [`DRAIN_DEADLINE`].
    pub drain_deadline: Duration,
}

/// A router whose sockets are open. [`Router::run`] makes it serve.
#[derive(Debug)]
pub struct Router {
    sync: Sync,
    sockets: Vec<TcpListener>,
    local_addr: SocketAddr,
    access: Arc<AccessLog>,
    lines: mpsc::Receiver<Line>,
    drain_deadline: Duration,
}

impl Router {
    /// Opens the sockets and loads the table of the last run.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let data_dir = &config.data_dir;
        tokio::fs::create_dir_all(data_dir).await.with_context(|| {
            format!("create the router's data directory {}", data_dir.display())
        })?;
        let workers = config.workers.map_or_else(cores, NonZeroUsize::get);
        let sockets = worker::listen(config.listen_http, workers)?;
        let local_addr = sockets[0]
            .local_addr()
            .context("read the address of the router's socket")?;
        let tables = Arc::new(Tables::new());
        let kept = Arc::new(KeptTable::in_dir(data_dir));
        let mut book = RouteBook::default();
        if let Some(changes) = kept.load().and_then(|table| book.take(table).ok())
            && tables.install(&changes).is_ok()
        {
            let generation = changes.generation;
            tracing::info!(generation, "starting with the last route table");
        }
        let (access, lines) = AccessLog::new();
        Ok(Self {
            sync: Sync {
                name: config.name,
                client: config.client,
                tables,
                book: Mutex::new(book),
                kept,
            },
            sockets,
            local_addr,
            access: Arc::new(access),
            lines,
            drain_deadline: config.drain_deadline,
        })
    }

    /// Where HTTP is served.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown`, or until the controller wants no router here any more, then finishes
    /// what is open within the drain deadline.
    ///
    /// # Errors
    /// When the controller refused it, or a worker failed.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            sync,
            sockets,
            access,
            lines,
            drain_deadline,
            ..
        } = self;
        let stopping = shutdown.child_token();
        // A future that is dropped must not leave its threads behind.
        let _stop_threads = stopping.clone().drop_guard();
        let refused = stopping.clone();
        let tables = sync.tables.clone();
        let lines_of = access.clone();
        let workers = async move {
            let first = timeout(FIRST_TABLE_MAX, tables.first());
            if let Some(Err(_)) = stopping.run_until_cancelled(first).await {
                tracing::warn!("no table has come yet: requests are answered with errors");
            }
            let workers = sockets.into_iter().enumerate().map(|(number, socket)| {
                let worker = Worker::new(tables.clone(), lines_of.clone(), stopping.clone());
                in_thread(number, move || worker.run(socket, drain_deadline))
            });
            try_join_all(workers.collect::<anyhow::Result<Vec<_>>>()?).await
        };
        let log_ends = CancellationToken::new();
        let delivery = tokio::spawn(access::deliver(
            lines,
            access,
            sync.client.clone(),
            log_ends.clone(),
        ));
        // While requests drain the controller still has to hear of it.
        tokio::pin!(workers);
        let ended = tokio::select! {
            ended = &mut workers => ended.map(drop),
            refusal = sync.run() => {
                // What is open ends well all the same.
                refused.cancel();
                let ended = workers.await.map(drop);
                ended.and(Err(refusal).context("the controller wants no router here"))
            }
        };
        sync.keep_last();
        log_ends.cancel();
        delivery.await.context("hand in the last access lines")?;
        ended
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Runs a worker in a thread of its own; resolves when it ends, also if it panics.
fn in_thread(
    number: usize,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>>> {
    let (ended, end) = oneshot::channel();
    thread::Builder::new()
        .name(format!("router-{number}"))
        .spawn(move || drop(ended.send(run())))
        .context("start a thread of the router")?;
    Ok(async move { end.await.context("a worker of the router panicked")? })
}
