//! The move of an app to a release, as it is known at one moment.

use chrono::{DateTime, Utc};
use fairway_api::{
    deployments::{Strategy, Wish},
    ids::{DeploymentId, PodId, ReleaseId},
};
use serde::{Deserialize, Serialize};

/// The move of an app to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub id: DeploymentId,
    pub release: ReleaseId,
    /// Somebody waits at the end of a `git push` for how it goes.
    pub from_push: bool,
    /// As it was when the deployment was asked for.
    pub strategy: Strategy,
    /// What somebody wants of it meanwhile; it stays until they want something else.
    pub wish: Option<Wish>,
    pub state: DeploymentState,
    /// When the present state must have ended.
    pub deadline_at: Option<DateTime<Utc>>,
}

/// Where a deployment stands. It only moves forward, but for a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DeploymentState {
    /// Waits for the deployment before it.
    Queued,
    /// This pod runs the release's `release` command.
    ReleasePhase {
        pod: PodId,
    },
    /// All new pods start beside the old ones.
    Starting,
    /// The new pods take the places of the old ones, a few at a time; both serve.
    Rolling {
        /// The most new pods that were ever up at once.
        replaced: u32,
    },
    /// The old pods take their places back.
    RollingBack {
        failure: Failure,
        /// The most old pods that were ever up at once since.
        restored: u32,
    },
    /// The web pods for this step of the canary start, and the share of the requests is that of
    /// the one before; behind the last step it is all pods, of every process type.
    CanaryStarting {
        step: u32,
        /// Whose share of the requests it has meanwhile; `None`: it has none.
        share: Option<u32>,
    },
    /// The new release has its share of the requests, and is watched.
    Canary {
        step: u32,
    },
    /// Somebody stopped it for a while; then it goes on in this state.
    Paused {
        resumes: Box<DeploymentState>,
        /// What was left of that state's time, in seconds.
        left_secs: i64,
    },
    /// The new release is the current one; live routers have to acknowledge the table that says
    /// so. `None`: the move changes nothing for routers.
    Switching {
        generation: Option<u64>,
        /// The release before, whose web pods stay up for a while.
        #[serde(default)]
        warm: Option<ReleaseId>,
    },
    /// The new release serves; the web pods of the one before stay up.
    Baking {
        warm: ReleaseId,
    },
    Succeeded,
    /// The release before it serves on.
    Failed {
        failure: Failure,
    },
    /// It served, and the release before, this version, serves again.
    Reverted {
        to: u64,
    },
    /// A newer one took its place before it began.
    Superseded {
        by: u64,
    },
}

/// Why a deployment failed, for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence without full stop: `web.1 exited with code 1`.
    pub reason: String,
    /// What supports it: last lines of output, a response, why each machine refused.
    pub lines: Vec<String>,
}

impl DeploymentState {
    /// True from the first action for it until its end.
    pub fn is_active(&self) -> bool {
        *self != Self::Queued && !self.has_ended()
    }

    /// True when it will not change any more.
    pub fn has_ended(&self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed { .. } | Self::Reverted { .. } | Self::Superseded { .. }
        )
    }

    /// True once its release has become the current one.
    pub fn is_live(&self) -> bool {
        matches!(
            self,
            Self::Switching { .. } | Self::Baking { .. } | Self::Succeeded | Self::Reverted { .. }
        )
    }

    /// The release whose web pods are kept for a revert.
    pub fn warm(&self) -> Option<ReleaseId> {
        match self {
            Self::Switching { warm, .. } => *warm,
            Self::Baking { warm } => Some(*warm),
            _ => None,
        }
    }

    /// The state that a pause interrupts; any other is itself.
    pub fn beneath_pause(&self) -> &Self {
        match self {
            Self::Paused { resumes, .. } => resumes.beneath_pause(),
            other => other,
        }
    }

    /// The state's name, as the database's `state` column has it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::ReleasePhase { .. } => "release-phase",
            Self::Starting => "starting",
            Self::Rolling { .. } => "rolling",
            Self::RollingBack { .. } => "rolling-back",
            Self::CanaryStarting { .. } => "canary-starting",
            Self::Canary { .. } => "canary",
            Self::Paused { .. } => "paused",
            Self::Switching { .. } => "switching",
            Self::Baking { .. } => "baking",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Reverted { .. } => "reverted",
            Self::Superseded { .. } => "superseded",
        }
    }
}
