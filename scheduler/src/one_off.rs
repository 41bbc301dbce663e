//! The end of pods that are not replicas: one-off commands and release phases.
//!
//! Their start is somebody else's: a user's request makes a one-off pod, [`crate::rollout`] makes
//! the pod of a release phase.

use chrono::Duration;
use fairway_api::pods::{PodPhase, PodStatus};

use crate::{
    action::Action,
    pass::Pass,
    rollout::{REFUSED_PATIENCE_SECS, UNPLACED_PATIENCE_SECS},
    snapshot::{App, DeploymentState, Pod, PodIntent, PodKind},
};

/// How long a one-off pod is kept after its process ended, in seconds, so that whoever started it
/// can still read how.
pub const ONE_OFF_KEPT_SECS: i64 = 5 * 60;
/// The same on a machine whose pods move elsewhere, in seconds: enough for who waits for the end, and
/// little for who waits until the machine is empty.
pub const ONE_OFF_KEPT_LEFT_SECS: i64 = 10;
/// How long after its time to live a one-off pod is stopped here, in seconds, if its agent, which
/// counts the same time, has not done it.
pub const TIME_TO_LIVE_SLACK_SECS: i64 = 60;

/// Stops one-off pods whose time is over and release phases that no deployment waits for.
pub(crate) fn end(app: &App, pass: &mut Pass<'_>) {
    for pod in app
        .pods
        .values()
        .filter(|pod| pod.intent == PodIntent::Wanted)
    {
        let over = match pod.kind {
            PodKind::Service | PodKind::Job => false,
            PodKind::ReleasePhase => !is_awaited(app, pod),
            PodKind::Run => pod.gone || is_over(pod, pass),
        };
        if over {
            pass.act(Action::Stop { pod: pod.id });
        }
    }
}

fn is_awaited(app: &App, pod: &Pod) -> bool {
    app.active_deployment()
        .is_some_and(|deployment| deployment.state == DeploymentState::ReleasePhase { pod: pod.id })
}

fn is_over(pod: &Pod, pass: &mut Pass<'_>) -> bool {
    if pod.has_exited() {
        let exit = pod
            .status
            .as_ref()
            .and_then(|status| status.last_exit.as_ref());
        let ended_at = exit.map_or(pod.created_at, |exit| exit.at);
        let kept = if pass.is_left(pod) {
            ONE_OFF_KEPT_LEFT_SECS
        } else {
            ONE_OFF_KEPT_SECS
        };
        return pass.reached(ended_at + Duration::seconds(kept));
    }
    let refused = matches!(
        &pod.status,
        Some(PodStatus {
            phase: PodPhase::Refused { .. },
            ..
        })
    ) && pass.reached(pod.created_at + Duration::seconds(REFUSED_PATIENCE_SECS));
    let unplaced = pod.unplaced.is_some()
        && pass.reached(pod.created_at + Duration::seconds(UNPLACED_PATIENCE_SECS));
    let slack = Duration::seconds(TIME_TO_LIVE_SLACK_SECS);
    refused
        || unplaced
        || pod
            .stop_at
            .is_some_and(|stop_at| pass.reached(stop_at + slack))
}
