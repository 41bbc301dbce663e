//! A pod in the words of the Platform API. Pure.

use fairway_api::{
    dynos::{Dyno, DynoContainer, DynoRelease, DynoState},
    pods::{ContainerStatus, PodPhase, PodStatus},
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
    let command_of_main = command.as_str();
    Dyno {
        id: pod.id,
        app: app.app(),
        name: pod.name.clone(),
        process_type: match pod.kind {
            PodKind::Run | PodKind::Job => "run".into(),
            PodKind::Service | PodKind::ReleasePhase => pod.process_type.to_string(),
        },
        command: command.clone(),
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
        containers: containers(pod, release, command_of_main),
        created_at: pod.created_at,
        updated_at: pod.updated_at,
    }
}

/// The containers of a pod that has several, as last reported.
fn containers(pod: &PodRow, release: &ReleaseRow, main: &str) -> Vec<DynoContainer> {
    let Some(status) = &pod.status else {
        return vec![];
    };
    let image = release.image.as_ref();
    let container = |it: &ContainerStatus| {
        let sidecars = image.into_iter().flat_map(|it| &it.sidecars.containers);
        let sidecar = sidecars.into_iter().find(|sidecar| sidecar.name == it.name);
        DynoContainer {
            name: it.name.clone(),
            state: state_of(&it.phase),
            reason: reason_of(it),
            restarts: it.restarts,
            command: sidecar.map_or_else(|| main.to_owned(), |it| it.command_line.clone()),
            image: sidecar.and_then(|it| it.image_name.clone()),
        }
    };
    status.containers.iter().map(container).collect()
}

fn state_of(phase: &PodPhase) -> DynoState {
    match phase {
        PodPhase::Exited => DynoState::Down,
        PodPhase::Stopping => DynoState::Stopping,
        PodPhase::Running { .. } => DynoState::Up,
        PodPhase::BackOff { .. } | PodPhase::NeverReady | PodPhase::Refused { .. } => {
            DynoState::Crashed
        }
        PodPhase::Pending | PodPhase::Starting => DynoState::Starting,
    }
}

/// Why one container is as it is; nothing for one that does its work.
fn reason_of(container: &ContainerStatus) -> Option<String> {
    let exit = container.last_exit.as_ref().map(ToString::to_string);
    let check = container.check_failure.as_ref().map(ToString::to_string);
    match &container.phase {
        PodPhase::Refused { reason } => Some(reason.clone()),
        PodPhase::NeverReady => check.or(exit),
        PodPhase::BackOff { .. } | PodPhase::Exited | PodPhase::Stopping => exit,
        PodPhase::Running { ready: true } => None,
        PodPhase::Running { ready: false } => check,
        PodPhase::Pending | PodPhase::Starting if container.restarts > 0 => exit.or(check),
        PodPhase::Pending | PodPhase::Starting => check,
    }
}

pub(super) fn state(pod: &PodRow) -> DynoState {
    let phase = pod.status.as_ref().map(|status| &status.phase);
    match (phase, pod.intent) {
        (Some(PodPhase::Exited), _) => DynoState::Down,
        (_, PodIntent::Stopping) => DynoState::Stopping,
        (Some(phase), _) => state_of(phase),
        (None, _) if pod.unplaced.is_some() => DynoState::Down,
        (None, _) => DynoState::Starting,
    }
}

fn reason(pod: &PodRow) -> Option<String> {
    let Some(status) = &pod.status else {
        return pod.unplaced.clone();
    };
    if let Some(reason) = reason_of_company(status) {
        return Some(reason);
    }
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

/// Which of several containers keeps the pod from its work, and why; the main one's own reason is
/// the pod's.
fn reason_of_company(status: &PodStatus) -> Option<String> {
    let well = matches!(
        status.phase,
        PodPhase::Running { ready: true } | PodPhase::Exited | PodPhase::Stopping
    );
    let mut sidecars = status.containers.iter().filter(|it| !it.name.is_main());
    let (name, reason) = sidecars.find_map(|it| Some((&it.name, reason_of(it)?)))?;
    (!well).then(|| format!("{name}: {reason}"))
}

fn exit_code(pod: &PodRow) -> Option<i32> {
    let ended = |status: &&PodStatus| status.phase == PodPhase::Exited;
    let status = pod.status.as_ref().filter(ended)?;
    i32::try_from(status.last_exit.as_ref()?.code).ok()
}

#[cfg(test)]
mod tests;
