//! What is told of pods: what their agents saw ([`heard`]), and what was decided about where they
//! run ([`decided`]). Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fairway_api::{
    checks::CheckKind,
    events::{Cause, NodeReason, PreemptedBy},
    ids::{AppId, PodId},
    names::{ContainerName, NodeName, ProcessType},
    pods::{CheckFailure, ContainerStatus, Exit, PodPhase, PodStatus, STOPPED_BY_CHECK},
    sizes::{self, SIZE_DEFAULT},
};
use fairway_scheduler::{
    action::{Decision, MoveReason},
    snapshot::{App, Pod},
};

use super::News;
use crate::reconcile::world::World;

/// A pause before the next start from which on it is told by itself, in seconds: shorter ones come
/// with the crash.
const BACK_OFF_TOLD_SECS: i64 = 10;
/// How many pods a message names.
const PODS_NAMED_MAX: usize = 3;

/// What is looked at of a pod's only container, or of one of several.
#[derive(Clone, Copy)]
struct Seen<'a> {
    phase: &'a PodPhase,
    restarts: u32,
    last_exit: Option<&'a Exit>,
    check_failure: Option<&'a CheckFailure>,
}

impl<'a> From<&'a PodStatus> for Seen<'a> {
    fn from(status: &'a PodStatus) -> Self {
        Self {
            phase: &status.phase,
            restarts: status.restarts,
            last_exit: status.last_exit.as_ref(),
            check_failure: status.check_failure.as_ref(),
        }
    }
}

impl<'a> From<&'a ContainerStatus> for Seen<'a> {
    fn from(status: &'a ContainerStatus) -> Self {
        Self {
            phase: &status.phase,
            restarts: status.restarts,
            last_exit: status.last_exit.as_ref(),
            check_failure: status.check_failure.as_ref(),
        }
    }
}

/// Which container of which pod it is about.
struct About<'a> {
    pod: &'a Pod,
    container: &'a ContainerName,
    /// `web.1`, or `web.1/proxy` for a sidecar.
    name: String,
}

/// What a pod's new status tells: that it stopped doing its work by itself. Of a pod with several
/// containers each is told of by its own name, `web.1/proxy`.
pub(super) fn heard(pod: &Pod, before: Option<&PodStatus>, status: &PodStatus) -> Vec<News> {
    if status.containers.is_empty() {
        let about = About {
            pod,
            container: &ContainerName::main(),
            name: pod.name.clone(),
        };
        return heard_of(&about, before.map(Into::into), status.into());
    }
    let news = status.containers.iter().flat_map(|now| {
        let then = before.into_iter().flat_map(|before| &before.containers);
        let then = then.into_iter().find(|it| it.name == now.name);
        let about = About {
            pod,
            container: &now.name,
            name: match now.name.is_main() {
                true => pod.name.clone(),
                false => format!("{}/{}", pod.name, now.name),
            },
        };
        heard_of(&about, then.map(Into::into), now.into())
    });
    news.collect()
}

fn heard_of(about: &About<'_>, before: Option<Seen<'_>>, now: Seen<'_>) -> Vec<News> {
    let state = |it: Seen<'_>| {
        let is_ready = matches!(it.phase, PodPhase::Running { ready: true });
        (std::mem::discriminant(it.phase), it.restarts, is_ready)
    };
    if before.map(state) == Some(state(now)) {
        return vec![];
    }
    let name = &about.name;
    match now.phase {
        PodPhase::BackOff { until } => crashed(about, now, *until),
        PodPhase::NeverReady => {
            let cause = now.check_failure;
            let cause = cause.map(|it| check_failed(it, CheckKind::Startup));
            let message = not_ready(name, now.check_failure);
            vec![about.news("pod.never-ready", message, cause)]
        }
        PodPhase::Running { ready: false } => {
            let news = now.check_failure.iter().map(|failure| {
                let cause = Some(check_failed(failure, CheckKind::Readiness));
                let message = format!("{name} gets no requests: {failure}");
                about.news("pod.not-ready", message, cause)
            });
            news.collect()
        }
        PodPhase::Refused { reason } => {
            let message = format!("{name} could not be started: {reason}");
            let reason = reason.clone();
            let cause = if now.phase.lacks_image() {
                Cause::ImagePullFailed { reason }
            } else {
                Cause::StartFailed { reason }
            };
            vec![about.news("pod.refused", message, Some(cause))]
        }
        PodPhase::Exited => exited(about, now).into_iter().collect(),
        _ => vec![],
    }
}

