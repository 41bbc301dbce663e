//! Pods as the Platform API shows them. `dyno` is a name of the wire only; inside, say pod.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    apps::AppRef,
    ids::{PodId, ReleaseId},
    names::{ConfigName, ContainerName, NodeName, ProcessType, SizeName},
    secret::Secret,
};

/// The longest a one-off pod may live, in seconds: one day, as on Heroku.
pub const RUN_TTL_SECS_MAX: u32 = 24 * 60 * 60;

/// `GET /apps/{app}/dynos`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dyno {
    pub id: PodId,
    pub app: AppRef,
    /// `web.1`, `run.4821`, `release.7`.
    pub name: String,
    #[serde(rename = "type")]
    pub process_type: String,
    pub command: String,
    pub size: SizeName,
    pub state: DynoState,
    pub release: DynoRelease,
    /// Where a terminal attaches: a WebSocket URL; only in the answer that creates an attached pod.
    pub attach_url: Option<String>,
    /// Why it is in this state: exit code, signal, failing check. Ours, not Heroku's.
    pub reason: Option<String>,
    /// How often it was restarted since it was made. Ours, not Heroku's.
    pub restarts: u32,
    /// The exit code of a one-off pod that has ended. Ours, not Heroku's.
    pub exit_code: Option<i32>,
    /// True when a newer release or pod takes its place. Ours, not Heroku's.
    pub superseded: bool,
    /// Where it runs. Ours, not Heroku's.
    pub node: Option<NodeName>,
    /// Each container of a pod that has several, the main one first. Ours, not Heroku's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<DynoContainer>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// One container of a pod that has several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoContainer {
    pub name: ContainerName,
    pub state: DynoState,
    /// Why it is in this state.
    pub reason: Option<String>,
    pub restarts: u32,
    /// What it runs.
    pub command: String,
    /// The image's name elsewhere, for one that is not the app's own.
    pub image: Option<String>,
}

/// The Platform API's words for what a pod is doing, and `stopping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DynoState {
    Starting,
    Up,
    Crashed,
    Down,
    Stopping,
}

impl fmt::Display for DynoState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Crashed => "crashed",
            Self::Down => "down",
            Self::Stopping => "stopping",
        })
    }
}

/// The release that a pod runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoRelease {
    pub id: ReleaseId,
    pub version: u64,
}

/// `POST /apps/{app}/dynos`: starts a one-off pod of the current release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewDyno {
    /// A shell command line; the name of a process type runs that type's command.
    pub command: String,
    /// True joins the caller's terminal to it through `attach_url`.
    #[serde(default)]
    pub attach: bool,
    /// True gives no terminal although attached: for pipes and CI.
    #[serde(default)]
    pub force_no_tty: bool,
    /// Added to the app's environment for this pod only.
    #[serde(default)]
    pub env: BTreeMap<ConfigName, Secret>,
    pub size: Option<SizeName>,
    /// Take size and name from this process type.
    #[serde(rename = "type")]
    pub process_type: Option<ProcessType>,
    /// Seconds after which it is stopped, at most [`RUN_TTL_SECS_MAX`] (the default).
    pub time_to_live: Option<u32>,
}
