//! The seam to whatever runs the pods.
//!
//! Left of it: apps, releases and deployments. Right of it: endpoints and routes. Neither knows
//! which implementation is between them. An implementation runs exactly the pods it is told to
//! run and says what it sees; it decides nothing about releases.

pub mod cluster;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fairway_api::{
    images::ImageRef,
    machines::NodeFacts,
    names::NodeName,
    network::NetworkPlan,
    nodes::{Capacity, NodeStatus},
    pods::PodSpec,
    volumes::VolumeOrder,
};

/// Runs pods.
pub trait Orchestrator: std::fmt::Debug + Send + Sync {
    /// Makes exactly these pods run on the machines that `intent` names; the others go on as they
    /// were told. What is not named ends, by its own stop policy. May be called any number of times
    /// with the same intent.
    fn apply(&self, intent: Intent) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// What was seen since an earlier call that gave the number `after`; all of it after 0.
    fn observe(&self, after: u64) -> Observation;
}

/// Everything that should run, by machine.
#[derive(Debug, Default)]
pub struct Intent {
    pub nodes: BTreeMap<NodeName, NodeIntent>,
    /// Machines that might have had to run something else, and should run what they were told last.
    pub same: BTreeSet<NodeName>,
}

/// Everything that one machine should run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NodeIntent {
    pub pods: Vec<PodSpec>,
    /// Images to keep besides those of `pods`.
    pub keep_images: Vec<ImageRef>,
    /// `None` for a machine without a subnet of the pod network.
    pub network: Option<NetworkPlan>,
    /// What is to be done with volumes besides mounting them.
    pub volumes: Vec<VolumeOrder>,
}

/// What was seen lately.
#[derive(Debug, Default)]
pub struct Observation {
    /// Ask for what comes after this.
    pub number: u64,
    /// Machines that said something new.
    pub changed: BTreeMap<NodeName, NodeSeen>,
    /// All machines that have been silent for long enough to be doubted.
    pub late: BTreeSet<NodeName>,
    /// All machines that have been silent for too long.
    pub silent: BTreeSet<NodeName>,
    /// Machines that have never been heard of although there was time enough are lost; before
    /// that nobody is.
    pub silence_counts: bool,
}

/// What was last seen on one machine.
#[derive(Debug, Clone)]
pub struct NodeSeen {
    pub status: Arc<NodeStatus>,
    /// It works on the newest orders, so that a pod it does not report does not exist.
    pub up_to_date: bool,
}

/// True when a machine says nothing else of itself than before. Its clock moves all the time.
pub(crate) fn same_facts(before: Option<&NodeFacts>, now: Option<&NodeFacts>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => {
            let clock = now.clock;
            let before = NodeFacts {
                clock,
                ..before.clone()
            };
            before == *now
        }
        (_, None) => true,
        (None, Some(_)) => false,
    }
}

impl NodeSeen {
    /// What it has.
    pub fn capacity(&self) -> &Capacity {
        &self.status.capacity
    }

    /// True when it has what the database says; free disk space moves all the time.
    pub fn has_same_capacity(&self, stored: &Capacity) -> bool {
        let seen = self.capacity();
        let stored = Capacity {
            disk_free_bytes: seen.disk_free_bytes,
            ..stored.clone()
        };
        stored == *seen
    }
}
