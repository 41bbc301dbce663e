//! Binds pods to machines: filter, then the best score. A pod that fits nowhere keeps one reason
//! per machine.
//!
//! A binding never changes; a pod that has to move is replaced by a new one ([`crate::slots`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, PodId},
    names::{NodeName, ProcessType},
};

use crate::{
    action::{Action, Step},
    filter::{self, MEMORY_OVERCOMMIT, Refusal},
    score::Score,
    snapshot::{App, Node, Pod, PodIntent, resources},
};

/// The machines with what is promised on them.
pub(crate) struct Cluster<'a> {
    machines: Vec<Machine<'a>>,
}

/// One machine and what is promised on it.
pub(crate) struct Machine<'a> {
    pub(crate) name: &'a NodeName,
    pub(crate) node: &'a Node,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_millis: u64,
    services: HashMap<(AppId, ProcessType), u32>,
}

/// Binds every pod of these apps that waits for a machine, oldest first.
pub(crate) fn bind(
    apps: &mut BTreeMap<AppId, App>,
    nodes: &BTreeMap<NodeName, Node>,
    now: DateTime<Utc>,
    of_apps: &BTreeSet<AppId>,
    steps: &mut Vec<Step>,
    bound: &mut BTreeMap<NodeName, BTreeMap<PodId, AppId>>,
) {
    let mut waiting: Vec<(PodId, AppId)> = of_apps
        .iter()
        .filter_map(|app| apps.get(app))
        .flat_map(|app| {
            app.pods
                .values()
                .filter(|pod| waits(pod))
                .map(|pod| (pod.id, app.id))
        })
        .collect();
    if waiting.is_empty() {
        return;
    }
    waiting.sort_unstable();
    let mut cluster = Cluster::new(apps, nodes);
    for (id, app) in waiting {
        let Some(app) = apps.get_mut(&app) else {
            continue;
        };
        let Some(pod) = app.pods.get(&id) else {
            continue;
        };
        let action = match cluster.place(app.id, pod) {
            Ok(node) => Action::Bind { pod: id, node },
            Err(refusals) => {
                let why = explain(&refusals);
                if pod.unplaced.as_ref() == Some(&why) {
                    continue;
                }
                Action::Unplaced { pod: id, why }
            }
        };
        app.apply(&action, now);
        if let Action::Bind { pod, node } = &action {
            let pods = bound.entry(node.clone()).or_default();
            pods.insert(*pod, app.id);
        }
        steps.push(Step {
            app: app.id,
            action,
        });
    }
}

/// True for a pod that is to run and has no machine yet.
pub(crate) fn waits(pod: &Pod) -> bool {
    pod.node.is_none() && pod.intent == PodIntent::Wanted
}

fn explain(refusals: &[Refusal]) -> String {
    if refusals.is_empty() {
        return "no machine has joined yet".into();
    }
    refusals
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

impl<'a> Cluster<'a> {
    fn new(apps: &BTreeMap<AppId, App>, nodes: &'a BTreeMap<NodeName, Node>) -> Self {
        let machines = nodes
            .iter()
            .map(|(name, node)| Machine::new(name, node))
            .collect();
        let mut cluster = Self { machines };
        for app in apps.values() {
            for pod in app.pods.values() {
                if let Some(node) = &pod.node {
                    cluster.promise(node, app.id, pod);
                }
            }
        }
        cluster
    }

    /// The best machine for the pod, or why each refuses it.
    fn place(&mut self, app: AppId, pod: &Pod) -> Result<NodeName, Vec<Refusal>> {
        let need = resources(&pod.size);
        let mut refusals = Vec::new();
        let mut best: Option<Score> = None;
        for machine in &self.machines {
            match filter::refuse(machine, need) {
                Some(refusal) => refusals.push(refusal),
                None => {
                    let score = machine.score(app, pod);
                    best = Some(best.map_or(score.clone(), |best| best.min(score)));
                }
            }
        }
        let Some(best) = best else {
            return Err(refusals);
        };
        self.promise(&best.node, app, pod);
        Ok(best.node)
    }

    fn promise(&mut self, node: &NodeName, app: AppId, pod: &Pod) {
        let Ok(index) = self
            .machines
            .binary_search_by(|machine| machine.name.cmp(node))
        else {
            return; // On a machine that was removed; it takes nothing of the others.
        };
        let Some(takes) = pod.resources() else { return };
        let machine = &mut self.machines[index];
        machine.memory_bytes += takes.memory_bytes;
        machine.cpu_millis += u64::from(takes.cpu_millis);
        *machine
            .services
            .entry((app, pod.process_type.clone()))
            .or_default() += 1;
    }
}

impl<'a> Machine<'a> {
    fn new(name: &'a NodeName, node: &'a Node) -> Self {
        Self {
            name,
            node,
            memory_bytes: 0,
            cpu_millis: 0,
            services: HashMap::new(),
        }
    }

    fn score(&self, app: AppId, pod: &Pod) -> Score {
        let has = self
            .node
            .capacity
            .map_or(0, |capacity| capacity.memory_bytes);
        let may_promise = has.saturating_mul(MEMORY_OVERCOMMIT).max(1);
        let service = (app, pod.process_type.clone());
        Score {
            same_service: self.services.get(&service).copied().unwrap_or(0),
            load_permille: self.memory_bytes.saturating_mul(1000) / may_promise,
            node: self.name.clone(),
        }
    }
}
