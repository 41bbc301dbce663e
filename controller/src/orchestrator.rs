//! The seam to whatever runs the pods.
//!
//! Left of it: apps, releases and deployments. Right of it: endpoints and routes. Neither knows
//! which implementation is between them. An implementation runs exactly the pods it is told to
//! run and says what it sees; it decides nothing about releases.

pub mod cluster;

use std::{collections::BTreeMap, sync::Arc};

use fairway_api::{
    ids::PodId,
    images::ImageRef,
    names::NodeName,
    nodes::{Capacity, NodeStatus},
    pods::{PodSpec, PodStatus},
};

/// Runs pods.
pub trait Orchestrator: std::fmt::Debug + Send + Sync {
    /// Makes exactly these pods run. What is not named ends, by its own stop policy. May be called
    /// any number of times with the same intent.
    fn apply(&self, intent: Intent) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// What was last seen.
    fn observe(&self) -> Observation;
}

/// Everything that should run, by machine.
#[derive(Debug, Default)]
pub struct Intent {
    pub nodes: BTreeMap<NodeName, NodeIntent>,
}

/// Everything that one machine should run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NodeIntent {
    pub pods: Vec<PodSpec>,
    /// Images to keep besides those of `pods`.
    pub keep_images: Vec<ImageRef>,
}

/// Everything that was last seen, by machine.
#[derive(Debug, Default)]
pub struct Observation {
    pub nodes: BTreeMap<NodeName, NodeSeen>,
    /// Machines that have not been heard of although there was time enough are lost, those in
    /// `nodes` or not; before that nobody is.
    pub silence_counts: bool,
}

/// What was last seen on one machine.
#[derive(Debug, Clone)]
pub struct NodeSeen {
    pub status: Arc<NodeStatus>,
    /// Silent for too long.
    pub lost: bool,
    /// It works on the newest orders, so that a pod it does not report does not exist.
    pub up_to_date: bool,
}

impl NodeSeen {
    /// What it has.
    pub fn capacity(&self) -> &Capacity {
        &self.status.capacity
    }

    /// A pod as it reports it.
    pub fn pod(&self, id: PodId) -> Option<&PodStatus> {
        self.status.pods.iter().find(|pod| pod.id == id)
    }
}
