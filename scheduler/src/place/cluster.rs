//! The machines with what is promised on them: totals that change with each binding and removal,
//! and are never counted anew while a plan is made.

use std::collections::{BTreeMap, HashMap};

use fairway_api::{
    ids::{AppId, ReleaseId},
    names::{LabelValue, NodeName, ProcessType},
    placement::ZONE_LABEL,
    sizes::Resources,
};

use crate::{
    policy::Policy,
    snapshot::{App, Node, Pod},
};

/// The number of a machine: its place in the order of names.
pub(crate) type Index = u32;

/// All machines.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) policy: Policy,
    pub(crate) machines: Vec<Machine>,
    /// Of each machine what is looked at for every class, close together in memory.
    pub(crate) rooms: Vec<Room>,
    /// How many zones there are; a machine without the label is in one that has no name.
    pub(crate) zones: u32,
    services: HashMap<AppId, BTreeMap<ProcessType, Vec<(ReleaseId, Counts)>>>,
}

/// What a machine is.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: NodeName,
    pub(crate) node: Node,
}

/// What is promised on a machine, and what may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) zone: u32,
    /// The larger of its two loads, in thousandths of what may be promised.
    pub(crate) load_permille: u32,
    /// What it has; 0 while that is not known.
    memory_bytes_has: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_millis: u64,
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
        let mut rooms = Vec::with_capacity(nodes.len());
        for (name, node) in nodes {
            let zone = node.facts.labels.get(ZONE_LABEL).cloned();
            let next = u32::try_from(zones.len()).unwrap_or(u32::MAX);
            let zone = *zones.entry(zone).or_insert(next);
            rooms.push(Room::new(node, zone, policy));
            machines.push(Machine {
                name: name.clone(),
                node: node.clone(),
            });
        }
        let mut cluster = Self {
            policy: policy.clone(),
            machines,
            rooms,
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
        machine.node = node.clone();
        let room = &mut self.rooms[index as usize];
        let (memory_bytes, cpu_millis) = (room.memory_bytes, room.cpu_millis);
        *room = Room::new(node, room.zone, &self.policy);
        room.take(|room| {
            room.memory_bytes = memory_bytes;
            room.cpu_millis = cpu_millis;
        });
        true
    }

    /// `None` for a machine that was removed; its pods take nothing of the others.
    pub(crate) fn index(&self, node: &NodeName) -> Option<Index> {
        let found = self
            .machines
            .binary_search_by(|machine| machine.name.cmp(node));
        found.ok().and_then(|index| Index::try_from(index).ok())
    }

    /// Promises a pod what it takes.
    pub(crate) fn add(&mut self, app: AppId, pod: &Pod, index: Index) {
        let takes = pod.need();
        let room = &mut self.rooms[index as usize];
        room.take_again(takes);
        let zone = room.zone;
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
        let took = pod.need();
        let room = &mut self.rooms[index as usize];
        room.give_back(took);
        let zone = room.zone;
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

    /// Pods of a process type by zone, and by machine.
    pub(crate) fn count(&self, service: Service<'_>) -> (Vec<u32>, Vec<u32>) {
        let mut zones = vec![0; self.zones as usize];
        let mut nodes = vec![0; self.machines.len()];
        for counts in self.counts(service) {
            for (zone, count) in &counts.zones {
                zones[*zone as usize] += count;
            }
            for (index, count) in &counts.nodes {
                nodes[*index as usize] += count;
            }
        }
        (zones, nodes)
    }

    /// On which machines pods of the app stand.
    pub(crate) fn with_app(&self, app: AppId) -> Vec<bool> {
        let mut with = vec![false; self.machines.len()];
        let types = self.services.get(&app);
        let counts = types.into_iter().flat_map(|types| types.values().flatten());
        for index in counts.flat_map(|(_, counts)| counts.nodes.keys()) {
            with[*index as usize] = true;
        }
        with
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

impl Room {
    fn new(node: &Node, zone: u32, policy: &Policy) -> Self {
        let percent = |of: u64, percent: u32| of.saturating_mul(u64::from(percent)) / 100;
        let (memory, cpu) = node
            .capacity
            .map_or((0, 0), |has| (has.memory_bytes, u64::from(has.cpu_millis)));
        Self {
            zone,
            load_permille: 0,
            memory_bytes_has: memory,
            memory_bytes: 0,
            cpu_millis: 0,
            memory_bytes_max: percent(memory, policy.memory_percent),
            cpu_millis_max: percent(cpu, policy.cpu_percent),
        }
    }

    /// Changes what is promised.
    fn take(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        let permille = |of: u64, max: u64| of.saturating_mul(1000) / max.max(1);
        let memory = permille(self.memory_bytes, self.memory_bytes_max);
        let cpu = permille(self.cpu_millis, self.cpu_millis_max);
        self.load_permille = u32::try_from(memory.max(cpu)).unwrap_or(u32::MAX);
    }

    /// What it would be without a pod of this size.
    pub(crate) fn give_back(&mut self, size: Resources) {
        self.take(|room| {
            room.memory_bytes = room.memory_bytes.saturating_sub(size.memory_bytes);
            room.cpu_millis = room.cpu_millis.saturating_sub(size.cpu_millis.into());
        });
    }

    /// What it would be with one more pod of this size.
    pub(crate) fn take_again(&mut self, size: Resources) {
        self.take(|room| {
            room.memory_bytes += size.memory_bytes;
            room.cpu_millis += u64::from(size.cpu_millis);
        });
    }

    /// True if a pod that needs so much fits now.
    pub(crate) fn fits(&self, need: Resources) -> bool {
        need.memory_bytes <= self.memory_bytes_has && self.has_memory(need) && self.has_cpu(need)
    }

    pub(crate) fn has_memory(&self, need: Resources) -> bool {
        self.memory_bytes.saturating_add(need.memory_bytes) <= self.memory_bytes_max
    }

    pub(crate) fn has_cpu(&self, need: Resources) -> bool {
        self.cpu_millis + u64::from(need.cpu_millis) <= self.cpu_millis_max
    }
}
