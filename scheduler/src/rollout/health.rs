//! What a new pod's status means for the deployment that waits for it.

use chrono::Duration;
use fairway_api::pods::{PodPhase, PodStatus};

use crate::{
    pass::Pass,
    snapshot::{Failure, Pod, PodKind, Release},
};

/// How long an agent may try in vain to start a pod, in seconds, before the deployment fails: long
/// enough for a registry's restart, short enough for whoever waits at a push.
pub const REFUSED_PATIENCE_SECS: i64 = 20;
/// How long a pod may wait for a machine with room, in seconds: longer than it takes until pods
/// that are being replaced have drained and stopped.
pub const UNPLACED_PATIENCE_SECS: i64 = 60;

/// The verdict on one pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    Up,
    Waiting,
    Failed(Failure),
}

/// Judges a new replica: one that crashed even once is a failure, since nobody should have to wait
/// for a second time to learn what the first one said.
pub(super) fn of_replica(pod: &Pod, release: &Release, pass: &mut Pass<'_>) -> Health {
    let Some(status) = &pod.status else {
        return unplaced(pod, pass);
    };
    match &status.phase {
        // Another takes its place, which says more of the release than a full disk does.
        PodPhase::Exited if pod.was_evicted() => Health::Waiting,
        PodPhase::Exited | PodPhase::BackOff { .. } => Health::Failed(crashed(pod, status)),
        PodPhase::NeverReady => Health::Failed(never_ready(pod, status, release)),
        PodPhase::Refused { reason } => refused(pod, reason, pass),
        _ if pod.is_up() => Health::Up,
        PodPhase::Starting | PodPhase::Running { .. } if status.restarts > 0 => {
            Health::Failed(crashed(pod, status))
        }
        PodPhase::Pending | PodPhase::Starting | PodPhase::Running { .. } | PodPhase::Stopping => {
            Health::Waiting
        }
    }
}

/// Judges a release phase: it is up once it has ended well.
pub(super) fn of_command(pod: &Pod, pass: &mut Pass<'_>) -> Health {
    let Some(status) = &pod.status else {
        return unplaced(pod, pass);
    };
    match &status.phase {
        PodPhase::Exited | PodPhase::NeverReady | PodPhase::BackOff { .. } => {
            match &status.last_exit {
                Some(exit) if exit.code == 0 && exit.stopped_because.is_none() => Health::Up,
                _ => Health::Failed(crashed(pod, status)),
            }
        }
        PodPhase::Refused { reason } => refused(pod, reason, pass),
        PodPhase::Pending | PodPhase::Starting | PodPhase::Running { .. } | PodPhase::Stopping => {
            Health::Waiting
        }
    }
}

/// The failure of a pod that was still on its way when its time was over.
pub(super) fn late(pod: &Pod, when: &str) -> Failure {
    let status = pod.status.as_ref();
    let doing = match status.map(|status| &status.phase) {
        None if pod.node.is_none() => "was still waiting for a machine",
        None | Some(PodPhase::Pending) => "was still being prepared",
        Some(PodPhase::Running { .. }) if pod.kind == PodKind::ReleasePhase => "was still running",
        Some(PodPhase::Running { .. }) => "was running but not ready",
        Some(_) => "was still starting",
    };
    let lines = status.map(evidence).unwrap_or_default();
    Failure {
        reason: format!("{} {doing} {when}", pod.name),
        lines,
    }
}

fn unplaced(pod: &Pod, pass: &mut Pass<'_>) -> Health {
    match &pod.unplaced {
        Some(why) if pass.reached(pod.created_at + Duration::seconds(UNPLACED_PATIENCE_SECS)) => {
            Health::Failed(Failure {
                reason: format!("{} fits on no machine", pod.name),
                lines: why.lines().map(Into::into).collect(),
            })
        }
        _ => Health::Waiting,
    }
}

fn refused(pod: &Pod, why: &str, pass: &mut Pass<'_>) -> Health {
    if pass.reached(pod.created_at + Duration::seconds(REFUSED_PATIENCE_SECS)) {
        let reason = format!("{} could not be started: {why}", pod.name);
        Health::Failed(Failure {
            reason,
            lines: vec![],
        })
    } else {
        Health::Waiting
    }
}

fn crashed(pod: &Pod, status: &PodStatus) -> Failure {
    let how = status
        .last_exit
        .as_ref()
        .map_or("ended".into(), ToString::to_string);
    Failure {
        reason: format!("{} {how}", pod.name),
        lines: evidence(status),
    }
}

fn never_ready(pod: &Pod, status: &PodStatus, release: &Release) -> Failure {
    let within_secs = release
        .types
        .get(&pod.process_type)
        .map_or(0, |of_type| of_type.startup_deadline_secs);
    let why = match &status.check_failure {
        Some(failure) => format!(": {failure}"),
        None => String::new(),
    };
    let reason = format!("{} was not ready within {within_secs} s{why}", pod.name);
    Failure {
        reason,
        lines: evidence(status),
    }
}

/// What a status has to show for itself: the response to a failing check, then the last output.
fn evidence(status: &PodStatus) -> Vec<String> {
    let response = status
        .check_failure
        .iter()
        .flat_map(|failure| &failure.response);
    let output = status.last_exit.iter().flat_map(|exit| &exit.last_lines);
    response
        .flat_map(|text| text.lines())
        .map(Into::into)
        .chain(output.cloned())
        .collect()
}
