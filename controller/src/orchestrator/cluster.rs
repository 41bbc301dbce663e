//! Our own machines: agents fetch their `NodePlan` by long poll and post their [`NodeStatus`].

mod plan;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    images::RegistryAccess,
    metrics::PodUsage,
    names::NodeName,
    nodes::{Capacity, HEARTBEAT_SECS, NodeStatus},
};
use fairway_scheduler::failure::MassFailure;

use self::plan::Content;
pub use self::plan::PlanOrder;
use super::{Intent, NodeSeen, Observation, Orchestrator, same_facts};
use crate::{
    observed::{Aged, Reports},
    orders::{Generations, Order as _, Published},
    store::{Store, StoreError},
};

/// How much longer a machine may be silent after a start of the controller: agents that could not
/// reach it wait a while between two tries.
const LOST_SLACK: Duration = Duration::from_secs(20);
/// How long a machine may be silent before it gets no new pods: a heartbeat, and some for its way.
/// Placing a pod anew costs little, and a pod on a machine that has died costs its time to start.
const SUSPECTED_AFTER: Duration = Duration::from_secs(HEARTBEAT_SECS + 2);

/// The machines of this cluster.
#[derive(Debug)]
pub struct Cluster {
    store: Store,
    registry: RegistryAccess,
    lost_after: Duration,
    reports: Reports<NodeName, Arc<NodeStatus>>,
    /// How far each machine's clock was ahead of ours when it last reported.
    clocks: Mutex<BTreeMap<NodeName, TimeDelta>>,
    /// What the loop decided last of machines that were lost together.
    held: Mutex<MassFailure>,
    plans: Mutex<BTreeMap<NodeName, Arc<Published<PlanOrder>>>>,
    /// One row of numbers for all machines: each sees it grow. Only `apply` takes from it.
    generations: tokio::sync::Mutex<Generations>,
}

/// What was heard of the machines.
#[derive(Debug)]
pub struct Heard {
    machines: BTreeMap<NodeName, Aged<Arc<NodeStatus>>>,
    clocks_ahead: BTreeMap<NodeName, TimeDelta>,
    held: MassFailure,
    silence_counts: bool,
    lost_after: Duration,
}

impl Heard {
    /// A machine's last report and its age.
    pub fn of(&self, node: &NodeName) -> Option<&Aged<Arc<NodeStatus>>> {
        self.machines.get(node)
    }

    /// See [`Cluster::clock_ahead`].
    pub fn clock_ahead(&self, node: &NodeName) -> Option<TimeDelta> {
        self.clocks_ahead.get(node).copied()
    }

    /// Until when the pods of a lost machine stay bound to it, if they do.
    pub fn held_until(&self, node: &NodeName) -> Option<DateTime<Utc>> {
        let held = self.held.machines.contains(node);
        self.held.until.filter(|_| held)
    }

    /// True for a machine that was silent for too long.
    pub fn is_lost(&self, node: &NodeName) -> bool {
        match self.of(node) {
            Some(heard) => heard.age > self.lost_after,
            None => self.silence_counts,
        }
    }

    /// True for a machine that was silent for long enough to be doubted.
    pub fn is_suspected(&self, node: &NodeName) -> bool {
        self.of(node)
            .is_some_and(|heard| heard.age > SUSPECTED_AFTER)
    }
}

