//! What a pass has to tell people: lines in apps' logs, events, and the output of pushes.

mod deployments;
mod pods;

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use fairway_api::{
    apps::AppRef,
    events::Cause,
    ids::{AppId, BuildId},
    logs::{LogLine, LogSource},
    names::NodeName,
    pods::PodPhase,
};
use fairway_scheduler::{
    action::{Action, Decision},
    failure::MassFailure,
    snapshot::{DeploymentState, Pod},
};

use self::deployments::Move;
use super::{runs, world::World};
use crate::{
    deploy::{one_off::OneOff, output},
    state::AppState,
    store::{
        StoreError, columns,
        deployments::DeploymentRow,
        events::{self as record, Observed},
    },
};

/// Who speaks in log lines about an app as a whole.
const PLATFORM: &str = "platform";

/// An event for the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// The pod that it is about, by name, or the process type of several.
    pub(super) pod: Option<String>,
    pub(super) cause: Option<Cause>,
}

impl News {
    /// Something that is not about pods.
    pub(super) fn told(kind: &'static str, message: String) -> Self {
        Self {
            kind,
            message,
            pod: None,
            cause: None,
        }
    }

    /// As the record takes it.
    pub(super) fn of<'a>(&'a self, app: Option<&'a AppRef>) -> Observed<'a> {
        Observed {
            app,
            kind: self.kind,
            message: &self.message,
            pod: self.pod.as_deref(),
            cause: self.cause.as_ref(),
        }
    }
}

/// What goes on the record.
pub(super) fn events(world: &World, decision: &Decision) -> Vec<(AppId, News)> {
    let apps = &world.planner.snapshot().apps;
    let heard = world.news.pods.iter().flat_map(|(id, (app, before))| {
        let pods = apps.get(app).map(|app| &app.pods);
        let pod = pods
            .and_then(|pods| pods.get(id))
            .or_else(|| decision.removed.get(id));
        let status = pod.and_then(|pod| Some((pod, pod.status.as_ref()?)));
        let news = status.map(|(pod, status)| pods::heard(pod, before.as_ref(), status));
        news.into_iter().flatten().map(|news| (*app, news))
    });
    let deployments = moves(world, decision).into_iter();
    let deployments =
        deployments.filter_map(|it| Some((it.deployment.app, deployments::news(&it)?)));
    let decided = pods::decided(world, decision);
    heard.chain(decided).chain(deployments).collect()
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
    let say = |app, process: String, text| {
        state.logs.append_app(LogLine {
            app,
            at: now,
            source: LogSource::Fairway,
            process,
            pod: None,
            text,
        });
    };
    for (app, news) in pods::decided(world, decision) {
        say(app, news.pod.unwrap_or(PLATFORM.into()), news.message);
    }
    let mut begun = HashSet::new();
    for it in moves(world, decision) {
        let deployment = it.deployment;
        if let Some(news) = deployments::news(&it) {
            let app = world.apps.get(&deployment.app);
            let app = app.map(|app| app.row.name.as_str());
            tracing::info!(app, "{}", news.message);
            say(deployment.app, PLATFORM.into(), news.message);
        }
        let Some(build) = deployment.build else {
            continue;
        };
        // One plan may take a deployment through several states; what it leaves is told once.
        if begun.insert(deployment.id) {
            print(state, build, &progress(world, deployment, it.to)).await;
        }
        print(state, build, &deployments::lines(&it, now)).await;
    }
    for step in &decision.steps {
        if let Action::Job(action) = &step.action
            && let Some((process, text)) = runs::last_line(world, step.app, action)
        {
            say(step.app, process, text);
        }
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
    for it in moves(world, decision) {
        // One pass may take a deployment through several states, in no time.
        if !left.insert(it.deployment.id) {
            continue;
        }
        if let Some(phase) = deployments::phase(&it.deployment.state) {
            let took = (now - it.deployment.updated_at).to_std();
            phase.log(it.deployment.release, took.unwrap_or_default());
        }
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
    state.cluster.hold(now.clone());
    let news = silence(now);
    tracing::warn!("{}", news.message);
    let mut tx = state.store.write_relaxed().await?;
    record::observe(&mut tx, &news.of(None), columns::now()).await?;
    tx.commit().await?;
    told.clone_from(&now.machines);
    Ok(())
}

fn silence(failure: &MassFailure) -> News {
    let Some(until) = failure.until else {
        return News::told(
            "nodes.mass-failure-over",
            "Machines that fell silent together are no longer waited for.".into(),
        );
    };
    let count = failure.machines.len();
    let names = failure.machines.iter().take(NAMES_MAX);
    let names: Vec<_> = names.map(NodeName::as_str).collect();
    let more = if count > NAMES_MAX { " ..." } else { "" };
    let message = format!(
        "{count} machines fell silent together ({}{more}); their pods are not replaced before \
         {} UTC. Remove machines that will not come back.",
        names.join(", "),
        until.format("%H:%M:%S"),
    );
    News::told("nodes.mass-failure", message)
}

/// What goes on the record of machines that were lost or came back.
pub(super) fn of_machines(world: &World) -> Vec<News> {
    let news = world.news.machines.iter().map(|(node, lost)| {
        let node = node.clone();
        if !lost {
            return News::told("node.returned", format!("Machine {node} reports again."));
        }
        let message = format!("Machine {node} is lost: its agent does not report.");
        News {
            cause: Some(Cause::LostMachine { node }),
            ..News::told("node.lost", message)
        }
    });
    news.collect()
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

/// The moves of deployments, in order.
fn moves<'a>(world: &'a World, decision: &'a Decision) -> Vec<Move<'a>> {
    let mut moves: Vec<Move<'_>> = Vec::new();
    for step in &decision.steps {
        let (Action::Advance {
            deployment,
            to,
            deadline_at,
        }
        | Action::Switch {
            deployment,
            to,
            deadline_at,
            ..
        }) = &step.action
        else {
            continue;
        };
        let Some(deployment) = world.deployment(step.app, *deployment) else {
            continue;
        };
        let Some(release) = world.release(step.app, deployment.release) else {
            continue;
        };
        let before = moves.iter().rfind(|it| it.deployment.id == deployment.id);
        let from = before.map_or(&deployment.state, |it| it.to);
        let app = world.planner.snapshot().apps.get(&step.app);
        let planned = app.and_then(|app| app.releases.get(&release.id));
        let wanted = app.zip(planned).map(|(app, release)| app.wanted(release));
        let pods = wanted.map_or(0, |it| it.values().map(|want| want.quantity).sum());
        moves.push(Move {
            deployment,
            version: release.version,
            pods,
            from,
            to,
            deadline_at: *deadline_at,
        });
    }
    moves
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
