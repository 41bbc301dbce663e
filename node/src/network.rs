//! This machine's part of the pod network: bridge, tunnel, packet filter, name server.
//!
//! ```text
//! plan, board -> census --> rules (pure) --> nft
//!             |         `-> dns (answers)
//!             `-----------> links (pure) --> ip, bridge     engine: the bridge
//! ```
//!
//! Pods start only on a network whose packet filter stands. Where the agent may not manage the
//! machine's network, pods get one that keeps them all apart, and no names.

mod census;
mod dns;
mod links;
mod machine;
mod names;
mod rules;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use fairway_api::{
    ids::PodId,
    network::{DNS_OWN_APP, DNS_SUFFIX, NetworkPlan, NetworkStatus},
    pods::PodSpec,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use url::Url;

use self::{census::Census, machine::MachineError, names::Names};
use crate::{
    board::Board,
    engine::{Addresses, Engine, EngineError, PodNetwork},
    plans::Orders,
};

/// How often everything is compared with the machine although nothing changed, in seconds: others
/// flush packet filters and delete devices.
const RESYNC_SECS: u64 = 30;
/// How long to wait after a failure, in seconds.
const AGAIN_SECS: u64 = 1;

/// Why pods cannot join the network. The texts are shown to users as the reason of a pod.
#[derive(Debug, thiserror::Error)]
enum NetworkError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(
        "the pod network's {wanted} overlaps {route} on {device} of this machine; set \
         pod-network to a range that no machine has a route to"
    )]
    Overlap {
        wanted: String,
        route: String,
        device: String,
    },
    #[error(
        "the engine made the network elsewhere: this agent and its container engine must be in \
         the same network namespace"
    )]
    Elsewhere,
}

/// What a container is told to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) network: String,
    /// Name servers, the first one ours; empty leaves it to the engine.
    pub(crate) name_servers: Vec<IpAddr>,
    /// Domains after the pod's own app.
    pub(crate) search: Vec<String>,
}

impl Joined {
    /// A network without names.
    pub(crate) fn plain(instance: &str) -> Self {
        Self {
            network: names::plain_network(instance),
            name_servers: vec![],
            search: vec![],
        }
    }

    /// Where a pod looks for short names: the same for all, so that a network can be made before
    /// it is known whose it is.
    pub(crate) fn search(&self) -> Option<Vec<String>> {
        if self.name_servers.is_empty() {
            return None;
        }
        let own = format!("{DNS_OWN_APP}.{DNS_SUFFIX}");
        Some(
            std::iter::once(own)
                .chain(self.search.iter().cloned())
                .collect(),
        )
    }
}

/// The network as the rest of the agent sees it.
#[derive(Debug)]
pub(crate) struct Network {
    joined: watch::Sender<Option<Result<Joined, String>>>,
    status: watch::Sender<NetworkStatus>,
    census: watch::Sender<Arc<Census>>,
    /// Something may have changed on the machine.
    look: Notify,
}

impl Network {
    /// `underlay` is what an operator said, if anybody; `controller` is where the controller is.
    pub(crate) fn new(underlay: Option<IpAddr>, controller: &Url) -> Self {
        let controller = controller
            .host_str()
            .zip(controller.port_or_known_default());
        let underlay = underlay.or_else(|| machine::underlay(controller));
        let status = NetworkStatus {
            underlay,
            ..NetworkStatus::default()
        };
        Self {
            joined: watch::Sender::new(None),
            status: watch::Sender::new(status),
            census: watch::Sender::default(),
            look: Notify::new(),
        }
    }

    /// What containers join, once that is known.
    ///
    /// # Errors
    /// Says in words for the user why there is no network.
    pub(crate) async fn joined(&self) -> Result<Joined, String> {
        let mut joined = self.joined.subscribe();
        let known = joined.wait_for(Option::is_some).await;
        known
            .ok()
            .and_then(|known| known.clone())
            .unwrap_or_else(|| Err("the agent ends".into()))
    }

    /// The engine says that the network is not there (any more): look again before the next pod.
    pub(crate) fn lost(&self) {
        self.joined.send_replace(None);
        self.look.notify_one();
    }

