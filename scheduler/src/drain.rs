//! The end of a pod: retired, drained, stopped, removed.
//!
//! The order rule: an agent is told to stop a pod only after every live router acknowledged a
//! table without it and has no request open to it, or [`DRAIN_DEADLINE_SECS`] after it was
//! retired. Nothing else in the planner stops a pod that may have had requests.

use chrono::Duration;

use crate::{
    action::Action,
    pass::Pass,
    snapshot::{App, Pod, PodIntent, Routers},
};

/// How long a retired pod may hold on to its open requests, in seconds. As long as the time that
/// Heroku gives a process between SIGTERM and SIGKILL; the pod's own stop grace comes on top.
pub const DRAIN_DEADLINE_SECS: i64 = 30;

/// Stops what has drained and removes what is no more.
pub(crate) fn stop(app: &App, pass: &mut Pass<'_>) {
    for pod in app.pods.values() {
        let id = pod.id;
        match pod.intent {
            PodIntent::Wanted => {}
            PodIntent::Retired { at, unrouted_in } => {
                let until = at + Duration::seconds(DRAIN_DEADLINE_SECS);
                if has_drained(pod, unrouted_in, pass) || pass.reached(until) {
                    pass.act(Action::Stop { pod: id });
                }
            }
            PodIntent::Stopping => {
                if pod.gone || pod.node.is_none() {
                    pass.act(Action::Remove { pod: id });
                }
            }
        }
    }
}

/// Takes a pod out of service: it leaves the table first if it may be in one.
pub(crate) fn retire(pod: &Pod, pass: &mut Pass<'_>) {
    let action = if pod.is_web() && pod.node.is_some() {
        Action::Retire {
            pod: pod.id,
            unrouted_in: pass.publish(),
        }
    } else {
        Action::Stop { pod: pod.id }
    };
    pass.act(action);
}

/// True when no router can have a request open to the pod.
fn has_drained(pod: &Pod, unrouted_in: u64, pass: &mut Pass<'_>) -> bool {
    if !pod.is_web() || pod.node.is_none() || pod.gone {
        return true;
    }
    // A router that has not reported yet since the controller started may still send requests.
    pass.reached(pass.routers.complete_at())
        && pass.routers.acknowledged(unrouted_in, pass.now)
        && nobody_waits_for(pod, pass.routers, pass)
}

fn nobody_waits_for(pod: &Pod, routers: &Routers, pass: &Pass<'_>) -> bool {
    routers
        .live(pass.now)
        .all(|router| router.draining.get(&pod.id).is_none_or(|&open| open == 0))
}
