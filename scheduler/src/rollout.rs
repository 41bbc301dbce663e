//! Deployments: the move of an app from one release to the next, as a state machine.
//!
//! ```text
//!                           ┌──> Starting ────────────────────────┐
//! Queued ──> ReleasePhase ──┼──> Rolling ─────────────────────────┼──> Switching ──> Baking ──> Succeeded
//!   │              │        └──> CanaryStarting <──> Canary ──────┘                    │
//!   │              │              │   Paused stands for any of these four              └──> Reverted
//!   │              └──────────────┴──> Failed: new pods end, the old release serves on
//!   │                                  (from Rolling by way of RollingBack)
//!   └──> Superseded by a newer one
//! ```
//!
//! One deployment of an app is active at a time, the others queue. Every state has a deadline and
//! an end. The new release becomes the current one in one action, after every process type of it is
//! up; what it has of the requests before that is the strategy's to say ([`crate::beside`]), and is
//! taken back if it fails. [`stages`] decides about each state, this module carries it out.

mod health;
mod stages;

pub mod judge;

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    deployments::{Wish, WishKind},
    ids::ReleaseId,
    sizes::Resources,
};

use self::stages::{Outcome, Stage};
use crate::{
    action::{Action, NewPod},
    drain,
    pass::Pass,
    place,
    snapshot::{
        App, Deployment, DeploymentState, Failure, Pod, PodIntent, PodKind, RELEASE_PHASE_TYPE,
        Release, resources,
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
/// How long a deployment may be paused, in seconds: a day, for somebody to come back to it. Then it
/// goes back, since nobody means two releases to serve for ever.
pub const PAUSE_DEADLINE_SECS: i64 = 24 * 60 * 60;

/// Moves an app's deployments on.
pub(crate) fn advance(app: &App, pass: &mut Pass<'_>) {
    let Some(deployment) = app.active_deployment() else {
        return start_next(app, pass);
    };
    let Some(release) = app.releases.get(&deployment.release) else {
        return fail(app, deployment, gone(), pass);
    };
    let stage = Stage {
        app,
        deployment,
        release,
    };
    let late = is_late(deployment, pass);
    if let DeploymentState::Paused { resumes, left_secs } = &deployment.state {
        return paused(&stage, resumes, *left_secs, late, pass);
    }
    let outcome = stage.outcome(&deployment.state, late, pass);
    if stage.wishes(WishKind::Pause)
        && can_pause(&deployment.state)
        && !matches!(outcome, Outcome::Fail(_))
    {
        let left = deployment
            .deadline_at
            .map(|at| (at - pass.now).num_seconds());
        let to = DeploymentState::Paused {
            resumes: Box::new(deployment.state.clone()),
            left_secs: left.unwrap_or_default().max(1),
        };
        return move_to(deployment, to, Some(PAUSE_DEADLINE_SECS), pass);
    }
    carry(&stage, outcome, pass);
}

/// In a pause nothing goes on, but what goes wrong still ends it.
fn paused(
    stage: &Stage<'_>,
    resumes: &DeploymentState,
    left_secs: i64,
    late: bool,
    pass: &mut Pass<'_>,
) {
    match stage.outcome(resumes, false, pass) {
        fails @ Outcome::Fail(_) => carry(stage, fails, pass),
        _ if !stage.wishes(WishKind::Pause) => {
            move_to(stage.deployment, resumes.clone(), Some(left_secs), pass);
        }
        _ if late => {
            let hours = PAUSE_DEADLINE_SECS / 3600;
            let reason = format!("nobody resumed it within {hours} hours");
            carry(
                stage,
                Outcome::Fail(Failure {
                    reason,
                    lines: vec![],
                }),
                pass,
            );
        }
        _ => {}
    }
}

fn can_pause(state: &DeploymentState) -> bool {
    matches!(
        state,
        DeploymentState::Starting
            | DeploymentState::Rolling { .. }
            | DeploymentState::CanaryStarting { .. }
            | DeploymentState::Canary { .. }
    )
}

impl Deployment {
    /// What somebody may ask of it now.
    pub fn actions(&self) -> Vec<WishKind> {
        use WishKind::{Abort, Pause, Promote, Resume};
        let state = self.state.beneath_pause();
        if self.wish.as_ref().is_some_and(|it| it.kind == Abort) {
            return vec![];
        }
        let mut actions = match state {
            DeploymentState::Queued | DeploymentState::Baking { .. } => vec![Abort],
            DeploymentState::ReleasePhase { .. } => vec![Pause, Abort],
            state if can_pause(state) => vec![Pause, Abort],
            _ => return vec![],
        };
        let is_canary = matches!(
            state,
            DeploymentState::CanaryStarting { .. } | DeploymentState::Canary { .. }
        );
        if is_canary {
            actions.push(Promote);
        }
        if self.wish.as_ref().is_some_and(|it| it.kind == Pause) {
            actions.retain(|it| *it != Pause);
            actions.push(Resume);
        }
        actions
    }
}

/// Does what was decided about a state.
fn carry(stage: &Stage<'_>, outcome: Outcome, pass: &mut Pass<'_>) {
    let (app, deployment) = (stage.app, stage.deployment);
    match outcome {
        Outcome::Wait => {}
        Outcome::Move(to, secs) => move_to(deployment, to, Some(secs), pass),
        Outcome::Switch => switch(stage, pass),
        Outcome::Revert { warm, version } => {
            let to = |_| DeploymentState::Reverted { to: version };
            flip(stage, warm, |_| true, to, None, pass);
        }
        Outcome::Succeed => move_to(deployment, DeploymentState::Succeeded, None, pass),
        Outcome::End(failure) => fail(app, deployment, failure, pass),
        Outcome::Fail(failure) => match deployment.state.beneath_pause() {
            DeploymentState::Rolling { .. } => {
                let to = DeploymentState::RollingBack {
                    failure,
                    restored: stage.restored(),
                };
                let secs = stage.rollback_secs();
                move_to(deployment, to, Some(secs), pass);
            }
            _ => fail(app, deployment, failure, pass),
        },
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
        if let Some(wish) = aborts(deployment) {
            fail(app, deployment, aborted(wish), pass);
            continue;
        }
        let newer = queued[index + 1..]
            .iter()
            .filter(|newer| aborts(newer).is_none())
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
        return fail(app, deployment, gone(), pass);
    };
    if let Some(failure) = never_fits(app, release, pass) {
        return fail(app, deployment, failure, pass);
    }
    let stage = Stage {
        app,
        deployment,
        release,
    };
    let Some((process_type, of_release)) = release.types.get_key_value(RELEASE_PHASE_TYPE) else {
        return carry(&stage, stage.first(), pass);
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
    let to = DeploymentState::ReleasePhase { pod };
    move_to(deployment, to, Some(RELEASE_PHASE_DEADLINE_SECS), pass);
}

/// Why some process type could run on no machine, however long it waits.
fn never_fits(app: &App, release: &Release, pass: &Pass<'_>) -> Option<Failure> {
    let mut wanted = app.wanted(release).into_iter();
    wanted.find_map(|(process_type, want)| {
        let of_release = release.types.get(process_type)?;
        let placement = app.placements.get(process_type);
        let placement = placement.unwrap_or(&of_release.placement);
        let need = resources(&want.size).plus(of_release.sidecars);
        let why = (want.quantity > 0)
            .then(|| place::never_fits(pass.nodes, placement, need))
            .flatten()?;
        let beside = if of_release.sidecars == Resources::default() {
            ""
        } else {
            " with its sidecars"
        };
        Some(Failure {
            reason: format!("{process_type} ({}){beside} fits on no machine", want.size),
            lines: why.lines().map(Into::into).collect(),
        })
    })
}

fn switch(stage: &Stage<'_>, pass: &mut Pass<'_>) {
    let warm = stage.warm();
    let to = |generation| DeploymentState::Switching { generation, warm };
    let retires = |pod: &Pod| !(pod.is_web() && Some(pod.release) == warm);
    let deadline_at = pass.now + Duration::seconds(SWITCH_DEADLINE_SECS);
    flip(
        stage,
        stage.release.id,
        retires,
        to,
        Some(deadline_at),
        pass,
    );
}

/// Makes a release the current one; pods of others go, as far as `retires` says.
fn flip(
    stage: &Stage<'_>,
    release: ReleaseId,
    retires: impl Fn(&Pod) -> bool,
    to: impl FnOnce(Option<u64>) -> DeploymentState,
    deadline_at: Option<DateTime<Utc>>,
    pass: &mut Pass<'_>,
) {
    let replicas = || {
        (stage.app.pods.values())
            .filter(|pod| pod.kind == PodKind::Service && pod.intent == PodIntent::Wanted)
    };
    let retire = replicas()
        .filter(|pod| pod.release != release && retires(pod))
        .map(|pod| pod.id)
        .collect();
    let generation = replicas().any(Pod::is_web).then(|| pass.publish());
    pass.act(Action::Switch {
        deployment: stage.deployment.id,
        release,
        retire,
        generation,
        to: to(generation),
        deadline_at,
    });
}

/// Ends a deployment that did not come to its flip: what it started ends, the rest stays.
fn fail(app: &App, deployment: &Deployment, failure: Failure, pass: &mut Pass<'_>) {
    let serves = app.serves(deployment.release);
    for pod in app.pods.values() {
        // The pods of a release that serves are not this deployment's, even if it is the same
        // release once more.
        let started_for_it = pod.release == deployment.release
            && Some(pod.release) != app.current
            && matches!(pod.kind, PodKind::Service | PodKind::ReleasePhase);
        if started_for_it && pod.intent == PodIntent::Wanted {
            if serves {
                drain::retire(pod, pass);
            } else {
                pass.act(Action::Stop { pod: pod.id });
            }
        }
    }
    move_to(deployment, DeploymentState::Failed { failure }, None, pass);
}

fn gone() -> Failure {
    Failure {
        reason: "the release is gone".into(),
        lines: vec![],
    }
}

/// Who wants a deployment to end, if somebody does.
fn aborts(deployment: &Deployment) -> Option<&Wish> {
    let wish = deployment.wish.as_ref();
    wish.filter(|wish| wish.kind == WishKind::Abort)
}

fn aborted(wish: &Wish) -> Failure {
    Failure {
        reason: format!("aborted by {}", wish.by),
        lines: vec![],
    }
}

fn is_late(deployment: &Deployment, pass: &mut Pass<'_>) -> bool {
    deployment
        .deadline_at
        .is_none_or(|deadline| pass.reached(deadline))
}

/// Moves to a state that may last for so many seconds.
fn move_to(deployment: &Deployment, to: DeploymentState, secs: Option<i64>, pass: &mut Pass<'_>) {
    pass.act(Action::Advance {
        deployment: deployment.id,
        to,
        deadline_at: secs.map(|secs| pass.now + Duration::seconds(secs)),
    });
}
