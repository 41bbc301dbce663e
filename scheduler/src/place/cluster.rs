//! The machines with what is promised on them: totals that change with each binding and removal,
//! and are never counted anew while a plan is made.

use std::collections::{BTreeMap, HashMap};

use fairway_api::{
    ids::{AppId, ReleaseId},
    names::{LabelValue, NodeName, ProcessType},
    placement::{Domain, ZONE_LABEL},
    sizes::Resources,
};

use crate::{
    policy::Policy,
    snapshot::{App, Node, Pod, resources},
};

/// The number of a machine: its place in the order of names.
pub(crate) type Index = u32;

/// All machines.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) policy: Policy,
    pub(crate) machines: Vec<Machine>,
    /// How many zones there are; a machine without the label is in one that has no name.
    pub(crate) zones: u32,
    services: HashMap<AppId, BTreeMap<ProcessType, Vec<(ReleaseId, Counts)>>>,
}

/// One machine and what is promised on it.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: NodeName,
    pub(crate) node: Node,
    pub(crate) zone: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_millis: u64,
    /// What may be promised; 0 while its capacity is not known.
    pub(crate) memory_bytes_max: u64,
    pub(crate) cpu_millis_max: u64,
}

/// How many pods stand where.
#[derive(Debug, Default)]
struct Counts {
    nodes: BTreeMap<Index, u32>,
    zones: BTreeMap<u32, u32>,
}

impl Cluster {
    /// Counts what is promised.
    pub(crate) fn new(
        apps: &BTreeMap<AppId, App>,
        nodes: &BTreeMap<NodeName, Node>,
        policy: &Policy,
    ) -> Self {
        let mut zones: BTreeMap<Option<LabelValue>, u32> = BTreeMap::new();
        let mut machines = Vec::with_capacity(nodes.len());
        for (name, node) in nodes {
            let zone = node.facts.labels.get(ZONE_LABEL).cloned();
            let next = u32::try_from(zones.len()).unwrap_or(u32::MAX);
            let zone = *zones.entry(zone).or_insert(next);
            machines.push(Machine::new(name, node, zone, policy));
        }
        let mut cluster = Self {
            policy: policy.clone(),
            machines,
            zones: u32::try_from(zones.len()).unwrap_or(u32::MAX),
            services: HashMap::new(),
        };
        for app in apps.values() {
            for pod in app.pods.values() {
                let index = pod.node.as_ref().and_then(|node| cluster.index(node));
                if let (Some(index), true) = (index, pod.holds()) {
                    cluster.add(app.id, pod, index);
                }
            }
        }
        cluster
    }

    /// Takes a machine's new state and capacity. False if the machine is not known, or is in
    /// another zone now.
    pub(crate) fn update(&mut self, name: &NodeName, node: &Node) -> bool {
        let Some(index) = self.index(name) else {
            return false;
        };
        let machine = &mut self.machines[index as usize];
        let zone = |node: &Node| node.facts.labels.get(ZONE_LABEL).cloned();
        if zone(&machine.node) != zone(node) {
            return false;
        }
        *machine = Machine {
            memory_bytes: machine.memory_bytes,
            cpu_millis: machine.cpu_millis,
            ..Machine::new(name, node, machine.zone, &self.policy)
        };
        true
    }

    /// `None` for a machine that was removed; its pods take nothing of the others.
    pub(crate) fn index(&self, node: &NodeName) -> Option<Index> {
        let found = self
            .machines
            .binary_search_by(|machine| machine.name.cmp(node));
        found.ok().and_then(|index| Index::try_from(index).ok())
    }

    pub(crate) fn machine(&self, index: Index) -> &Machine {
        &self.machines[index as usize]
    }

    /// Promises a pod what it takes.
    pub(crate) fn add(&mut self, app: AppId, pod: &Pod, index: Index) {
        let takes = resources(&pod.size);
        let machine = &mut self.machines[index as usize];
        machine.memory_bytes += takes.memory_bytes;
        machine.cpu_millis += u64::from(takes.cpu_millis);
        let zone = machine.zone;
        let releases = self.services.entry(app).or_default();
        let releases = match releases.get_mut(&pod.process_type) {
            Some(releases) => releases,
            None => releases.entry(pod.process_type.clone()).or_default(),
        };
        let counts = match releases.iter_mut().position(|(id, _)| *id == pod.release) {
            Some(found) => &mut releases[found].1,
            None => {
                releases.push((pod.release, Counts::default()));
                &mut releases.last_mut().expect("one was just added").1
            }
        };
        *counts.nodes.entry(index).or_default() += 1;
        *counts.zones.entry(zone).or_default() += 1;
    }

