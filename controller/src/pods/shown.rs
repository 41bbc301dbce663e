//! A pod in the words of the Platform API. Pure.

use fairway_api::{
    dynos::{Dyno, DynoRelease, DynoState},
    pods::{PodPhase, PodStatus},
};
use fairway_scheduler::snapshot::{PodIntent, PodKind};

use crate::{
    deploy::one_off::OneOff,
    store::{apps::AppRow, pods::PodRow, releases::ReleaseRow},
};

/// The pod as users see it.
pub(super) fn dyno(
    app: &AppRow,
    pod: &PodRow,
    release: &ReleaseRow,
    one_off: Option<&OneOff>,
    superseded: bool,
) -> Dyno {
    let processes = release.image.as_ref().map(|image| &image.processes);
    let process = processes.and_then(|processes| processes.get(&pod.process_type));
    let command = match one_off {
        Some(one_off) => one_off.command.clone(),
        None => process
            .map(|process| process.command_line.clone())
            .unwrap_or_default(),
    };
    Dyno {
        id: pod.id,
        app: app.app(),
        name: pod.name.clone(),
        process_type: match pod.kind {
            PodKind::Run | PodKind::Job => "run".into(),
            PodKind::Service | PodKind::ReleasePhase => pod.process_type.to_string(),
        },
        command,
        size: pod.size.clone(),
        state: state(pod),
        release: DynoRelease {
            id: release.id,
            version: release.version,
        },
        attach_url: None,
        reason: reason(pod),
        restarts: pod.status.as_ref().map_or(0, |status| status.restarts),
        exit_code: exit_code(pod),
        superseded,
        node: pod.node.clone(),
        created_at: pod.created_at,
        updated_at: pod.updated_at,
    }
}

pub(super) fn state(pod: &PodRow) -> DynoState {
    let phase = pod.status.as_ref().map(|status| &status.phase);
    match (phase, pod.intent) {
        (Some(PodPhase::Exited), _) => DynoState::Down,
        (_, PodIntent::Stopping) | (Some(PodPhase::Stopping), _) => DynoState::Stopping,
        (Some(PodPhase::Running { .. }), _) => DynoState::Up,
        (Some(PodPhase::BackOff { .. } | PodPhase::NeverReady | PodPhase::Refused { .. }), _) => {
            DynoState::Crashed
        }
        (None, _) if pod.unplaced.is_some() => DynoState::Down,
        (None | Some(PodPhase::Pending | PodPhase::Starting), _) => DynoState::Starting,
    }
}

fn reason(pod: &PodRow) -> Option<String> {
    let Some(status) = &pod.status else {
        return pod.unplaced.clone();
    };
    let exit = status.last_exit.as_ref().map(ToString::to_string);
    let check = status.check_failure.as_ref().map(ToString::to_string);
    match &status.phase {
        PodPhase::Refused { reason } => Some(reason.clone()),
        PodPhase::NeverReady => check.or(exit),
        PodPhase::BackOff { .. } | PodPhase::Exited | PodPhase::Stopping => exit,
        PodPhase::Running { ready: true } => None,
        PodPhase::Running { ready: false } => check,
        PodPhase::Pending | PodPhase::Starting if status.restarts > 0 => exit,
        PodPhase::Pending | PodPhase::Starting => check,
    }
}

fn exit_code(pod: &PodRow) -> Option<i32> {
    let ended = |status: &&PodStatus| status.phase == PodPhase::Exited;
    let status = pod.status.as_ref().filter(ended)?;
    i32::try_from(status.last_exit.as_ref()?.code).ok()
}

#[cfg(test)]
mod tests;
