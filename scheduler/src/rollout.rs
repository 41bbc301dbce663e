//! Deployments: the move of an app from one release to the next, as a state machine.
//!
//! ```text
//! Queued ──> ReleasePhase ──> Starting ──> Switching ──> Succeeded
//!   │              │             │
//!   │              └─────────────┴──> Failed: only new pods end, the old release is untouched
//!   └──> Superseded by a newer one
//! ```
//!
//! One deployment of an app is active at a time, the others queue. Every state has a deadline and
//! an end. Nothing of the old release changes before the flip, which is one action; after it there
//! is no way back but another deployment.

mod health;

use chrono::{DateTime, Duration, Utc};

use self::health::Health;
use crate::{
    action::{Action, NewPod},
    pass::Pass,
    place, slots,
    snapshot::{
        App, Deployment, DeploymentState, Failure, Pod, PodIntent, PodKind, RELEASE_PHASE_TYPE,
        Release,
    },
};

pub use health::{REFUSED_PATIENCE_SECS, UNPLACED_PATIENCE_SECS};

/// How long the `release` command may take, in seconds: migrations are slow, but a lock that never
/// comes must not hold the app's queue for ever.
pub const RELEASE_PHASE_DEADLINE_SECS: i64 = 30 * 60;
/// What is added to the startup deadline of the slowest process type, in seconds, until all new
/// pods must be up: time to pull a large image onto a machine that has none of its layers.
pub const START_ALLOWANCE_SECS: i64 = 5 * 60;
/// How long live routers may take to acknowledge the flip, in seconds. It cannot fail any more
/// then: a router that hangs is not the release's fault.
pub const SWITCH_DEADLINE_SECS: i64 = 30;

/// Moves an app's deployments on.
pub(crate) fn advance(app: &App, pass: &mut Pass<'_>) {
    let Some(deployment) = app.active_deployment() else {
        return start_next(app, pass);
    };
    let Some(release) = app.releases.get(&deployment.release) else {
        let failure = Failure {
            reason: "the release is gone".into(),
            lines: vec![],
        };
        return fail(app, deployment, failure, pass);
    };
    match &deployment.state {
        DeploymentState::ReleasePhase { pod } => {
            release_phase(app, deployment, release, app.pods.get(pod), pass);
        }
        DeploymentState::Starting => starting(app, deployment, release, pass),
        DeploymentState::Switching { generation } => switching(deployment, *generation, pass),
        DeploymentState::Queued
        | DeploymentState::Succeeded
        | DeploymentState::Failed { .. }
        | DeploymentState::Superseded { .. } => {}
    }
}

/// Begins the next queued deployment. A newer one takes the place of an older one, except of a
/// push that somebody waits for: only a newer push does that.
fn start_next(app: &App, pass: &mut Pass<'_>) {
    let queued: Vec<&Deployment> = app
        .deployments
        .iter()
        .filter(|open| open.state == DeploymentState::Queued)
        .collect();
    for (index, deployment) in queued.iter().enumerate() {
        let newer = queued[index + 1..]
            .iter()
            .rfind(|newer| newer.from_push || !deployment.from_push)
            .and_then(|newer| app.releases.get(&newer.release));
        match newer {
            Some(newer) => {
                let to = DeploymentState::Superseded { by: newer.version };
                move_to(deployment, to, None, pass);
            }
            None => return begin(app, deployment, pass),
        }
    }
}

fn begin(app: &App, deployment: &Deployment, pass: &mut Pass<'_>) {
    let Some(release) = app.releases.get(&deployment.release) else {
        let failure = Failure {
            reason: "the release is gone".into(),
            lines: vec![],
        };
        return fail(app, deployment, failure, pass);
    };
    if let Some(failure) = never_fits(app, release, pass) {
        return fail(app, deployment, failure, pass);
    }
    let Some((process_type, of_release)) = release.types.get_key_value(RELEASE_PHASE_TYPE) else {
        return start(app, deployment, release, pass);
    };
    let pod = pass.create(|id| NewPod {
        id,
        release: release.id,
        kind: PodKind::ReleasePhase,
        process_type: process_type.clone(),
        ordinal: u32::try_from(release.version).unwrap_or(u32::MAX),
        name: format!("{RELEASE_PHASE_TYPE}.{}", release.version),
        size: app
            .formation
            .get(process_type)
            .unwrap_or(&of_release.initial)
            .size
            .clone(),
    });
    let deadline = pass.now + Duration::seconds(RELEASE_PHASE_DEADLINE_SECS);
    move_to(
        deployment,
        DeploymentState::ReleasePhase { pod },
        Some(deadline),
        pass,
    );
}