    /// The engine may have changed behind our back.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    pub(crate) fn status(&self) -> watch::Receiver<NetworkStatus> {
        self.status.subscribe()
    }
}

/// Keeps the machine's network as the orders say, for ever.
pub(crate) async fn keep(
    network: Arc<Network>,
    engine: Arc<Engine>,
    mut orders: watch::Receiver<Option<Arc<Orders>>>,
    mut board: watch::Receiver<Board>,
) {
    let mut keeper = Keeper {
        inability: machine::inability().await,
        network,
        engine,
        specs: HashMap::new(),
        made: None,
        table: String::new(),
        names: None,
    };
    // The controller chooses the pod network by what the first machines say.
    keeper.tell_routes().await;
    let network = keeper.network.clone();
    let mut whole = true;
    loop {
        let now = orders.borrow_and_update().clone();
        let seen = board.borrow_and_update().clone();
        let mut pause = RESYNC_SECS;
        if let Some(orders) = now
            && let Err(error) = keeper.pass(&orders, &seen, whole).await
        {
            keeper.failed(&error);
            pause = AGAIN_SECS;
        }
        let again = Instant::now() + Duration::from_secs(pause);
        whole = tokio::select! {
            changed = orders.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            changed = board.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            () = network.look.notified() => true,
            () = sleep_until(again) => true,
        };
    }
}

/// What was done last.
struct Keeper {
    /// Why this agent leaves the machine's network alone.
    inability: Option<String>,
    network: Arc<Network>,
    engine: Arc<Engine>,
    /// Of pods that are on the board: those that stop are not in the plan any more.
    specs: HashMap<PodId, Arc<PodSpec>>,
    /// The part of the plan that bridge and tunnel were made from.
    made: Option<NetworkPlan>,
    table: String,
    names: Option<dns::Server>,
}

impl Keeper {
    /// One pass; a `whole` one trusts nothing that was done before.
    async fn pass(
        &mut self,
        orders: &Orders,
        board: &Board,
        whole: bool,
    ) -> Result<(), NetworkError> {
        let plan = match &orders.network {
            Some(plan) if self.inability.is_none() => plan,
            _ => return self.plain(orders.network.is_some(), whole).await,
        };
        self.remember_specs(orders, board);
        let census = Census::take(plan, &self.specs, board);
        let names = Names::new(self.engine.instance(), plan);
        let table = rules::table(&names, plan, &census);
        self.network.census.send_if_modified(|old| {
            let changed = **old != census;
            *old = Arc::new(census);
            changed
        });
        let bare = NetworkPlan {
            apps: vec![],
            ..plan.clone()
        };
        let same = self.made.as_ref() == Some(&bare) && self.network.joined.borrow().is_some();
        let gateway = plan.subnet.nth(1).unwrap_or(plan.subnet.first());
        if whole || !same {
            self.made = None;
            self.make(&names, plan).await?;
        }
        // A table that somebody flushed has to be put back.
        if self.table != table || (whole && !machine::has_table(&names).await) {
            self.table.clear();
            machine::set_table(&table).await?;
            self.table = table;
        }
        if whole || !same {
            machine::let_marked_pass().await?;
            self.made = Some(bare);
            self.announce(&names, gateway).await;
        }
        Ok(())
    }

    fn remember_specs(&mut self, orders: &Orders, board: &Board) {
        self.specs.retain(|id, _| board.pods.contains_key(id));
        for spec in &orders.pods {
            self.specs.insert(spec.id, spec.clone());
        }
    }

