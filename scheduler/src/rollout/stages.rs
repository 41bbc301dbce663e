//! What each state of a deployment comes to, as things stand.

use std::collections::BTreeSet;

use fairway_api::{
    deployments::{Strategy, WishKind},
    ids::{PodId, ReleaseId},
    names::ProcessType,
    routes::CanaryTally,
};

use super::{
    RELEASE_PHASE_DEADLINE_SECS, START_ALLOWANCE_SECS, aborted, aborts,
    health::{self, Health},
    judge::{Verdict, judge},
};
use crate::{
    pass::Pass,
    slots,
    snapshot::{App, Deployment, DeploymentState, Failure, Pod, PodIntent, Release},
    volumes,
};

/// What is to be done about a state.
#[derive(Debug)]
pub(super) enum Outcome {
    Wait,
    /// Go on to this state, for so many seconds at most.
    Move(DeploymentState, i64),
    /// The new release becomes the current one.
    Switch,
    /// The release before becomes the current one again.
    Revert {
        warm: ReleaseId,
        version: u64,
    },
    Succeed,
    /// It fails; what it has of the places or the requests is taken back first.
    Fail(Failure),
    /// It has failed, and everything is as before.
    End(Failure),
}

/// A deployment with what it is about.
pub(super) struct Stage<'a> {
    pub(super) app: &'a App,
    pub(super) deployment: &'a Deployment,
    pub(super) release: &'a Release,
}

/// How a set of pods stands that should be up.
#[derive(Default)]
struct Standing<'a> {
    /// Slots that are up.
    up: u32,
    /// A slot has no pod yet.
    missing: bool,
    waits_for: Option<&'a Pod>,
    failure: Option<Failure>,
}

impl Standing<'_> {
    fn all_up(&self) -> bool {
        !self.missing && self.waits_for.is_none() && self.failure.is_none()
    }

    /// Why its time was over before all were up.
    fn late(&self) -> Failure {
        let when = "when the deployment's time was over";
        match self.waits_for {
            Some(pod) => health::late(pod, when),
            None => Failure {
                reason: format!("not all pods could be started {when}"),
                lines: vec![],
            },
        }
    }
}

impl<'a> Stage<'a> {
    /// What is to be done about the deployment in this state; `late` says that its time is over.
    pub(super) fn outcome(
        &self,
        state: &DeploymentState,
        late: bool,
        pass: &mut Pass<'_>,
    ) -> Outcome {
        let wish = aborts(self.deployment).filter(|_| !state.is_live());
        let outcome = match state {
            DeploymentState::RollingBack { failure, restored } => {
                return self.rolling_back(failure, *restored, late);
            }
            DeploymentState::ReleasePhase { pod } => self.release_phase(*pod, late, pass),
            DeploymentState::Starting => self.starting(late, pass),
            DeploymentState::Rolling { replaced } => self.rolling(*replaced, late, pass),
            DeploymentState::CanaryStarting { step, share } => {
                self.canary_starting(*step, *share, late, pass)
            }
            DeploymentState::Canary { step } => self.canary(*step, late, pass),
            DeploymentState::Switching { generation, warm } => {
                self.switching(*generation, *warm, late, pass)
            }
            DeploymentState::Baking { warm } => self.baking(*warm, late),
            DeploymentState::Queued
            | DeploymentState::Paused { .. }
            | DeploymentState::Succeeded
            | DeploymentState::Failed { .. }
            | DeploymentState::Reverted { .. }
            | DeploymentState::Superseded { .. } => Outcome::Wait,
        };
        match (wish, outcome) {
            (_, fails @ Outcome::Fail(_)) => fails,
            (Some(wish), _) => Outcome::Fail(aborted(wish)),
            (None, outcome) => outcome,
        }
    }

    pub(super) fn wishes(&self, kind: WishKind) -> bool {
        self.deployment
            .wish
            .as_ref()
            .is_some_and(|it| it.kind == kind)
    }

    /// The state that begins the move itself. Before the first release, and for an app whose
    /// release runs nothing, there is nothing to share places or requests with.
    pub(super) fn first(&self) -> Outcome {
        let current = self.app.current_release();
        let current = current.filter(|it| it.id != self.release.id && !it.types.is_empty());
        let has_web = |release: &Release| {
            let wanted = self.app.wanted(release);
            wanted
                .get(&ProcessType::web())
                .is_some_and(|it| it.quantity > 0)
        };
        // A volume cannot be shared out.
        let shares = current.filter(|old| !volumes::change_hands(self.app, old, self.release));
        let to = match (&self.deployment.strategy, shares) {
            (Strategy::Rolling { .. }, Some(_)) => DeploymentState::Rolling { replaced: 0 },
            (Strategy::Canary { .. }, Some(old)) if has_web(old) && has_web(self.release) => {
                DeploymentState::CanaryStarting {
                    step: 0,
                    share: None,
                }
            }
            _ => DeploymentState::Starting,
        };
        Outcome::Move(to, self.start_secs(self.release))
    }

