//! What a pass has to tell people: lines in apps' logs, events, and the output of pushes.

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, BuildId},
    logs::{LogLine, LogSource},
    pods::{PodPhase, PodStatus},
};
use fairway_scheduler::{
    action::{Action, Plan},
    snapshot::DeploymentState,
};

use super::load::World;
use crate::{deploy::output, state::AppState, store::deployments::DeploymentRow};

/// Who speaks in log lines about an app as a whole.
const PLATFORM: &str = "platform";

/// An event for the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) kind: &'static str,
    pub(super) message: String,
}

/// What goes on the record.
pub(super) fn events(world: &World, plan: &Plan) -> Vec<(AppId, News)> {
    let crashes = world.news.iter().filter_map(|(id, status)| {
        let pod = world.pods.get(id)?;
        let news = crash(&pod.name, pod.status.as_ref(), status)?;
        Some((pod.app, news))
    });
    let deployments = plan.steps.iter().filter_map(|step| {
        let (deployment, version) = moved(world, &step.action)?;
        let Action::Advance { to, .. } = &step.action else {
            return None;
        };
        Some((deployment.app, ending(version, to)?))
    });
    crashes.chain(deployments).collect()
}

/// Writes log lines and the beginnings of deployments into the output of their pushes.
pub(super) async fn announce(state: &AppState, world: &World, plan: &Plan, now: DateTime<Utc>) {
    for (id, status) in &world.news {
        let Some(pod) = world.pods.get(id) else {
            continue;
        };
        for text in story(pod.status.as_ref(), status) {
            state.logs.append_app(LogLine {
                app: pod.app,
                at: now,
                source: LogSource::Fairway,
                process: pod.name.clone(),
                pod: Some(*id),
                text,
            });
        }
    }
    for step in &plan.steps {
        let Some((deployment, version)) = moved(world, &step.action) else {
            continue;
        };
        let Action::Advance { to, .. } = &step.action else {
            continue;
        };
        if let Some(news) = ending(version, to) {
            state.logs.append_app(LogLine {
                app: deployment.app,
                at: now,
                source: LogSource::Fairway,
                process: PLATFORM.into(),
                pod: None,
                text: news.message,
            });
        }
        let begins = deployment.state == DeploymentState::Queued && !to.has_ended();
        if let Some(build) = deployment.build.filter(|_| begins) {
            launch(state, world, build, deployment).await;
        }
    }
}

async fn launch(state: &AppState, world: &World, build: BuildId, deployment: &DeploymentRow) {
    let Some(release) = world.releases.get(&deployment.release) else {
        return;
    };
    let Some(image) = &release.image else { return };
    let lines = output::launching(image, release.version);
    if let Err(error) = state.build_output.append(build, lines).await {
        tracing::error!(%build, "cannot write a build's output: {error:#}");
    }
}

/// The deployment that an action moves, and the version of its release.
fn moved<'a>(world: &'a World, action: &Action) -> Option<(&'a DeploymentRow, u64)> {
    let (Action::Advance { deployment, .. } | Action::Switch { deployment, .. }) = action else {
        return None;
    };
    let deployment = world.deployments.get(deployment)?;
    Some((deployment, world.releases.get(&deployment.release)?.version))
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

/// What a pod's log says about a change of its status.
fn story(before: Option<&PodStatus>, status: &PodStatus) -> Vec<String> {
    if before.is_some_and(|it| it.phase == status.phase && it.restarts == status.restarts) {
        return vec![];
    }
    let was_up = before.is_some_and(|it| matches!(it.phase, PodPhase::Running { .. }));
    let exit = || {
        status
            .last_exit
            .as_ref()
            .map_or("ended".into(), ToString::to_string)
    };
    match &status.phase {
        PodPhase::Pending => vec![],
        PodPhase::Starting => vec!["Starting process".into()],
        PodPhase::Running { ready: true } if was_up => vec!["Ready again".into()],
        PodPhase::Running { ready: false } if was_up => match &status.check_failure {
            Some(failure) => vec![format!("Not ready: {failure}")],
            None => vec!["Not ready".into()],
        },
        PodPhase::Running { .. } => vec!["State changed from starting to up".into()],
        PodPhase::BackOff { until } => vec![
            format!("Process {}", exit()),
            format!(
                "State changed to crashed; next start at {}",
                until.format("%H:%M:%S")
            ),
        ],
        PodPhase::Stopping => vec!["Stopping".into()],
        PodPhase::Exited => vec![format!("Process {}", exit())],
        PodPhase::Refused { reason } => vec![format!("Could not be started: {reason}")],
        PodPhase::NeverReady => vec![format!("Process {}", not_ready(status))],
    }
}