    /// Takes back what a pod was promised, because it is no more.
    pub(crate) fn remove(&mut self, app: AppId, pod: &Pod) {
        let Some(index) = pod.node.as_ref().and_then(|node| self.index(node)) else {
            return;
        };
        let took = resources(&pod.size);
        let machine = &mut self.machines[index as usize];
        machine.memory_bytes -= took.memory_bytes;
        machine.cpu_millis -= u64::from(took.cpu_millis);
        let zone = machine.zone;
        let releases = self.services.get_mut(&app);
        let Some(releases) = releases.and_then(|types| types.get_mut(&pod.process_type)) else {
            return;
        };
        for (_, counts) in releases.iter_mut().filter(|(id, _)| *id == pod.release) {
            less(&mut counts.nodes, index);
            less(&mut counts.zones, zone);
        }
        releases.retain(|(_, counts)| !counts.nodes.is_empty());
    }

    /// Pods of a process type in the machine's zone or on it; of every release, or of one.
    pub(crate) fn count(&self, service: Service<'_>, domain: Domain, index: Index) -> u32 {
        self.counts(service)
            .map(|counts| match domain {
                Domain::Node => counts.nodes.get(&index).copied().unwrap_or(0),
                Domain::Zone => {
                    let zone = self.machine(index).zone;
                    counts.zones.get(&zone).copied().unwrap_or(0)
                }
            })
            .sum()
    }

    /// Pods of a process type by zone.
    pub(crate) fn by_zone(&self, service: Service<'_>) -> BTreeMap<u32, u32> {
        sum(self.counts(service).map(|counts| &counts.zones))
    }

    /// Pods of a process type by machine, those without one left out.
    pub(crate) fn by_node(&self, service: Service<'_>) -> BTreeMap<Index, u32> {
        sum(self.counts(service).map(|counts| &counts.nodes))
    }

    /// True if a pod of the app stands on the machine.
    pub(crate) fn has_app(&self, app: AppId, index: Index) -> bool {
        self.services.get(&app).is_some_and(|types| {
            let mut all = types.values().flatten();
            all.any(|(_, counts)| counts.nodes.contains_key(&index))
        })
    }

    fn counts(&self, service: Service<'_>) -> impl Iterator<Item = &Counts> {
        let types = self.services.get(&service.app);
        let releases = types.and_then(|types| types.get(service.process_type));
        releases
            .into_iter()
            .flatten()
            .filter(move |(id, _)| service.release.is_none_or(|release| release == *id))
            .map(|(_, counts)| counts)
    }
}

/// Pods of one type of an app; of one release if it is named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'a> {
    pub(crate) app: AppId,
    pub(crate) process_type: &'a ProcessType,
    pub(crate) release: Option<ReleaseId>,
}

fn less(counts: &mut BTreeMap<u32, u32>, key: u32) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a BTreeMap<u32, u32>>) -> BTreeMap<u32, u32> {
    let mut sum = BTreeMap::new();
    for (key, count) in all.flatten() {
        *sum.entry(*key).or_default() += count;
    }
    sum
}

impl Machine {
    fn new(name: &NodeName, node: &Node, zone: u32, policy: &Policy) -> Self {
        let percent = |of: u64, percent: u32| of.saturating_mul(u64::from(percent)) / 100;
        let (memory, cpu) = node
            .capacity
            .map_or((0, 0), |has| (has.memory_bytes, u64::from(has.cpu_millis)));
        Self {
            name: name.clone(),
            node: node.clone(),
            zone,
            memory_bytes: 0,
            cpu_millis: 0,
            memory_bytes_max: percent(memory, policy.memory_percent),
            cpu_millis_max: percent(cpu, policy.cpu_percent),
        }
    }

    /// True if so much more may be promised once `freed` is given back.
    pub(crate) fn has_room(&self, need: Resources, freed: Resources) -> bool {
        self.has_memory(need, freed) && self.has_cpu(need, freed)
    }

    pub(crate) fn has_memory(&self, need: Resources, freed: Resources) -> bool {
        let promised = self.memory_bytes.saturating_sub(freed.memory_bytes);
        promised.saturating_add(need.memory_bytes) <= self.memory_bytes_max
    }

    pub(crate) fn has_cpu(&self, need: Resources, freed: Resources) -> bool {
        let promised = self.cpu_millis.saturating_sub(freed.cpu_millis.into());
        promised + u64::from(need.cpu_millis) <= self.cpu_millis_max
    }

    /// The larger of its two loads, in thousandths of what may be promised.
    pub(crate) fn load_permille(&self) -> u32 {
        let permille = |of: u64, max: u64| of.saturating_mul(1000) / max.max(1);
        let memory = permille(self.memory_bytes, self.memory_bytes_max);
        let cpu = permille(self.cpu_millis, self.cpu_millis_max);
        u32::try_from(memory.max(cpu)).unwrap_or(u32::MAX)
    }
}
