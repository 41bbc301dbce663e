//! What is known of a machine and asked of it: kind, labels, taints, and the public resource
//! `/nodes`, for operators. Ours; no Heroku counterpart.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    apps::AppRef,
    dynos::DynoState,
    ids::{NodeId, NodeTokenId, PodId},
    names::{HostPath, LabelKey, LabelValue, NodeName, SizeName},
    nodes::Capacity,
    placement::{Labels, NodeKind, Taint},
    secret::Secret,
};

/// How far a machine's clock may be from the controller's, in seconds, before people are told.
pub const CLOCK_SKEW_SECS_MAX: i64 = 30;

/// The most directories that one machine may allow volumes in.
pub const HOST_PATHS_MAX: usize = 64;

/// What an agent tells of its machine besides its capacity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    pub kind: NodeKind,
    /// Version of the kernel, for people.
    pub kernel: String,
    /// Version of the agent, for people.
    pub version: String,
    /// From the agent's flags; an operator's labels win over them.
    #[serde(default)]
    pub labels: Labels,
    /// Directories that volumes of apps may be in, as its operator allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_paths: Vec<HostPath>,
    /// The machine's time at the moment of the report.
    pub clock: DateTime<Utc>,
}

/// `GET /nodes/{node}`: a machine as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub name: NodeName,
    pub state: NodeState,
    /// `None` until its agent has reported.
    pub capacity: Option<Capacity>,
    /// What is promised to its pods.
    pub promised: Promised,
    /// Pods bound to it, those that end included.
    pub pods: u32,
    /// The agent's and operators', as they count.
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub zone: Option<LabelValue>,
    pub kind: Option<NodeKind>,
    pub kernel: Option<String>,
    /// Version of its agent.
    pub version: Option<String>,
    /// Where the other machines reach it.
    pub address: Option<IpAddr>,
    /// How many seconds its clock is ahead of the controller's; negative: behind. `None` while it
    /// is silent.
    pub clock_ahead_secs: Option<i64>,
    /// Seconds since its last report; `None` if there was none since the controller started.
    pub silent_secs: Option<u64>,
    /// Why it takes no new pods although it is ready: too little of its disk is free. `None` while
    /// there is room, and from an agent that does not say.
    #[serde(default)]
    pub disk_pressure: Option<String>,
    /// Until when its pods stay bound to it although it is lost, since too many machines were lost
    /// with it.
    #[serde(default)]
    pub held_until: Option<DateTime<Utc>>,
    /// When its certificate ends, if it joined with one.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Whether a machine takes pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Takes pods.
    Ready,
    /// Keeps its pods, takes no new ones.
    Cordoned,
    /// Its pods move elsewhere.
    Draining,
    /// Silent for a moment: keeps its pods, takes no new ones.
    Suspected,
    /// Joined, but its agent has not reported yet.
    Joining,
    /// Silent for too long; its pods are replaced elsewhere.
    Lost,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Suspected => "suspected",
            Self::Joining => "joining",
            Self::Lost => "lost",
        })
    }
}

/// What the pods of a machine may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Promised {
    pub memory_bytes: u64,
    /// In thousandths of a core.
    pub cpu_millis: u64,
}

/// One of `GET /nodes/{node}/pods`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePod {
    pub id: PodId,
    pub app: AppRef,
    /// `web.1`.
    pub name: String,
    /// Version of its release.
    pub release: u64,
    pub size: SizeName,
    /// As in `GET /apps/{app}/dynos`.
    pub state: DynoState,
    pub created_at: DateTime<Utc>,
}

/// `PATCH /nodes/{node}`: what is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<NodeIntent>,
    /// Labels to set, and with `null` to remove.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelKey, Option<LabelValue>>,
    /// Taints to set: each takes the place of one with the same key and effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Keys whose taints go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untaint: Vec<LabelKey>,
}

/// What an operator asks of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeIntent {
    /// Takes pods.
    Ready,
    /// Keeps its pods, takes no new ones.
    Cordoned,
    /// Its pods move elsewhere.
    Draining,
}

/// `POST /node-tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewNodeToken {
    /// How long it can be used, in seconds; an hour if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
}

/// A token that lets one machine join. Its secret is in this answer and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeToken {
    pub id: NodeTokenId,
    pub token: Secret,
    /// Where machines reach the controller, as HOST:PORT.
    pub address: String,
    pub expires_at: DateTime<Utc>,
}