impl About<'_> {
    fn news(&self, kind: &'static str, message: String, cause: Option<Cause>) -> News {
        News {
            kind,
            message,
            pod: Some(self.pod.name.clone()),
            cause,
        }
    }
}

/// It ended and starts again; a long pause is told by itself.
fn crashed(about: &About<'_>, now: Seen<'_>, until: DateTime<Utc>) -> Vec<News> {
    let name = &about.name;
    let message = format!("{name} {}", ended(now));
    let crash = about.news("pod.crashed", message, ending(about, now));
    let ended_at = now.last_exit.map(|exit| exit.at);
    let pause = ended_at.map_or(0, |at| (until - at).num_seconds());
    let waits = (pause >= BACK_OFF_TOLD_SECS).then(|| {
        let restarts = now.restarts;
        let cause = Cause::BackOff { restarts, until };
        let message = format!("{name} keeps crashing: it starts again in {pause} s");
        about.news("pod.back-off", message, Some(cause))
    });
    [crash].into_iter().chain(waits).collect()
}

/// How commands end stands with their runs; what cut one off is told here too.
fn exited(about: &About<'_>, now: Seen<'_>) -> Option<News> {
    let cause = ending(about, now)?;
    let kind = match cause {
        Cause::Evicted { .. } => "pod.evicted",
        Cause::OutOfMemory { .. } | Cause::Signal { .. } => "pod.killed",
        _ => return None,
    };
    let message = format!("{} {}", about.name, ended(now));
    Some(about.news(kind, message, Some(cause)))
}

fn ended(now: Seen<'_>) -> String {
    now.last_exit.map_or("ended".into(), ToString::to_string)
}

fn not_ready(name: &str, failure: Option<&CheckFailure>) -> String {
    match failure {
        Some(failure) => format!("{name} did not become ready: {failure}"),
        None => format!("{name} did not become ready in time"),
    }
}

/// Why its last process ended.
fn ending(about: &About<'_>, now: Seen<'_>) -> Option<Cause> {
    let exit = now.last_exit?;
    if exit.out_of_memory {
        let is_main = about.container.is_main();
        return Some(Cause::OutOfMemory {
            container: about.container.to_string(),
            limit_bytes: is_main.then(|| memory(about.pod)),
        });
    }
    if let Some(why) = &exit.stopped_because {
        return Some(stopped(about.pod, now, exit, why));
    }
    Some(match exit.signal() {
        Some((number, name)) => Cause::Signal {
            number,
            name: name.map(Into::into),
        },
        None => Cause::Exit { code: exit.code },
    })
}

/// What the agent ended.
fn stopped(pod: &Pod, now: Seen<'_>, exit: &Exit, why: &str) -> Cause {
    match (now.check_failure, &pod.node) {
        (Some(failure), _) if why == STOPPED_BY_CHECK => check_failed(failure, CheckKind::Liveness),
        (_, Some(node)) if exit.is_eviction() => Cause::Evicted {
            node: node.clone(),
            why: why.into(),
        },
        _ => Cause::Stopped { why: why.into() },
    }
}

/// `usual` is what it must have been if an older agent does not say.
fn check_failed(failure: &CheckFailure, usual: CheckKind) -> Cause {
    Cause::CheckFailed {
        check: failure.kind.unwrap_or(usual),
        asked: failure.check.clone(),
        why: failure.why.clone(),
        response: failure.response.clone(),
    }
}

fn memory(pod: &Pod) -> u64 {
    let size = sizes::find(pod.size.as_str()).or_else(|| sizes::find(SIZE_DEFAULT));
    size.map_or(0, |size| size.resources.memory_bytes)
}

