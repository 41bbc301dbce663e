//! What people hear of a deployment's way: on the record, in the app's log, and at the end of a
//! push. Pure.

use chrono::{DateTime, Utc};
use fairway_api::phases::Phase;
use fairway_scheduler::snapshot::DeploymentState;

use super::News;
use crate::{deploy::output, store::deployments::DeploymentRow};

/// One step on a deployment's way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move<'a> {
    /// As it was before the plan.
    pub(super) deployment: &'a DeploymentRow,
    /// Of its release.
    pub(super) version: u64,
    /// How many pods the release should have.
    pub(super) pods: u32,
    pub(super) from: &'a DeploymentState,
    pub(super) to: &'a DeploymentState,
    pub(super) deadline_at: Option<DateTime<Utc>>,
}

impl Move<'_> {
    /// Who asked for it, if somebody did.
    fn by(&self) -> &str {
        let wish = self.deployment.wish.as_ref();
        wish.map_or("the platform", |wish| &wish.by)
    }

    fn percent(&self, step: u32) -> u8 {
        let steps = self.deployment.strategy.steps();
        let step = usize::try_from(step).ok().and_then(|step| steps.get(step));
        step.map_or(100, |step| step.percent)
    }

    fn is_last(&self, step: u32) -> bool {
        usize::try_from(step).is_ok_and(|step| step >= self.deployment.strategy.steps().len())
    }
}

/// What goes on the record and into the app's log.
pub(super) fn news(it: &Move<'_>) -> Option<News> {
    let version = it.version;
    let (kind, message) = match it.to {
        DeploymentState::Succeeded if matches!(it.from, DeploymentState::Baking { .. }) => (
            "deployment.baked",
            format!("Release v{version} has proved itself; the old pods stop"),
        ),
        DeploymentState::Succeeded => (
            "deployment.succeeded",
            format!("Release v{version} is live"),
        ),
        DeploymentState::Baking { .. } => (
            "deployment.succeeded",
            format!("Release v{version} is live; the old web pods are kept for a revert"),
        ),
        DeploymentState::Failed { failure } => (
            "deployment.failed",
            format!("Release v{version} failed: {}", failure.reason),
        ),
        DeploymentState::Superseded { by } => (
            "deployment.superseded",
            format!("Release v{version} was superseded by v{by}"),
        ),
        DeploymentState::Reverted { to } => (
            "deployment.reverted",
            format!("{} took back v{version}: v{to} serves again", it.by()),
        ),
        DeploymentState::RollingBack { failure, .. } => {
            if matches!(it.from, DeploymentState::RollingBack { .. }) {
                return None;
            }
            (
                "deployment.rolling-back",
                format!("Release v{version} is rolled back: {}", failure.reason),
            )
        }
        DeploymentState::Canary { step } => (
            "deployment.canary",
            format!("{}% of the requests go to v{version}", it.percent(*step)),
        ),
        DeploymentState::CanaryStarting { step, .. } if it.is_last(*step) => (
            "deployment.promoted",
            format!("The canary of v{version} is over: all of it starts"),
        ),
        DeploymentState::Paused { .. } => (
            "deployment.paused",
            format!("{} paused the deployment of v{version}", it.by()),
        ),
        DeploymentState::Queued
        | DeploymentState::ReleasePhase { .. }
        | DeploymentState::Starting
        | DeploymentState::Rolling { .. }
        | DeploymentState::CanaryStarting { .. }
        | DeploymentState::Switching { .. } => return None,
    };
    Some(News::told(kind, message))
}

/// What a pusher reads when the deployment comes to this state; its end is told elsewhere.
pub(super) fn lines(it: &Move<'_>, now: DateTime<Utc>) -> String {
    let mut text = match it.from {
        DeploymentState::Paused { .. } if !it.to.has_ended() => output::resumed(),
        _ => String::new(),
    };
    text += &match it.to {
        DeploymentState::Rolling { replaced } => output::rolling(*replaced, it.pods),
        DeploymentState::RollingBack { failure, .. }
            if !matches!(it.from, DeploymentState::RollingBack { .. }) =>
        {
            output::rolling_back(it.version, &failure.reason)
        }
        DeploymentState::Canary { step } => {
            let left = it.deadline_at.map_or(0, |at| (at - now).num_seconds());
            let left = u32::try_from(left).unwrap_or_default();
            output::canary(it.version, it.percent(*step), left, *step == 0)
        }
        DeploymentState::CanaryStarting { step, .. } if it.is_last(*step) => {
            output::promoting(it.version)
        }
        DeploymentState::Paused { .. } => output::paused(it.by()),
        _ => String::new(),
    };
    text
}

/// The part of a push that is spent in a state, for those in which the platform is at work.
pub(super) fn phase(state: &DeploymentState) -> Option<Phase> {
    match state {
        DeploymentState::Queued => Some(Phase::ReleaseQueue),
        DeploymentState::ReleasePhase { .. } => Some(Phase::ReleasePhase),
        DeploymentState::Starting
        | DeploymentState::Rolling { .. }
        | DeploymentState::CanaryStarting { .. } => Some(Phase::Start),
        DeploymentState::Switching { .. } => Some(Phase::Flip),
        DeploymentState::RollingBack { .. }
        | DeploymentState::Canary { .. }
        | DeploymentState::Paused { .. }
        | DeploymentState::Baking { .. }
        | DeploymentState::Succeeded
        | DeploymentState::Failed { .. }
        | DeploymentState::Reverted { .. }
        | DeploymentState::Superseded { .. } => None,
    }
}
