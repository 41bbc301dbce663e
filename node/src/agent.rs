//! Puts the agent's tasks together.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use fairway_api::client::{Client, ClientCertificate};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    board::{self, Board, BoardWriter, PODS_FILE},
    config::Config,
    disk::{self, Disk},
    engine::Engine,
    facts::Facts,
    images,
    ledger::Ledger,
    logs::{self, Places},
    membership::{Membership, keep_certificate},
    network::{self, Network},
    plans::{self, Orders},
    pod::handle::Host,
    pods, registry_tunnel,
    report::{self, Seen},
    sessions::{self, Answers},
    start::Starter,
    volumes,
};

/// The agent of one machine.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    ledger: Arc<Ledger>,
}

impl Agent {
    /// Opens the agent's directory. The engine need not run yet.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let ledger = Ledger::open(&config.data_dir)
            .await
            .context("start the node agent")?;
        Ok(Self {
            config,
            ledger: Arc::new(ledger),
        })
    }

    /// Runs until `shutdown`. Pods go on running after that; the next start takes them up as they
    /// are.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { config, ledger } = self;
        let (client, node, data_dir) = (config.client, config.node, config.data_dir);
        let engine = Arc::new(Engine::new(config.docker_socket, config.instance));
        let facts = Arc::new(Facts::gather(engine.clone(), &config.description));
        let board = BoardWriter::new(ledger.load::<Board>(PODS_FILE).unwrap_or_default());
        let places = Arc::new(Places::load(ledger.clone()));
        let network = Arc::new(Network::new(config.underlay, client.base()));
        let (queue, outlet) = logs::queue();
        let (orders_out, orders) = watch::channel(None);
        let (disks, keeper) = volumes::open(&data_dir, &engine, &orders, config.description);
        // Everything stops at once with this one, also when a part fails.
        let stop = shutdown.child_token();
        let _stop_on_return = stop.clone().drop_guard();

        let host = Arc::new(Host {
            starter: Starter::new(
                engine.clone(),
                client.clone(),
                orders.clone(),
                network.clone(),
                disks.volumes.clone(),
                stop.clone(),
            ),
            network: network.clone(),
            engine: engine.clone(),
            board: board.clone(),
            logs: queue,
            places: places.clone(),
            burials: TaskTracker::new(),
            shutdown: stop.clone(),
        });
        let removed = CancellationToken::new();
        let mut loops = Loops::until(&stop);
        if let Some(membership) = config.membership {
            let dir = data_dir.clone();
            loops.add(belong(client.clone(), orders.clone(), membership, dir));
        }
        let (books, gone) = (ledger.clone(), removed.clone());
        let pulling = plans::pull(client.clone(), node.clone(), books, orders_out, gone);
        loops.add(pulling);
        // Not one of the loops, which are dropped at the end: it has things to end itself.
        let sessions = Answers::new(&client, &node, &engine, board.subscribe(), &stop);
        let answering = tokio::spawn(sessions::answer(sessions));
        loops.add(keeper.run(host.clone(), client.clone(), node.clone()));
        let allowed = disks.allowed.clone();
        let disk = Arc::new(Disk::new(facts.clone(), data_dir, config.disk_reserve));
        let seen = Seen::of(&board, &network, &disk, disks);
        let reporting = report::report(client.clone(), node, facts, seen, removed.clone());
        loops.add(reporting);
        let also_seen = board.subscribe();
        let joining = network::keep(network, engine.clone(), orders.clone(), also_seen);
        loops.add(joining);
        let (watching, for_disk) = watch_disk(disk, engine, ledger.clone(), orders, &board);
        loops.add(watching);
        let supervising = pods::supervise(host.clone(), allowed, for_disk, removed.clone());
        loops.add(supervising);
        let remembering = tokio::spawn(board::remember(ledger, board.subscribe()));
        let sending = tokio::spawn(logs::send(client, outlet, places, stop.clone()));
        let leaving = leave(removed, host);
        drop(board);
        let result = until_the_end(loops.tasks, leaving, stop).await;
        answering.await.context("answering sessions failed")?;
        sending.await.context("the sender of logs failed")?;
        // The last holder of the board is gone with the loops.
        remembering.await.context("remembering the pods failed")?;
        result
    }
}

/// What runs until everything stops.
struct Loops {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Loops {
    fn until(stop: &CancellationToken) -> Self {
        Self {
            tasks: JoinSet::new(),
            stop: stop.clone(),
        }
    }

    fn add(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }
}

/// What keeps the machine's disk from filling up, and where its orders for pods come out.
fn watch_disk(
    disk: Arc<Disk>,
    engine: Arc<Engine>,
    ledger: Arc<Ledger>,
    orders: watch::Receiver<Option<Arc<Orders>>>,
    board: &BoardWriter,
) -> (
    impl Future<Output = ()> + use<>,
    mpsc::Receiver<disk::ForPods>,
) {
    let (for_pods, for_disk) = disk::orders();
    let board = board.subscribe();
    let watching = async move {
        tokio::select! {
            () = disk::keep(disk.clone(), board, orders.clone(), for_pods) => {}
            () = images::clean(engine, ledger, orders, disk) => {}
        }
    };
    (watching, for_disk)
}

/// What a machine that joined does for being part of the cluster.
async fn belong(
    client: Client,
    orders: watch::Receiver<Option<Arc<Orders>>>,
    (membership, certificate): (Membership, Arc<ClientCertificate>),
    data_dir: PathBuf,
) {
    tokio::join!(
        registry_tunnel::offer(client.clone(), orders),
        keep_certificate(client, certificate, membership, data_dir),
    );
}

/// Waits for the last of the loops, which end together: when `stop` is told to, when one of them
/// fails, or when `leaving` says that there is nothing left to do.
async fn until_the_end(
    mut loops: JoinSet<()>,
    leaving: impl Future<Output = ()>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut result = Ok(());
    tokio::pin!(leaving);
    loop {
        let ended = tokio::select! {
            ended = loops.join_next() => ended,
            () = &mut leaving, if !stop.is_cancelled() => {
                result = Err(anyhow::anyhow!(
                    "this machine was removed from the cluster, and its pods have been stopped. \
                     To bring it back, remove its data directory and let it join with a new token"
                ));
                stop.cancel();
                continue;
            }
        };
        let Some(ended) = ended else { return result };
        if !stop.is_cancelled() {
            let why = ended
                .err()
                .map_or_else(String::new, |error| format!(": {error}"));
            result = Err(anyhow::anyhow!(
                "a part of the node agent ended by itself{why}"
            ));
            stop.cancel();
        }
    }
}

/// Waits until the machine is no part of the cluster any more and its last pod has ended.
async fn leave(removed: CancellationToken, host: Arc<Host>) {
    removed.cancelled().await;
    let mut board = host.board.subscribe();
    // The board names no pod before the engine was looked at.
    let empty = board.wait_for(|board| board.looked && board.pods.is_empty());
    if empty.await.is_err() {
        std::future::pending().await
    }
    host.starter.sandboxes.clear().await;
}