/// What a decision tells of where pods run: that they fit nowhere, or leave their machines. Pods of
/// one process type that share the reason are told of together, so that the end of a machine is a
/// few events and not one for each pod. No agent tells it, so it goes into the app's log too.
pub(super) fn decided(world: &World, decision: &Decision) -> Vec<(AppId, News)> {
    let mut news = unplaced(world);
    let mut groups: BTreeMap<(AppId, &ProcessType, &NodeName, &MoveReason), Vec<&str>> =
        BTreeMap::new();
    for it in &decision.moved {
        let key = (it.app, &it.process_type, &it.node, &it.why);
        groups.entry(key).or_default().push(&it.name);
    }
    let apps = &world.planner.snapshot().apps;
    for ((app, process_type, node, why), names) in groups {
        let told = moved(apps, app, node, why, &names);
        news.push((app, about(process_type, &names, told)));
    }
    news
}

fn unplaced(world: &World) -> Vec<(AppId, News)> {
    let apps = &world.planner.snapshot().apps;
    let mut groups: BTreeMap<(AppId, &ProcessType, &str), Vec<&str>> = BTreeMap::new();
    for (app, pod) in &world.news.unplaced {
        let pod = apps.get(app).and_then(|app| app.pods.get(pod));
        // It may have found room in the same plan.
        let Some(pod) = pod.filter(|pod| pod.node.is_none()) else {
            continue;
        };
        let Some(why) = pod.unplaced.as_deref() else {
            continue;
        };
        let key = (*app, &pod.process_type, why);
        groups.entry(key).or_default().push(&pod.name);
    }
    let news = groups.into_iter().map(|((app, process_type, why), names)| {
        let reasons = NodeReason::of_lines(why);
        let lines: Vec<_> = why.lines().collect();
        let message = format!("{} fit on no machine: {}", named(&names), lines.join("; "));
        let told = ("pod.unplaced", message, Cause::Unplaced { reasons });
        (app, about(process_type, &names, told))
    });
    news.collect()
}

fn moved(
    apps: &BTreeMap<AppId, App>,
    app: AppId,
    node: &NodeName,
    why: &MoveReason,
    names: &[&str],
) -> (&'static str, String, Cause) {
    let of = named(names);
    let node = node.clone();
    match why {
        MoveReason::Lost => (
            "pod.moved",
            format!("{of} get replaced: machine {node} is lost"),
            Cause::LostMachine { node },
        ),
        MoveReason::Drained => (
            "pod.moved",
            format!("{of} get replaced: machine {node} is drained"),
            Cause::Drained { node },
        ),
        MoveReason::Tainted(taint) => (
            "pod.evicted",
            format!("{of} get replaced: the taint {taint} of machine {node} drives them away"),
            Cause::Evicted {
                node,
                why: format!("taint {taint}"),
            },
        ),
        MoveReason::Preempted { app: by, pod } => {
            let by = preemptor(apps, app, *by, *pod);
            let own = by.app.is_some();
            let whose = if own { by.name.as_str() } else { "a pod" };
            (
                "pod.preempted",
                format!("{of} made room on machine {node} for {whose} of higher priority"),
                Cause::Preempted { node, by },
            )
        }
    }
}

/// Names are told only to the app whose pod it is.
fn preemptor(apps: &BTreeMap<AppId, App>, to: AppId, app: AppId, pod: PodId) -> PreemptedBy {
    let of = apps.get(&app).filter(|_| app == to);
    let known = of.and_then(|of| of.pods.get(&pod));
    PreemptedBy {
        id: pod,
        name: known.map(|pod| pod.name.clone()).unwrap_or_default(),
        app: of.map(|of| of.name.clone()),
    }
}

/// One pod by its name, several by their process type.
fn about(
    process_type: &ProcessType,
    names: &[&str],
    (kind, message, cause): (&'static str, String, Cause),
) -> News {
    let one = match names {
        [name] => (*name).to_owned(),
        _ => process_type.to_string(),
    };
    News {
        kind,
        message: if names.len() == 1 {
            singular(&message)
        } else {
            message
        },
        pod: Some(one),
        cause: Some(cause),
    }
}

/// The same sentence about one.
fn singular(message: &str) -> String {
    message
        .replacen(" fit on no machine", " fits on no machine", 1)
        .replacen(" get replaced", " gets replaced", 1)
        .replacen(" drives them away", " drives it away", 1)
}

fn named(names: &[&str]) -> String {
    let shown = names.iter().take(PODS_NAMED_MAX).copied();
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(PODS_NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
