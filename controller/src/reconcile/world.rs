//! What the loop remembers between two passes: every app, machine and router, as the database and
//! their reports last said.
//!
//! It is a cache that can be thrown away at any time: a pass that fails does so, and the next one
//! reads everything again.

mod decided;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, DeploymentId, PodId, ReleaseId},
    names::NodeName,
    pods::PodStatus,
};
use fairway_scheduler::{
    Planner,
    snapshot::{App, Facts, Node, NodeState, PodIntent, Router, Routers, Snapshot},
};

use super::{
    load::{self, Known},
    networks::{self, Networks, NewSubnets},
    specs::Specs,
    volumes::Volumes,
};
use crate::{
    network::Reach,
    observed::before,
    orchestrator::{NodeSeen, Observation, Orchestrator, same_facts},
    routing::Routing,
    state::AppState,
    store::{
        Db, StoreError,
        deployments::DeploymentRow,
        nodes::{self, NodeIntent, NodeRow},
        releases::ReleaseRow,
    },
    wake::Changed,
};

/// The loop's memory.
#[derive(Debug)]
pub(super) struct World {
    pub(super) planner: Planner,
    pub(super) apps: BTreeMap<AppId, Known>,
    pub(super) nodes: BTreeMap<NodeName, NodeRow>,
    pub(super) seen: BTreeMap<NodeName, NodeSeen>,
    pub(super) routing: Routing,
    pub(super) networks: Networks,
    pub(super) volumes: Volumes,
    /// The newest observation that is in here.
    observed: u64,
    late: BTreeSet<NodeName>,
    silent: BTreeSet<NodeName>,
    silence_counts: bool,
    /// Where to go on reading apps again although nobody said that they changed.
    read_again_after: Option<AppId>,
    /// Pods of which was told that no machine takes them.
    unplaced: BTreeSet<PodId>,
    pub(super) news: News,
}

/// What a pass has learned and not written or told yet.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Statuses that are not what the database has, in the order of pods; with the one before.
    pub(super) pods: BTreeMap<PodId, (AppId, Option<PodStatus>)>,
    /// Machines whose capacity the database does not have.
    pub(super) nodes: BTreeSet<NodeName>,
    /// Machines that may have to run something else than before.
    pub(super) orders: BTreeSet<NodeName>,
    /// Subnets that the database does not have.
    pub(super) subnets: NewSubnets,
    /// Pods that no machine takes since now.
    pub(super) unplaced: Vec<(AppId, PodId)>,
    /// Machines that were lost (true) or came back.
    pub(super) machines: BTreeMap<NodeName, bool>,
}

impl World {
    /// Reads everything.
    pub(super) async fn load(state: &AppState, specs: &mut Specs) -> Result<Self, StoreError> {
        let mut tx = state.store.read().await?;
        let mut world = Self {
            planner: Planner::new(Snapshot {
                apps: BTreeMap::new(),
                nodes: BTreeMap::new(),
                routers: Routers {
                    observing_since: DateTime::UNIX_EPOCH,
                    seen: BTreeMap::new(),
                },
                routes_generation: 0,
                policy: state.config.placement.clone(),
            }),
            apps: BTreeMap::new(),
            nodes: BTreeMap::new(),
            seen: BTreeMap::new(),
            routing: Routing::default(),
            networks: Networks::default(),
            volumes: Volumes::default(),
            observed: 0,
            late: BTreeSet::new(),
            silent: BTreeSet::new(),
            silence_counts: false,
            read_again_after: None,
            unplaced: BTreeSet::new(),
            news: News::default(),
        };
        for (app, known) in load::all(&mut tx, &state.secrets, specs).await? {
            world.set_app(app, known);
        }
        world.load_nodes(&mut tx).await?;
        world.load_removed_volumes(&mut tx).await?;
        world.load_subnets(&mut tx).await?;
        // Machines that were removed, and their pods not yet replaced, when the controller ended.
        let apps = world.planner.snapshot().apps.values();
        let pods = apps.flat_map(|app| app.pods.values());
        let unplaced = pods.clone().filter(|pod| pod.unplaced.is_some());
        world.unplaced = unplaced.map(|pod| pod.id).collect();
        let bound = pods.filter_map(|pod| pod.node.clone());
        let removed: BTreeSet<_> = bound.filter(|it| !world.nodes.contains_key(it)).collect();
        for name in removed {
            world.lose_pods(&name);
        }
        Ok(world)
    }