impl Cluster {
    /// A cluster whose machines pull from `registry`.
    /// One counts as lost when it has been silent for `lost_after`.
    pub async fn open(
        store: &Store,
        registry: RegistryAccess,
        lost_after: Duration,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            store: store.clone(),
            registry,
            lost_after,
            reports: Reports::default(),
            clocks: Mutex::default(),
            plans: Mutex::default(),
            held: Mutex::default(),
            generations: tokio::sync::Mutex::new(Generations::open(store, "nodes").await?),
        })
    }

    /// The orders for one machine. A machine nobody has heard of has none yet.
    pub fn plan(&self, node: &NodeName) -> Arc<Published<PlanOrder>> {
        let mut plans = self
            .plans
            .lock()
            .expect("no code panics while it holds this lock");
        Arc::clone(plans.entry(node.clone()).or_default())
    }

    /// True for a machine that must be told its orders although they are the same: it has none yet,
    /// has lost them, or refuses those it was offered as too old.
    pub fn needs_orders(&self, node: &NodeName) -> bool {
        let published = self.plan(node);
        let needs = |newest: Arc<PlanOrder>| newest.is_wanted() || published.is_behind();
        published.newest().is_none_or(needs)
    }

    /// Notes what a machine saw. True when it is news.
    pub fn report(&self, status: NodeStatus, now: DateTime<Utc>) -> bool {
        let mut clocks = self.clocks();
        match &status.facts {
            Some(facts) => clocks.insert(status.node.clone(), facts.clock - now),
            None => clocks.remove(&status.node),
        };
        drop(clocks);
        let differs = |before: &Arc<_>, status: &Arc<_>| says_more(before, status);
        self.reports
            .note(status.node.clone(), Arc::new(status), differs)
    }

    /// Drops what a machine says of the use of pods that are not in its orders: it speaks for its own
    /// alone.
    pub fn keep_own(&self, node: &NodeName, usage: &mut Vec<PodUsage>) {
        let newest = self.plan(node).newest();
        usage.retain(|it| newest.as_ref().is_some_and(|plan| plan.has_pod(it.pod)));
    }

    /// How far a machine's clock was ahead of ours when it last reported.
    pub fn clock_ahead(&self, node: &NodeName) -> Option<TimeDelta> {
        self.clocks().get(node).copied()
    }

    /// Why a machine takes no new pods for its disk, as it said when it last reported.
    pub fn disk_pressure(&self, node: &NodeName) -> Option<String> {
        self.reports.get(node)?.disk.pressure.clone()
    }

    /// What each machine reported last, for people.
    pub fn heard(&self) -> Heard {
        Heard {
            machines: self.reports.all(),
            clocks_ahead: self.clocks().clone(),
            held: self.held().clone(),
            silence_counts: self.silence_counts(),
            lost_after: self.lost_after,
        }
    }

    /// Notes which lost machines keep their pods for now.
    pub fn hold(&self, failure: MassFailure) {
        *self.held() = failure;
    }

    /// True once every machine that lives has had time to report.
    fn silence_counts(&self) -> bool {
        self.reports.age() > self.lost_after + LOST_SLACK
    }

    /// Forgets what a machine reported and what it was told; it is no part of the cluster any more.
    pub fn forget(&self, node: &NodeName) {
        self.reports.forget(node);
        self.clocks().remove(node);
        self.plans
            .lock()
            .expect("no code panics while it holds this lock")
            .remove(node);
    }

    fn held(&self) -> MutexGuard<'_, MassFailure> {
        self.held
            .lock()
            .expect("no code panics while it holds this lock")
    }

    fn clocks(&self) -> MutexGuard<'_, BTreeMap<NodeName, TimeDelta>> {
        self.clocks
            .lock()
            .expect("no code panics while it holds this lock")
    }

    fn publish(
        &self,
        published: &Published<PlanOrder>,
        node: &NodeName,
        generation: u64,
        content: &Content,
    ) -> anyhow::Result<()> {
        let order = PlanOrder::new(node, generation, &self.registry, content)
            .context("write a node's plan as JSON")?;
        published.publish(Arc::new(order));
        Ok(())
    }

    fn is_up_to_date(&self, status: &NodeStatus) -> bool {
        self.plan(&status.node)
            .newest()
            .is_some_and(|plan| plan.generation() == status.generation)
    }
}

impl Orchestrator for Cluster {
    async fn apply(&self, intent: Intent) -> anyhow::Result<()> {
        let mut changed = Vec::new();
        // A pod that was never in the orders does not leave them either: what its machine reports
        // says already that it is not there.
        for node in &intent.same {
            self.reports.renew(node);
        }
        for (node, intent) in intent.nodes {
            let content = Content::of(&intent).context("write a node's plan as JSON")?;
            let published = self.plan(&node);
            match published.newest().filter(|newest| newest.says(&content)) {
                Some(same) if !published.is_behind() => {
                    if same.is_wanted() {
                        self.publish(&published, &node, same.generation(), &content)?;
                    }
                    self.reports.renew(&node);
                }
                _ => changed.push((published, node, content)),
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let mut generations = self.generations.lock().await;
        let floor = changed
            .iter()
            .map(|(published, _, _)| published.seen())
            .max()
            .unwrap_or(0);
        let count = changed.len() as u64;
        generations
            .reserve(&self.store, count, floor)
            .await
            .context("reserve generations of node plans")?;
        for (published, node, content) in changed {
            self.publish(&published, &node, generations.take(), &content)?;
        }
        Ok(())
    }

    fn observe(&self, after: u64) -> Observation {
        let (number, changed) = self.reports.changed(after);
        let seen = |status: Arc<NodeStatus>| NodeSeen {
            up_to_date: self.is_up_to_date(&status),
            status,
        };
        Observation {
            number,
            changed: changed
                .into_iter()
                .map(|(name, status)| (name, seen(status)))
                .collect(),
            late: self.reports.silent_for(SUSPECTED_AFTER),
            silent: self.reports.silent_for(self.lost_after),
            silence_counts: self.silence_counts(),
        }
    }
}

/// True when a report says something that the one before did not. Free disk space moves all the
/// time and decides nothing.
fn says_more(before: &NodeStatus, status: &NodeStatus) -> bool {
    let disk_free_bytes = status.capacity.disk_free_bytes;
    let capacity = Capacity {
        disk_free_bytes,
        ..before.capacity.clone()
    };
    before.generation != status.generation
        || before.pods != status.pods
        || capacity != status.capacity
        || before.disk != status.disk
        || before.network.underlay != status.network.underlay
        || !same_volumes(before, status)
        || before.network.can_join != status.network.can_join
        || !same_facts(before.facts.as_ref(), status.facts.as_ref())
}

/// True when the same volumes are there; what they use moves all the time.
fn same_volumes(before: &NodeStatus, status: &NodeStatus) -> bool {
    let ids = |status: &NodeStatus| -> Option<Vec<_>> {
        let volumes = status.volumes.as_ref()?.iter();
        Some(volumes.map(|volume| volume.volume).collect())
    };
    ids(before) == ids(status)
}
