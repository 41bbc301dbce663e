//! Why something happened to a pod or a machine, with the data that belongs to it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    checks::CheckKind,
    ids::PodId,
    names::{AppName, NodeName},
};

/// A cause, as `{"type": "out-of-memory", "container": "main", "limit_bytes": 536870912}`.
///
/// Types are only added; a program treats one that it does not know like none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Cause {
    /// The kernel killed it for its memory limit.
    OutOfMemory {
        /// Which of the pod's containers.
        container: String,
        /// What it may have; `None` for a sidecar, whose limit stands in app.json.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit_bytes: Option<u64>,
    },
    /// A signal ended it that the platform did not send.
    Signal { number: i64, name: Option<String> },
    /// It ended by itself.
    Exit { code: i64 },
    /// The platform ended it.
    Stopped { why: String },
    /// A check failed for as long as it may.
    CheckFailed {
        check: CheckKind,
        /// What was asked: `GET /health on port 8080`.
        asked: String,
        /// What came: `answered 500 Internal Server Error`.
        why: String,
        /// The start of the response, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response: Option<String>,
    },
    /// Its image did not come.
    ImagePullFailed { reason: String },
    /// It could not be started for another reason.
    StartFailed { reason: String },
    /// It keeps ending and waits before it is started again.
    BackOff {
        /// Starts after the first.
        restarts: u32,
        until: DateTime<Utc>,
    },
    /// No machine takes it.
    Unplaced { reasons: Vec<NodeReason> },
    /// It had to leave its machine: a taint drives it away, or the machine's disk is full.
    Evicted { node: NodeName, why: String },
    /// It made room for a pod of higher priority.
    Preempted { node: NodeName, by: PreemptedBy },
    /// Its machine is taken for lost, or was removed.
    LostMachine { node: NodeName },
    /// Its machine is being drained.
    Drained { node: NodeName },
    /// Another machine is the better one for it.
    Rebalanced { node: NodeName },
}

/// Why machines do not take a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReason {
    /// A machine, or how many of them (`12 machines`) when there are too many to name; `None` for
    /// what is not about single machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub reason: String,
}

/// Who was given the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreemptedBy {
    pub id: PodId,
    /// `web.1`
    pub name: String,
    /// `None` if the pod is another app's: whose it is, is nobody else's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
}

/// The types that a [`Cause`] may have.
pub const CAUSE_TYPES: [&str; 14] = [
    "out-of-memory",
    "signal",
    "exit",
    "stopped",
    "check-failed",
    "image-pull-failed",
    "start-failed",
    "back-off",
    "unplaced",
    "evicted",
    "preempted",
    "lost-machine",
    "drained",
    "rebalanced",
];

impl Cause {
    /// As it stands in `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::Signal { .. } => "signal",
            Self::Exit { .. } => "exit",
            Self::Stopped { .. } => "stopped",
            Self::CheckFailed { .. } => "check-failed",
            Self::ImagePullFailed { .. } => "image-pull-failed",
            Self::StartFailed { .. } => "start-failed",
            Self::BackOff { .. } => "back-off",
            Self::Unplaced { .. } => "unplaced",
            Self::Evicted { .. } => "evicted",
            Self::Preempted { .. } => "preempted",
            Self::LostMachine { .. } => "lost-machine",
            Self::Drained { .. } => "drained",
            Self::Rebalanced { .. } => "rebalanced",
        }
    }

    /// Heroku's code for the same. Only where it means the same: its R14 is a warning of a pod that
    /// runs on, which we have none of; its H codes are the router's, in access lines.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::OutOfMemory { .. } => Some("R15"),
            Self::CheckFailed {
                check: CheckKind::Startup,
                ..
            } => Some("R10"),
            _ => None,
        }
    }

    /// What two events must share to be the same that repeats. Numbers and texts that differ each
    /// time are left out.
    pub fn fingerprint(&self) -> String {
        let of = self.type_name();
        match self {
            Self::OutOfMemory { container, .. } => format!("{of} {container}"),
            Self::Signal { number, .. } => format!("{of} {number}"),
            Self::Exit { code } => format!("{of} {code}"),
            Self::CheckFailed { check, asked, .. } => format!("{of} {check} {asked}"),
            Self::Evicted { node, .. }
            | Self::LostMachine { node }
            | Self::Drained { node }
            | Self::Preempted { node, .. }
            | Self::Rebalanced { node } => format!("{of} {node}"),
            Self::Stopped { why } => format!("{of} {why}"),
            Self::ImagePullFailed { .. }
            | Self::StartFailed { .. }
            | Self::BackOff { .. }
            | Self::Unplaced { .. } => of.into(),
        }
    }
}

impl NodeReason {
    /// From the planner's lines: `node-1: is cordoned`, `12 machines: are cordoned`.
    pub fn of_lines(lines: &str) -> Vec<Self> {
        let one = |line: &str| match line.split_once(": ") {
            Some((node, reason)) => Self {
                node: Some(node.into()),
                reason: reason.into(),
            },
            None => Self {
                node: None,
                reason: line.into(),
            },
        };
        lines.lines().map(one).collect()
    }
}