    /// Reads what has changed.
    pub(super) async fn read(
        &mut self,
        state: &AppState,
        specs: &mut Specs,
        changed: &Changed,
    ) -> Result<(), StoreError> {
        self.news.orders.extend(changed.orders.iter().cloned());
        if changed.apps.is_empty() && !changed.nodes && !changed.volumes {
            return Ok(());
        }
        let mut tx = state.store.read().await?;
        self.load_removed_volumes(&mut tx).await?;
        for id in &changed.apps {
            match load::one(&mut tx, &state.secrets, specs, *id).await? {
                Some((app, known)) => self.set_app(app, known),
                None => self.remove_app(*id, specs),
            }
        }
        if changed.nodes {
            self.load_nodes(&mut tx).await?;
            self.load_subnets(&mut tx).await?;
        }
        Ok(())
    }

    /// The next `count` apps to read again, in a round through all of them.
    pub(super) fn next_to_read_again(&mut self, count: usize) -> BTreeSet<AppId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = self.read_again_after.map_or(Unbounded, Excluded);
        let next: BTreeSet<AppId> = self
            .apps
            .range((from, Unbounded))
            .take(count)
            .map(|(id, _)| *id)
            .collect();
        self.read_again_after = next.last().copied();
        next
    }

    fn set_app(&mut self, mut app: App, known: Known) {
        self.note_orders_of(app.id);
        self.note_network_of(app.id);
        if let Some(remembered) = self.planner.snapshot().apps.get(&app.id) {
            for (id, pod) in &mut app.pods {
                // What was observed may be newer here.
                if let Some(remembered) = remembered.pods.get(id) {
                    pod.status.clone_from(&remembered.status);
                    pod.gone = remembered.gone;
                }
            }
        }
        let id = app.id;
        let before = self.apps.get(&id).map_or(&[][..], |it| &it.edge.hostnames);
        self.routing.claim(id, before, &known.edge.hostnames);
        let nothing = Reach::default();
        let admitted = self.apps.get(&id).map_or(&nothing, |it| &it.reach);
        self.networks.admit(id, admitted, &known.reach);
        self.planner.set_app(app);
        self.note_work(id, &known);
        self.apps.insert(id, known);
        self.note_orders_of(id);
        self.note_network_of(id);
    }

    fn remove_app(&mut self, id: AppId, specs: &mut Specs) {
        self.note_orders_of(id);
        self.note_network_of(id);
        if let Some(app) = self.planner.remove_app(id) {
            self.unplaced.retain(|pod| !app.pods.contains_key(pod));
        }
        specs.forget(id);
        self.forget_work(id);
        if let Some(known) = self.apps.remove(&id) {
            self.routing.remove(id, &known.edge.hostnames);
            self.networks.admit(id, &known.reach, &Reach::default());
        }
    }

    /// Notes that the machines of an app's pods may get other orders.
    fn note_orders_of(&mut self, app: AppId) {
        let Some(app) = self.planner.snapshot().apps.get(&app) else {
            return;
        };
        let machines = app.pods.values().filter_map(|pod| pod.node.clone());
        self.news.orders.extend(machines);
    }

    async fn load_nodes(&mut self, db: &mut Db) -> Result<(), StoreError> {
        let rows = nodes::all(db).await?;
        let rows: BTreeMap<_, _> = rows.into_iter().map(|it| (it.name.clone(), it)).collect();
        let before = std::mem::replace(&mut self.nodes, rows);
        for (name, row) in &before {
            // Another machine may have the name by now.
            if self.nodes.get(name).is_none_or(|it| it.id != row.id) {
                self.seen.remove(name);
                self.lose_pods(name);
            }
        }
        let new: BTreeSet<_> = (self.nodes.keys())
            .filter(|name| !before.contains_key(*name))
            .cloned()
            .collect();
        let names: BTreeSet<_> = before
            .into_keys()
            .chain(self.nodes.keys().cloned())
            .collect();
        for name in names {
            // It may have reported before its row was read here, and says the same since.
            if let (true, Some(seen)) = (new.contains(&name), self.seen.get(&name).cloned()) {
                self.observe_node(&name, &seen);
            }
            self.settle_node(&name);
        }
        Ok(())
    }

    /// Takes in what agents reported since the last time.
    pub(super) fn observe(&mut self, state: &AppState) {
        let Observation {
            number,
            changed,
            late,
            silent,
            silence_counts,
        } = state.cluster.observe(self.observed);
        self.observed = number;
        let mut touched: BTreeSet<NodeName> = changed.keys().cloned().collect();
        touched.extend(self.late.symmetric_difference(&late).cloned());
        touched.extend(self.silent.symmetric_difference(&silent).cloned());
        if silence_counts != self.silence_counts {
            touched.extend(self.nodes.keys().cloned());
        }
        self.late = late;
        self.silent = silent;
        self.silence_counts = silence_counts;
        for (name, seen) in changed {
            self.observe_node(&name, &seen);
            let choice = state.config.network_choice();
            self.hear_network(&name, &seen.status.network, &choice);
            self.seen.insert(name, seen);
        }
        for name in touched {
            self.settle_node(&name);
        }
    }

    /// Takes in what an agent says of its pods.
    fn observe_node(&mut self, name: &NodeName, seen: &NodeSeen) {
        if !self.seen.contains_key(name) {
            // It waits for its first orders, were they to run nothing.
            self.news.orders.insert(name.clone());
        }
        if let Some(row) = self.nodes.get_mut(name) {
            let stored = row.capacity.as_ref();
            let facts = seen.status.facts.as_ref();
            if stored.is_none_or(|stored| !seen.has_same_capacity(stored))
                || !same_facts(row.facts.as_ref(), facts)
            {
                row.capacity = Some(seen.capacity().clone());
                row.facts = facts.or(row.facts.as_ref()).cloned();
                self.news.nodes.insert(name.clone());
            }
        }
        let mut reported: BTreeMap<PodId, &PodStatus> =
            seen.status.pods.iter().map(|pod| (pod.id, pod)).collect();
        let mut heard = Vec::new();
        let mut gone = Vec::new();
        for (app, pod) in self.planner.pods_on(name) {
            match reported.remove(&pod.id) {
                Some(status) if pod.is_news(status) => {
                    heard.push((app.id, pod.id, pod.status.clone(), status.clone()));
                }
                Some(_) => {}
                None if pod.intent == PodIntent::Stopping && seen.up_to_date && !pod.gone => {
                    gone.push((app.id, pod.id));
                }
                None => {}
            }
        }
        for (app, id, before, status) in heard {
            let shows = networks::shows(before.as_ref(), &status);
            // Of several reports between two writes the first one's before is what is stored.
            self.news.pods.entry(id).or_insert((app, before));
            self.planner
                .observe(app, id, |pod| pod.status = Some(status));
            if shows {
                self.note_network_of(app);
            }
        }
        for (app, id) in gone {
            self.planner.observe(app, id, |pod| pod.gone = true);
        }
    }

    /// Tells the planner what a machine is like now.
    fn settle_node(&mut self, name: &NodeName) {
        // A report alone makes no machine part of the cluster.
        let Some(row) = self.nodes.get(name) else {
            self.planner.remove_node(name);
            return;
        };
        let seen = self.seen.get(name);
        let lost = match seen {
            Some(_) => self.silent.contains(name),
            None => self.silence_counts,
        };
        let state = match row.intent {
            _ if lost => NodeState::Lost,
            NodeIntent::Ready if self.late.contains(name) => NodeState::Suspected,
            NodeIntent::Ready => NodeState::Ready,
            NodeIntent::Cordoned => NodeState::Cordoned,
            NodeIntent::Draining => NodeState::Draining,
        };
        if let Some(before) = self.planner.snapshot().nodes.get(name)
            && (before.state == NodeState::Lost) != lost
        {
            self.news.machines.insert(name.clone(), lost);
        }
        let capacity = seen.map(NodeSeen::capacity).or(row.capacity.as_ref());
        let facts = Facts {
            labels: row.labels(),
            taints: row.taints.clone(),
            kind: row.facts.as_ref().map(|facts| facts.kind),
            architecture: capacity.and_then(|it| it.architecture.parse().ok()),
            disk_bytes: capacity.map_or(0, |it| it.disk_bytes),
            disk_pressure: seen.is_some_and(|seen| seen.status.disk.pressure.is_some()),
        };
        let node = Node {
            state,
            capacity: capacity.map(|capacity| capacity.resources),
            facts: Arc::new(facts),
            lost_at: None,
        };
        self.planner.set_node(name, node);
    }

    /// Counts everything as gone that was bound to a machine that was removed.
    fn lose_pods(&mut self, name: &NodeName) {
        let bound = self.planner.pods_on(name);
        let lost: Vec<_> = bound.map(|(app, pod)| (app.id, pod.id)).collect();
        for (app, id) in lost {
            self.planner.observe(app, id, |pod| pod.gone = true);
        }
    }

    /// Takes in what routers reported.
    pub(super) fn observe_routers(&mut self, state: &AppState, now: DateTime<Utc>) {
        let reports = &state.routers.reports;
        let seen = reports.all().into_iter().map(|(name, aged)| {
            let router = Router {
                reported_at: before(now, aged.age),
                generation: aged.report.generation,
                draining: aged.report.draining,
                canaries: aged.report.canaries,
            };
            (name, router)
        });
        self.planner.set_routers(Routers {
            seen: seen.collect(),
            observing_since: before(now, reports.age()),
        });
    }

    /// A deployment that has not ended, or that ended in this pass.
    pub(super) fn deployment(&self, app: AppId, id: DeploymentId) -> Option<&DeploymentRow> {
        self.apps.get(&app)?.deployments.get(&id)
    }

    /// A release that an app has to do with.
    pub(super) fn release(&self, app: AppId, id: ReleaseId) -> Option<&ReleaseRow> {
        Some(&**self.apps.get(&app)?.releases.get(&id)?)
    }
}
