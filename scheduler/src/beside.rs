//! What a deployment under way makes of the releases: which pods there should be beside those of
//! the serving release, and which of them get requests. Read off the deployment's state, so that
//! the route table, the pods to keep and the rollout cannot disagree.

use fairway_api::{
    deployments::percent_of,
    ids::{DeploymentId, ReleaseId},
    names::ProcessType,
};

use crate::snapshot::{App, Deployment, DeploymentState, Release, Want};

/// The pods that a deployment wants beside those of the serving release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Nothing,
    /// All pods of another release.
    Whole(ReleaseId),
    /// Its web pods, as far as they have to bear this share of the requests.
    Web {
        release: ReleaseId,
        percent: u8,
    },
    /// Two releases share the places: `from` leaves them to `to`.
    Exchange {
        from: ReleaseId,
        to: ReleaseId,
    },
}

/// A release that is tried with a share of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryShare {
    pub deployment: DeploymentId,
    pub release: ReleaseId,
    /// Whose share it is: routers count by it.
    pub step: u32,
    pub percent: u8,
}

impl App {
    /// What the deployment under way wants beside the serving release.
    pub(crate) fn beside(&self) -> Beside {
        let Some(deployment) = self.active_deployment() else {
            return Beside::Nothing;
        };
        let new = deployment.release;
        match (deployment.state.beneath_pause(), self.current) {
            (DeploymentState::Starting, _) => Beside::Whole(new),
            (DeploymentState::Rolling { .. }, Some(old)) => Beside::Exchange { from: old, to: new },
            (DeploymentState::RollingBack { .. }, Some(old)) => {
                Beside::Exchange { from: new, to: old }
            }
            (
                DeploymentState::CanaryStarting { step, .. } | DeploymentState::Canary { step },
                Some(_),
            ) => match percent_at(deployment, *step) {
                Some(percent) => Beside::Web {
                    release: new,
                    percent,
                },
                None => Beside::Whole(new),
            },
            (state, _) => match state.warm() {
                Some(release) => Beside::Web {
                    release,
                    percent: 100,
                },
                None => Beside::Nothing,
            },
        }
    }

    /// The release that is tried with a share of the requests now.
    pub fn canary(&self) -> Option<CanaryShare> {
        self.current?;
        let deployment = self.active_deployment()?;
        let step = match deployment.state.beneath_pause() {
            DeploymentState::Canary { step } => *step,
            DeploymentState::CanaryStarting { share, .. } => (*share)?,
            _ => return None,
        };
        Some(CanaryShare {
            deployment: deployment.id,
            release: deployment.release,
            step,
            percent: percent_at(deployment, step)?,
        })
    }

    /// True if requests from outside go to pods of this release.
    pub fn serves(&self, release: ReleaseId) -> bool {
        self.has_places(release)
            || self
                .canary()
                .is_some_and(|canary| canary.release == release)
    }

    /// True if pods of this release fill places of the app, for whoever takes any of them: all but
    /// those of a canary.
    pub fn has_places(&self, release: ReleaseId) -> bool {
        Some(release) == self.current
            || match self.beside() {
                Beside::Exchange { from, to } => from == release || to == release,
                _ => false,
            }
    }
}

fn percent_at(deployment: &Deployment, step: u32) -> Option<u8> {
    let steps = deployment.strategy.steps();
    Some(steps.get(usize::try_from(step).ok()?)?.percent)
}

impl Beside {
    /// The release that it is about besides the serving one.
    pub(crate) fn release(self, current: Option<ReleaseId>) -> Option<ReleaseId> {
        match self {
            Self::Nothing => None,
            Self::Whole(release) | Self::Web { release, .. } => Some(release),
            Self::Exchange { from, to } => [from, to].into_iter().find(|it| Some(*it) != current),
        }
    }

    /// How many pods of a process type a release should have, when all is well.
    pub(crate) fn quantity(
        self,
        release: &Release,
        process_type: &ProcessType,
        want: &Want,
    ) -> u32 {
        match self {
            Self::Web { release: web, .. } if web == release.id && !process_type.is_web() => 0,
            Self::Web {
                release: web,
                percent,
            } if web == release.id => percent_of(percent, want.quantity),
            _ => want.quantity,
        }
    }
}