    /// Bridge and tunnel.
    async fn make(&self, names: &Names, plan: &NetworkPlan) -> Result<(), NetworkError> {
        let subnets = std::iter::once(plan.subnet).chain(plan.peers.iter().map(|peer| peer.subnet));
        let routes = machine::routes().await?;
        for wanted in subnets {
            if let Some((route, device)) = routes.iter().find(|(route, _)| route.overlaps(wanted)) {
                return Err(NetworkError::Overlap {
                    wanted: wanted.to_string(),
                    route: route.to_string(),
                    device: device.clone(),
                });
            }
        }
        let reached_at = self.network.status.borrow().underlay;
        let mut peers = plan.peers.iter().map(|peer| peer.underlay);
        let alike = |it: &IpAddr| reached_at.is_some_and(|at| at.is_ipv4() == it.is_ipv4());
        let underlay = machine::source(reached_at, peers.find(alike));
        let wire = machine::wire_mtu(underlay).await;
        let addresses = Addresses {
            subnet: plan.subnet,
            bridge: names.bridge.clone(),
            tunnel: names.tunnel.clone(),
            mtu: links::pod_mtu(wire, underlay),
        };
        let wanted = PodNetwork {
            name: names.network.clone(),
            addresses: Some(addresses),
        };
        self.engine.ensure_network(&wanted).await?;
        if !machine::has_device(&names.bridge) {
            return Err(NetworkError::Elsewhere);
        }
        machine::set_tunnel(names, &links::desired(plan, underlay, wire)).await?;
        Ok(())
    }

    /// Opens the name server and lets pods join.
    async fn announce(&mut self, names: &Names, gateway: Ipv4Addr) {
        let mut problem = None;
        if self
            .names
            .as_ref()
            .is_none_or(|server| !server.serves(gateway))
        {
            self.names = None;
            match dns::Server::start(gateway, self.network.census.subscribe()).await {
                Ok(server) => self.names = Some(server),
                Err(error) => {
                    let why = format!("{:#}", anyhow::Error::from(error));
                    tracing::error!("{why}");
                    problem = Some(why);
                }
            }
        }
        let host = dns::Resolvers::of_machine();
        let name_servers = self.names.as_ref().map(|_| {
            // If the agent is away, the rest of the world still has its names.
            let others = host.servers.iter().copied().filter(|it| !it.is_loopback());
            std::iter::once(IpAddr::V4(gateway)).chain(others).collect()
        });
        self.network.status.send_if_modified(|status| {
            std::mem::replace(&mut status.problem, problem.clone()) != problem
        });
        self.join(Joined {
            network: names.network.clone(),
            name_servers: name_servers.unwrap_or_default(),
            search: host.search,
        });
    }

    fn join(&self, joined: Joined) {
        self.network.joined.send_if_modified(|old| {
            let new = Some(Ok(joined));
            let changed = *old != new;
            *old = new;
            changed
        });
    }

    /// The network of pods that keeps them all apart.
    async fn plain(&mut self, planned: bool, whole: bool) -> Result<(), NetworkError> {
        let joined = Joined::plain(self.engine.instance());
        let known = *self.network.joined.borrow() == Some(Ok(joined.clone()));
        if known && !whole {
            return Ok(());
        }
        let problem = self
            .inability
            .clone()
            .filter(|_| planned)
            .map(|why| format!("pods are kept apart and find no names: {why}"));
        if let Some(problem) = &problem
            && !known
        {
            tracing::warn!("{problem}");
        }
        self.network.status.send_if_modified(|status| {
            std::mem::replace(&mut status.problem, problem.clone()) != problem
        });
        if !self.table.is_empty() {
            machine::remove_table(&names::table(self.engine.instance())).await?;
            self.table.clear();
        }
        (self.names, self.made) = (None, None);
        let network = PodNetwork {
            name: joined.network.clone(),
            addresses: None,
        };
        self.engine.ensure_network(&network).await?;
        self.join(joined);
        Ok(())
    }

    async fn tell_routes(&self) {
        if self.inability.is_some() {
            return;
        }
        match machine::routes().await {
            Ok(routes) => self.network.status.send_modify(|status| {
                status.routes = routes.into_iter().map(|(route, _)| route).collect();
                status.can_join = true;
            }),
            Err(error) => tracing::error!("cannot read this machine's routes: {error}"),
        }
    }

    fn failed(&mut self, error: &NetworkError) {
        let why = error.to_string();
        let news = self.network.status.send_if_modified(|status| {
            let news = status.problem.as_ref() != Some(&why);
            status.problem = Some(why.clone());
            news
        });
        if news {
            tracing::error!("the pod network is not as it should be: {why}");
        }
        self.network.joined.send_replace(Some(Err(why)));
    }
}
