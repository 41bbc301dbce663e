//! Machines: whole orders to one ([`NodePlan`]) and what it saw ([`NodeStatus`]).

use serde::{Deserialize, Serialize};

use crate::{
    disk::DiskStatus,
    images::{ImageRef, RegistryAccess},
    machines::NodeFacts,
    metrics::PodUsage,
    names::NodeName,
    network::{NetworkPlan, NetworkStatus},
    pods::{PodSpec, PodStatus},
    sizes::Resources,
    volumes::{VolumeOrder, VolumeStatus},
};

/// How long `GET /internal/nodes/{node}/plan` waits for a newer plan, in seconds; shorter than
/// what proxies and NAT tables on the way cut.
pub const LONG_POLL_SECS: u64 = 25;
/// How often an agent reports when nothing changes, in seconds.
pub const HEARTBEAT_SECS: u64 = 5;

/// The number of the protocol between agents and the controller that this version speaks. It grows
/// when an agent of the number before would misunderstand; fields that are only added do not make
/// it grow, since both sides ignore what they do not know.
pub const PROTOCOL: u32 = 1;
/// The oldest number that a controller of this version still speaks.
pub const PROTOCOL_OLDEST: u32 = 1;
/// The header that carries an agent's number. Without it the caller is taken for number 1.
pub const PROTOCOL_HEADER: &str = "fairway-protocol";

/// Everything one machine should run. The agent makes Docker match it: what is missing is
/// started, what is not named is stopped by its own stop policy and removed.
///
/// `GET /internal/nodes/{node}/plan?after=GENERATION` answers 200 with a newer plan, or 204 after
/// [`LONG_POLL_SECS`]. An agent refuses a plan with a generation below the one it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    pub node: NodeName,
    /// Grows with each change.
    pub generation: u64,
    pub registry: RegistryAccess,
    pub pods: Vec<PodSpec>,
    /// Images to keep besides those of `pods`: rollback targets. All other images that Fairway
    /// brought to the machine may be removed.
    pub keep_images: Vec<ImageRef>,
    /// `None` while the machine has no subnet: its pods are then on a network of their own that
    /// keeps them all apart.
    #[serde(default)]
    pub network: Option<NetworkPlan>,
    /// What is to be done with volumes besides mounting them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeOrder>,
}

/// The answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Of the newest plan that there is for the machine: who works on it may keep its leases.
    #[serde(default)]
    pub generation: u64,
}

/// `POST /internal/nodes/{node}/status`: everything the agent saw, after each change and at least
/// every [`HEARTBEAT_SECS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: NodeName,
    /// Of the plan that the agent works on; 0 before its first.
    pub generation: u64,
    pub capacity: Capacity,
    /// What else is known of the machine; `None` from an agent that does not tell.
    #[serde(default)]
    pub facts: Option<NodeFacts>,
    pub pods: Vec<PodStatus>,
    #[serde(default)]
    pub network: NetworkStatus,
    #[serde(default)]
    pub disk: DiskStatus,
    /// What the pods that run use; a pod that was not measured is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<PodUsage>,
    /// The local volumes whose data is on the machine; `None` until the agent has looked, and from
    /// one that does not know of volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<VolumeStatus>>,
}

/// What a machine has in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    pub resources: Resources,
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// Container engine and version, for people.
    pub engine: String,
}
