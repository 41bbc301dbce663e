//! What a pass has to tell people: lines in apps' logs, events, and the output of pushes.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, BuildId},
    logs::{LogLine, LogSource},
    names::NodeName,
    phases::Phase,
    pods::{PodPhase, PodStatus},
};
use fairway_scheduler::{
    action::{Action, Decision, Step},
    failure::MassFailure,
    snapshot::{DeploymentState, Pod},
};

use super::world::World;
use crate::{
    deploy::{one_off::OneOff, output},
    state::AppState,
    store::{StoreError, deployments::DeploymentRow, events as record},
};

/// Who speaks in log lines about an app as a whole.
const PLATFORM: &str = "platform";

/// An event for the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) kind: &'static str,
    pub(super) message: String,
}

/// What goes on the record.
pub(super) fn events(world: &World, decision: &Decision) -> Vec<(AppId, News)> {
    let apps = &world.planner.snapshot().apps;
    let crashes = world.news.pods.iter().filter_map(|(id, (app, before))| {
        let pods = apps.get(app).map(|app| &app.pods);
        let pod = pods
            .and_then(|pods| pods.get(id))
            .or_else(|| decision.removed.get(id))?;
        let news = crash(&pod.name, before.as_ref(), pod.status.as_ref()?)?;
        Some((*app, news))
    });
    let deployments = decision.steps.iter().filter_map(|step| {
        let (deployment, version) = moved(world, step)?;
        let Action::Advance { to, .. } = &step.action else {
            return None;
        };
        Some((deployment.app, ending(version, to)?))
    });
    crashes.chain(deployments).collect()
}

/// Writes log lines of releases and the beginnings of deployments into the output of their pushes.
/// What happens to a pod its agent tells, since it sees it first and also when we are away.
pub(super) async fn announce(
    state: &AppState,
    world: &World,
    decision: &Decision,
    now: DateTime<Utc>,
) {
    measure(world, decision, now);
    let mut told = HashSet::new();
    for step in &decision.steps {
        let Some((deployment, version)) = moved(world, step) else {
            continue;
        };
        let Action::Advance { to, .. } = &step.action else {
            continue;
        };
        if let Some(news) = ending(version, to) {
            let app = world.apps.get(&deployment.app);
            let app = app.map(|app| app.row.name.as_str());
            tracing::info!(app, "{}", news.message);
            state.logs.append_app(LogLine {
                app: deployment.app,
                at: now,
                source: LogSource::Fairway,
                process: PLATFORM.into(),
                pod: None,
                text: news.message,
            });
        }
        // One plan may take a deployment through several states; its push is told once.
        if let (Some(build), true) = (deployment.build, told.insert(deployment.id)) {
            print(state, build, &progress(world, deployment, to)).await;
        }
    }
    for step in &decision.steps {
        if let Action::Remove { pod } = &step.action
            && let Some(pod) = decision.removed.get(pod)
        {
            nobody_comes(state, world, step.app, pod);
        }
    }
}

/// Logs how long deployments were in the states that they leave.
fn measure(world: &World, decision: &Decision, now: DateTime<Utc>) {
    let mut left = HashSet::new();
    for step in &decision.steps {
        let Some((deployment, _)) = moved(world, step) else {
            continue;
        };
        // One pass may take a deployment through several states, in no time.
        if !left.insert(deployment.id) {
            continue;
        }
        let phase = match &deployment.state {
            DeploymentState::Queued => Phase::ReleaseQueue,
            DeploymentState::ReleasePhase { .. } => Phase::ReleasePhase,
            DeploymentState::Starting => Phase::Start,
            DeploymentState::Switching { .. } => Phase::Flip,
            DeploymentState::Succeeded
            | DeploymentState::Failed { .. }
            | DeploymentState::Superseded { .. } => continue,
        };
        let took = (now - deployment.updated_at).to_std();
        phase.log(deployment.release, took.unwrap_or_default());
    }
}

/// What a pusher reads when a deployment leaves its state and goes on.
fn progress(world: &World, deployment: &DeploymentRow, to: &DeploymentState) -> String {
    let release = world.release(deployment.app, deployment.release);
    match &deployment.state {
        _ if to.has_ended() => String::new(),
        DeploymentState::Queued => release
            .and_then(|release| Some(output::launching(release.image.as_ref()?, release.version)))
            .unwrap_or_default(),
        DeploymentState::ReleasePhase { pod } => {
            let app = world.planner.snapshot().apps.get(&deployment.app);
            let status = app.and_then(|app| app.pods.get(pod)?.status.as_ref());
            let exit = status.and_then(|status| status.last_exit.as_ref());
            output::release_phase(exit.map_or(&[], |exit| &exit.last_lines))
        }
        _ => String::new(),
    }
}

/// How many machines a message names.
const NAMES_MAX: usize = 5;