/// Why some process type could run on no machine, however long it waits.
fn never_fits(app: &App, release: &Release, pass: &Pass<'_>) -> Option<Failure> {
    let mut wanted = app.wanted(release).into_iter();
    wanted.find_map(|(process_type, want)| {
        let of_release = &release.types.get(process_type)?.placement;
        let placement = app.placements.get(process_type).unwrap_or(of_release);
        let why = (want.quantity > 0)
            .then(|| place::never_fits(pass.nodes, placement, &want.size))
            .flatten()?;
        Some(Failure {
            reason: format!("{process_type} ({}) fits on no machine", want.size),
            lines: why.lines().map(Into::into).collect(),
        })
    })
}

fn release_phase(
    app: &App,
    deployment: &Deployment,
    release: &Release,
    pod: Option<&Pod>,
    pass: &mut Pass<'_>,
) {
    let Some(pod) = pod else {
        let failure = Failure {
            reason: "the release phase's pod is gone".into(),
            lines: vec![],
        };
        return fail(app, deployment, failure, pass);
    };
    match health::of_command(pod, pass) {
        Health::Up => start(app, deployment, release, pass),
        Health::Failed(failure) => fail(app, deployment, failure, pass),
        Health::Waiting => {
            if is_late(deployment, pass) {
                let minutes = RELEASE_PHASE_DEADLINE_SECS / 60;
                let failure = health::late(pod, &format!("after {minutes} minutes"));
                fail(app, deployment, failure, pass);
            }
        }
    }
}

/// Lets the new pods start; [`slots`] makes them.
fn start(app: &App, deployment: &Deployment, release: &Release, pass: &mut Pass<'_>) {
    let wanted = app.wanted(release);
    let runs = wanted
        .iter()
        .filter(|(_, want)| want.quantity > 0)
        .map(|(name, _)| *name);
    let startup_secs = i64::from(release.startup_deadline_secs(runs));
    let deadline = pass.now + Duration::seconds(startup_secs + START_ALLOWANCE_SECS);
    move_to(deployment, DeploymentState::Starting, Some(deadline), pass);
}

fn starting(app: &App, deployment: &Deployment, release: &Release, pass: &mut Pass<'_>) {
    let slots = slots::by_slot(app, release);
    let mut waits_for = None;
    let mut all_made = true;
    for (process_type, want) in app.wanted(release) {
        for ordinal in 1..=want.quantity {
            let newest = slots
                .get(&(process_type, ordinal))
                .and_then(|pods| pods.last());
            let Some(pod) = newest else {
                all_made = false;
                continue;
            };
            match health::of_replica(pod, release, pass) {
                Health::Up => {}
                Health::Waiting => waits_for = Some(*pod),
                Health::Failed(failure) => return fail(app, deployment, failure, pass),
            }
        }
    }
    let late = waits_for.filter(|_| is_late(deployment, pass));
    match (late, waits_for) {
        (Some(pod), _) => {
            fail(
                app,
                deployment,
                health::late(pod, "when the deployment's time was over"),
                pass,
            );
        }
        (None, None) if all_made => switch(app, deployment, release, pass),
        (None, _) => {}
    }
}

fn switch(app: &App, deployment: &Deployment, release: &Release, pass: &mut Pass<'_>) {
    let replicas = || {
        app.pods
            .values()
            .filter(|pod| pod.kind == PodKind::Service && pod.intent == PodIntent::Wanted)
    };
    let retire = replicas()
        .filter(|pod| pod.release != release.id)
        .map(|pod| pod.id)
        .collect();
    let generation = replicas().any(Pod::is_web).then(|| pass.publish());
    pass.act(Action::Switch {
        deployment: deployment.id,
        release: release.id,
        retire,
        generation,
        deadline_at: pass.now + Duration::seconds(SWITCH_DEADLINE_SECS),
    });
}

fn switching(deployment: &Deployment, generation: Option<u64>, pass: &mut Pass<'_>) {
    let shown = generation.is_none_or(|generation| pass.routers.acknowledged(generation, pass.now));
    if shown || is_late(deployment, pass) {
        move_to(deployment, DeploymentState::Succeeded, None, pass);
    }
}

/// Ends a deployment that did not come to its flip: what it started stops, the rest stays.
fn fail(app: &App, deployment: &Deployment, failure: Failure, pass: &mut Pass<'_>) {
    for pod in app.pods.values() {
        // The pods of a release that serves are not this deployment's, even if it is the same
        // release once more.
        let started_for_it = pod.release == deployment.release
            && Some(pod.release) != app.current
            && pod.kind != PodKind::Run;
        if started_for_it && pod.intent == PodIntent::Wanted {
            pass.act(Action::Stop { pod: pod.id });
        }
    }
    move_to(deployment, DeploymentState::Failed { failure }, None, pass);
}

fn is_late(deployment: &Deployment, pass: &mut Pass<'_>) -> bool {
    deployment
        .deadline_at
        .is_none_or(|deadline| pass.reached(deadline))
}

fn move_to(
    deployment: &Deployment,
    to: DeploymentState,
    deadline_at: Option<DateTime<Utc>>,
    pass: &mut Pass<'_>,
) {
    pass.act(Action::Advance {
        deployment: deployment.id,
        to,
        deadline_at,
    });
}