    /// How long pods of a release may take until they are up, in seconds.
    fn start_secs(&self, release: &Release) -> i64 {
        let wanted = self.app.wanted(release).into_iter();
        let runs = wanted.filter(|(_, want)| want.quantity > 0);
        let startup_secs = release.startup_deadline_secs(runs.map(|(name, _)| name));
        i64::from(startup_secs) + START_ALLOWANCE_SECS
    }

    /// The same for a pod on the way back.
    pub(super) fn rollback_secs(&self) -> i64 {
        let current = self.app.current_release();
        current.map_or(START_ALLOWANCE_SECS, |it| self.start_secs(it))
    }

    /// The release whose web pods stay up after the flip.
    pub(super) fn warm(&self) -> Option<ReleaseId> {
        let bakes = self.deployment.strategy.bake_secs() > 0;
        let served = self.app.current.filter(|it| *it != self.release.id);
        served.filter(|_| bakes && self.up_web(self.app.current) > 0)
    }

    fn release_phase(&self, pod: PodId, late: bool, pass: &mut Pass<'_>) -> Outcome {
        let Some(pod) = self.app.pods.get(&pod) else {
            return Outcome::Fail(Failure {
                reason: "the release phase's pod is gone".into(),
                lines: vec![],
            });
        };
        match health::of_command(pod, pass) {
            Health::Up => self.first(),
            Health::Failed(failure) => Outcome::Fail(failure),
            Health::Waiting if late => {
                let minutes = RELEASE_PHASE_DEADLINE_SECS / 60;
                Outcome::Fail(health::late(pod, &format!("after {minutes} minutes")))
            }
            Health::Waiting => Outcome::Wait,
        }
    }