/// Puts on the record that the pods of machines that vanished together are not replaced yet, and
/// that they are no longer waited for. `told` are the machines that the last call knew of.
pub(super) async fn mass_failure(
    state: &AppState,
    told: &mut BTreeSet<NodeName>,
    now: &MassFailure,
) -> Result<(), StoreError> {
    if *told == now.machines {
        return Ok(());
    }
    let News { kind, message } = silence(now);
    tracing::warn!("{message}");
    let mut tx = state.store.write_relaxed().await?;
    record::record(&mut tx, None, record::ACTOR_PLATFORM, kind, &message).await?;
    tx.commit().await?;
    told.clone_from(&now.machines);
    Ok(())
}

fn silence(failure: &MassFailure) -> News {
    let Some(until) = failure.until else {
        return News {
            kind: "nodes.mass-failure-over",
            message: "Machines that fell silent together are no longer waited for.".into(),
        };
    };
    let count = failure.machines.len();
    let names = failure.machines.iter().take(NAMES_MAX);
    let names: Vec<_> = names.map(NodeName::as_str).collect();
    let more = if count > NAMES_MAX { " ..." } else { "" };
    News {
        kind: "nodes.mass-failure",
        message: format!(
            "{count} machines fell silent together ({}{more}); their pods are not replaced before \
             {} UTC. Remove machines that will not come back.",
            names.join(", "),
            until.format("%H:%M:%S"),
        ),
    }
}

async fn print(state: &AppState, build: BuildId, lines: &str) {
    if lines.is_empty() {
        return;
    }
    if let Err(error) = state.build_output.append(build, lines.to_owned()).await {
        tracing::error!(%build, "cannot write a build's output: {error:#}");
    }
}

/// Tells a terminal that still waits for a one-off pod that the pod is no more.
fn nobody_comes(state: &AppState, world: &World, app: AppId, pod: &Pod) {
    let known = world.apps.get(&app);
    let Some(sealed) = known.and_then(|known| known.one_offs.get(&pod.id)) else {
        return;
    };
    let attach = OneOff::open(sealed, &state.secrets, pod.id)
        .ok()
        .and_then(|it| it.attach);
    let Some(attach) = attach else { return };
    let why = match pod.status.as_ref().map(|status| &status.phase) {
        Some(PodPhase::Refused { reason }) => format!("could not be started: {reason}"),
        _ if pod.node.is_none() => {
            let why = pod
                .unplaced
                .clone()
                .unwrap_or_else(|| "there is no machine".into());
            format!("fits on no machine: {why}")
        }
        _ => "was stopped".into(),
    };
    state.attach.fail(attach.id, &format!("{} {why}", pod.name));
}

/// The deployment that a step moves, and the version of its release.
fn moved<'a>(world: &'a World, step: &Step) -> Option<(&'a DeploymentRow, u64)> {
    let (Action::Advance { deployment, .. } | Action::Switch { deployment, .. }) = &step.action
    else {
        return None;
    };
    let deployment = world.deployment(step.app, *deployment)?;
    let release = world.release(step.app, deployment.release)?;
    Some((deployment, release.version))
}

fn ending(version: u64, to: &DeploymentState) -> Option<News> {
    Some(match to {
        DeploymentState::Succeeded => News {
            kind: "deployment.succeeded",
            message: format!("Release v{version} is live"),
        },
        DeploymentState::Failed { failure } => News {
            kind: "deployment.failed",
            message: format!("Release v{version} failed: {}", failure.reason),
        },
        DeploymentState::Superseded { by } => News {
            kind: "deployment.superseded",
            message: format!("Release v{version} was superseded by v{by}"),
        },
        DeploymentState::Queued
        | DeploymentState::ReleasePhase { .. }
        | DeploymentState::Starting
        | DeploymentState::Switching { .. } => return None,
    })
}

/// A pod that stopped doing its work by itself.
fn crash(name: &str, before: Option<&PodStatus>, status: &PodStatus) -> Option<News> {
    let was = before.map(|before| (std::mem::discriminant(&before.phase), before.restarts));
    if was == Some((std::mem::discriminant(&status.phase), status.restarts)) {
        return None;
    }
    let exit = || {
        status
            .last_exit
            .as_ref()
            .map_or("ended".into(), ToString::to_string)
    };
    let (kind, message) = match &status.phase {
        PodPhase::BackOff { .. } => ("pod.crashed", format!("{name} {}", exit())),
        PodPhase::NeverReady => ("pod.never-ready", format!("{name} {}", not_ready(status))),
        PodPhase::Refused { reason } => (
            "pod.refused",
            format!("{name} could not be started: {reason}"),
        ),
        _ => return None,
    };
    Some(News { kind, message })
}

fn not_ready(status: &PodStatus) -> String {
    match &status.check_failure {
        Some(failure) => format!("did not become ready: {failure}"),
        None => "did not become ready in time".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mass_failure_is_told_in_a_bounded_sentence() {
        let until = Some(DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(600));
        let machines = (1..=9).map(|n| format!("n{n}").parse().unwrap()).collect();
        assert_eq!(
            silence(&MassFailure { machines, until }).message,
            "9 machines fell silent together (n1, n2, n3, n4, n5 ...); their pods are not replaced \
             before 00:10:00 UTC. Remove machines that will not come back."
        );
        let over = silence(&MassFailure::default());
        assert_eq!(over.kind, "nodes.mass-failure-over");
    }
}
