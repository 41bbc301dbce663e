//! Agents and a router that do at once what they are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chrono::Utc;
use fairway_api::{
    client::Client,
    ids::PodId,
    machines::NodeFacts,
    names::{AppName, NodeName},
    network::NetworkStatus,
    nodes::{Capacity, HEARTBEAT_SECS, NodePlan, NodeStatus},
    placement::{NodeKind, ZONE_LABEL},
    pods::{PodPhase, PodStatus},
    routes::{RouteBook, RouterStatus},
    sizes::Resources,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::controller::{node, token};

const GIB: u64 = 1 << 30;

/// What all agents together have running.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pods: Mutex<BTreeMap<PodId, Pod>>,
    changed: watch::Sender<u64>,
}

/// A pod as its agent got it.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) app: AppName,
    pub(crate) node: NodeName,
    /// When its agent had reported that it runs.
    pub(crate) at: Instant,
}

impl Running {
    /// Waits until all running pods together are as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&BTreeMap<PodId, Pod>) -> bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if wanted(&self.pods.lock().unwrap()) {
                return;
            }
            changed.changed().await.expect("the sender is in self");
            // Thousands of reports come at once; looking at everything after each costs the
            // processor that is being measured.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<PodId, Pod> {
        self.pods.lock().unwrap().clone()
    }

    fn update(&self, started: Vec<(PodId, Pod)>, stopped: &[PodId]) {
        let mut pods = self.pods.lock().unwrap();
        pods.extend(started);
        for id in stopped {
            pods.remove(id);
        }
        drop(pods);
        self.changed.send_modify(|count| *count += 1);
    }
}

/// One agent, until it is stopped.
pub(crate) struct Agent {
    name: NodeName,
    client: Client,
    running: Arc<Running>,
    status: NodeStatus,
    number: usize,
}

impl Agent {
    pub(crate) fn new(number: usize, zone: &str, client: &Client, running: &Arc<Running>) -> Self {
        let name: NodeName = node(number).parse().expect("a valid name");
        let labels = [(ZONE_LABEL, zone)].map(|(key, value)| {
            (
                key.parse().expect("a valid label"),
                value.parse().expect("a valid value"),
            )
        });
        let facts = NodeFacts {
            kind: NodeKind::Vm,
            kernel: "6.1.0".into(),
            version: "0.1.0".into(),
            labels: labels.into(),
            host_paths: vec![],
            clock: Utc::now(),
        };
        let status = NodeStatus {
            facts: Some(facts),
            node: name.clone(),
            generation: 0,
            capacity: Capacity {
                resources: Resources {
                    memory_bytes: 64 * GIB,
                    cpu_millis: 16_000,
                    pids: 1 << 20,
                },
                disk_bytes: 500 * GIB,
                disk_free_bytes: 400 * GIB,
                architecture: "x86_64".into(),
                engine: "simulated".into(),
            },
            pods: vec![],
            network: NetworkStatus::default(),
            disk: Default::default(),
            usage: vec![],
            volumes: None,
        };
        Self {
            client: client.with_token(token("node", name.as_str())),
            name,
            running: Arc::clone(running),
            status,
            number,
        }
    }

    /// Runs until it is stopped, as a machine that loses its power.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                if let Err(error) = self.obey().await {
                    eprintln!("{}: {error}", self.name);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        })
        .await;
        let mine: Vec<PodId> = self.status.pods.iter().map(|pod| pod.id).collect();
        self.running.update(vec![], &mine);
    }

    async fn obey(&mut self) -> anyhow::Result<()> {
        self.report().await?;
        loop {
            let (client, name) = (self.client.clone(), self.name.clone());
            let after = self.status.generation;
            let poll = client.node_plan(&name, after);
            let mut poll = std::pin::pin!(poll);
            let plan = loop {
                let beat = Duration::from_secs(HEARTBEAT_SECS);
                match tokio::time::timeout(beat, &mut poll).await {
                    Ok(plan) => break plan?,
                    Err(_) => self.report().await?,
                }
            };
            if let Some(plan) = plan {
                self.carry_out(plan).await?;
            }
        }
    }

    async fn carry_out(&mut self, plan: NodePlan) -> anyhow::Result<()> {
        let wanted: BTreeSet<PodId> = plan.pods.iter().map(|pod| pod.id).collect();
        let had: BTreeSet<PodId> = self.status.pods.iter().map(|pod| pod.id).collect();
        let stopped: Vec<PodId> = had.difference(&wanted).copied().collect();
        self.status.generation = plan.generation;
        self.status.pods = plan
            .pods
            .iter()
            .enumerate()
            .map(|(index, pod)| self.started(index, pod.id))
            .collect();
        self.report().await?;
        let at = Instant::now();
        let started = plan
            .pods
            .into_iter()
            .filter(|pod| !had.contains(&pod.id))
            .map(|pod| {
                let started = Pod {
                    app: pod.app_name,
                    node: self.name.clone(),
                    at,
                };
                (pod.id, started)
            });
        self.running.update(started.collect(), &stopped);
        Ok(())
    }

    async fn report(&mut self) -> anyhow::Result<()> {
        if let Some(facts) = &mut self.status.facts {
            facts.clock = Utc::now();
        }
        self.client.report_node(&self.status).await?;
        Ok(())
    }

    fn started(&self, index: usize, id: PodId) -> PodStatus {
        let address = u32::from(Ipv4Addr::new(10, 0, 0, 0)) as usize + self.number * 256 + index;
        PodStatus {
            id,
            phase: PodPhase::Running { ready: true },
            address: u32::try_from(address)
                .ok()
                .map(|bits| Ipv4Addr::from_bits(bits).into()),
            restarts: 0,
            started_at: None,
            last_exit: None,
            check_failure: None,
            containers: vec![],
        }
    }
}

/// A router that takes each table and never has a request open.
pub(crate) async fn route(client: Client) -> anyhow::Result<()> {
    let name: fairway_api::names::RouterName = "r1".parse()?;
    let client = client.with_token(token("router", "r1"));
    let (mut book, mut changes) = (RouteBook::default(), true);
    loop {
        let status = RouterStatus {
            router: name.clone(),
            generation: book.generation(),
            draining: BTreeMap::new(),
            canaries: BTreeMap::new(),
            traffic: BTreeMap::new(),
        };
        client.report_router(&status).await?;
        let poll = client.route_table(&name, book.generation(), changes);
        let beat = Duration::from_secs(HEARTBEAT_SECS);
        if let Ok(update) = tokio::time::timeout(beat, poll).await
            && let Some(update) = update?
        {
            changes = match book.take(update) {
                Ok(_) => true,
                Err(why) if why.needs_everything() => false,
                Err(why) => return Err(why.into()),
            };
        }
    }
}