    /// How the new pods stand, as far as there should be some now.
    fn standing(&self, pass: &mut Pass<'_>) -> Standing<'a> {
        let beside = self.app.beside();
        let slots = slots::by_slot(self.app, self.release);
        let mut standing = Standing::default();
        for (process_type, want) in self.app.wanted(self.release) {
            for ordinal in 1..=beside.quantity(self.release, process_type, want) {
                let pods = slots.get(&(process_type, ordinal));
                let Some(pod) = pods.and_then(|pods| pods.last()) else {
                    standing.missing = true;
                    continue;
                };
                if volumes::awaits(self.app, pod, pass) {
                    standing.waits_for = Some(*pod);
                    continue;
                }
                match health::of_replica(pod, self.release, pass) {
                    Health::Up => standing.up += 1,
                    Health::Waiting => standing.waits_for = Some(*pod),
                    Health::Failed(failure) => {
                        standing.failure.get_or_insert(failure);
                    }
                }
            }
        }
        standing
    }

    fn starting(&self, late: bool, pass: &mut Pass<'_>) -> Outcome {
        let standing = self.standing(pass);
        self.flip_when_up(standing, late)
    }

    fn flip_when_up(&self, mut standing: Standing<'_>, late: bool) -> Outcome {
        match standing.failure.take() {
            Some(failure) => Outcome::Fail(failure),
            None if standing.all_up() => Outcome::Switch,
            None if late => Outcome::Fail(standing.late()),
            None => Outcome::Wait,
        }
    }

    fn rolling(&self, replaced: u32, late: bool, pass: &mut Pass<'_>) -> Outcome {
        let standing = self.standing(pass);
        if standing.failure.is_none() && !standing.all_up() && standing.up > replaced {
            // Each pod has time of its own.
            let to = DeploymentState::Rolling {
                replaced: standing.up,
            };
            return Outcome::Move(to, self.start_secs(self.release));
        }
        self.flip_when_up(standing, late)
    }

    fn rolling_back(&self, failure: &Failure, restored: u32, late: bool) -> Outcome {
        let up = self.restored();
        let wanted = |release| -> u32 {
            let wanted = self.app.wanted(release);
            wanted.values().map(|want| want.quantity).sum()
        };
        let all = self.app.current_release().map_or(0, wanted);
        if up >= all || late {
            Outcome::End(failure.clone())
        } else if up > restored {
            let to = DeploymentState::RollingBack {
                failure: failure.clone(),
                restored: up,
            };
            Outcome::Move(to, self.rollback_secs())
        } else {
            Outcome::Wait
        }
    }

    /// How many places the pods of the serving release fill.
    pub(super) fn restored(&self) -> u32 {
        let Some(current) = self.app.current_release() else {
            return 0;
        };
        let slots = slots::by_slot(self.app, current);
        let wanted = self.app.wanted(current);
        let up = slots.iter().filter(|((process_type, ordinal), pods)| {
            let want = wanted.get(process_type);
            want.is_some_and(|want| *ordinal <= want.quantity) && pods.iter().any(|it| it.is_up())
        });
        u32::try_from(up.count()).unwrap_or(u32::MAX)
    }

    fn canary_starting(
        &self,
        step: u32,
        share: Option<u32>,
        late: bool,
        pass: &mut Pass<'_>,
    ) -> Outcome {
        let standing = self.standing(pass);
        let steps = self.deployment.strategy.steps();
        let watched = share.and_then(|share| self.worse(share, pass));
        let next = usize::try_from(step).ok().and_then(|step| steps.get(step));
        match (watched, next) {
            (Some(failure), _) => Outcome::Fail(failure),
            (None, Some(_)) if self.wishes(WishKind::Promote) && standing.failure.is_none() => {
                self.promote(share)
            }
            (None, Some(next)) if standing.all_up() => {
                Outcome::Move(DeploymentState::Canary { step }, next.secs.into())
            }
            (None, _) => self.flip_when_up(standing, late),
        }
    }

    fn canary(&self, step: u32, late: bool, pass: &mut Pass<'_>) -> Outcome {
        if let Some(failure) = self.worse(step, pass).or(self.standing(pass).failure) {
            return Outcome::Fail(failure);
        }
        if self.wishes(WishKind::Promote) {
            return self.promote(Some(step));
        }
        if !late {
            return Outcome::Wait;
        }
        let to = DeploymentState::CanaryStarting {
            step: step + 1,
            share: Some(step),
        };
        Outcome::Move(to, self.start_secs(self.release))
    }

    /// Behind the last step, with the share of the requests that it has.
    fn promote(&self, share: Option<u32>) -> Outcome {
        let steps = self.deployment.strategy.steps();
        let to = DeploymentState::CanaryStarting {
            step: u32::try_from(steps.len()).unwrap_or(u32::MAX),
            share,
        };
        Outcome::Move(to, self.start_secs(self.release))
    }

    /// Why the release does worse than the one that serves beside it.
    fn worse(&self, step: u32, pass: &Pass<'_>) -> Option<Failure> {
        let Strategy::Canary { limits, .. } = &self.deployment.strategy else {
            return None;
        };
        let mut sum = CanaryTally::default();
        let reports = pass.routers.seen.values();
        let tallies = reports.filter_map(|router| router.canaries.get(&self.deployment.id));
        for tally in tallies.filter(|tally| tally.step == step) {
            sum.stable.add(&tally.stable);
            sum.canary.add(&tally.canary);
        }
        match judge(&sum, limits) {
            Verdict::Bad(why) => Some(Failure {
                reason: format!("the canary did worse: {why}"),
                lines: vec![],
            }),
            Verdict::Good | Verdict::TooFew => None,
        }
    }

    fn switching(
        &self,
        generation: Option<u64>,
        warm: Option<ReleaseId>,
        late: bool,
        pass: &Pass<'_>,
    ) -> Outcome {
        let shown =
            generation.is_none_or(|generation| pass.routers.acknowledged(generation, pass.now));
        match warm {
            _ if !shown && !late => Outcome::Wait,
            Some(warm) => {
                let secs = self.deployment.strategy.bake_secs();
                Outcome::Move(DeploymentState::Baking { warm }, secs.into())
            }
            None => Outcome::Succeed,
        }
    }

    fn baking(&self, warm: ReleaseId, late: bool) -> Outcome {
        let warm_release = self.app.releases.get(&warm);
        if let (Some(release), Some(_)) = (warm_release, aborts(self.deployment)) {
            // With fewer pods than serve now it would be no help to anybody, but for want of time.
            let enough = self.up_web(Some(warm)) >= self.up_web(self.app.current);
            if enough || late {
                let version = release.version;
                return Outcome::Revert { warm, version };
            }
            return Outcome::Wait;
        }
        let queued = |it: &&Deployment| it.state == DeploymentState::Queued && aborts(it).is_none();
        let newer = self.app.deployments.iter().find(queued);
        if late || newer.is_some() || warm_release.is_none() {
            Outcome::Succeed
        } else {
            Outcome::Wait
        }
    }

    /// How many web pods of a release are up; a pod and the one that replaces it are one.
    fn up_web(&self, release: Option<ReleaseId>) -> usize {
        let pods = self.app.pods.values().filter(|pod| {
            pod.is_web()
                && Some(pod.release) == release
                && pod.intent == PodIntent::Wanted
                && pod.is_up()
        });
        pods.map(|pod| pod.ordinal).collect::<BTreeSet<_>>().len()
    }
}
