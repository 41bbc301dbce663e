//! The planner's output: what to do, in order, with no choices left.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, DeploymentId, PodId, ReleaseId},
    names::{NodeName, ProcessType, SizeName},
    placement::Taint,
    sizes::Resources,
};

use crate::{
    jobs::JobAction,
    snapshot::{App, DeploymentState, Pod, PodIntent, PodKind, Snapshot},
};

/// Everything to do now. All steps are one transaction: a plan is carried out whole or not at all.
#[derive(Debug)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The snapshot as it is once the steps are done: what goes out to agents and routers is made
    /// from it. Its `routes_generation` is the number that the next route table must have at
    /// least.
    pub after: Snapshot,
    /// When to plan again although nothing new was heard.
    pub wake_at: Option<DateTime<Utc>>,
}

/// What a [`Planner`](crate::Planner) decided; it has done it to its own snapshot.
#[derive(Debug)]
pub struct Decision {
    pub steps: Vec<Step>,
    /// Pods that are no more, as they were last.
    pub removed: BTreeMap<PodId, Pod>,
    /// Pods that have to leave their machines, and why; each told once.
    pub moved: Vec<Moved>,
    /// The apps that may look different since the plan before this one.
    pub looked_at: BTreeSet<AppId>,
    /// When to plan again although nothing new was heard.
    pub wake_at: Option<DateTime<Utc>>,
}

/// A pod that the platform takes from its machine of its own accord; for people to read, the steps
/// say what is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub app: AppId,
    pub pod: PodId,
    /// `pod`'s name: it may be no more when this is read.
    pub name: String,
    pub process_type: ProcessType,
    /// The machine that it leaves.
    pub node: NodeName,
    pub why: MoveReason,
}

/// Why a pod leaves its machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveReason {
    /// The machine is taken for lost, or was removed.
    Lost,
    Drained,
    /// It does not bear this taint.
    Tainted(Taint),
    /// A pod of higher priority needs the room.
    Preempted {
        app: AppId,
        pod: PodId,
    },
}

/// One action for one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub app: AppId,
    pub action: Action,
}

/// A change of intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A new pod, not bound yet.
    Create(NewPod),
    /// This machine runs it.
    Bind { pod: PodId, node: NodeName },
    /// No machine can run it now; one line per machine says why.
    Unplaced { pod: PodId, why: String },
    /// Nobody wants it any more: no table from generation `unrouted_in` on names it.
    Retire { pod: PodId, unrouted_in: u64 },
    /// Its agent is to stop it; it has drained, or never had requests.
    Stop { pod: PodId },
    /// It is no more, and may be forgotten.
    Remove { pod: PodId },
    /// A deployment moves on. On `Failed` and `Superseded` its release has failed.
    Advance {
        deployment: DeploymentId,
        to: DeploymentState,
        deadline_at: Option<DateTime<Utc>>,
    },
    /// The flip, as one: `release` becomes the current one and has succeeded, `retire` are retired
    /// from table `generation` on, the deployment is in the state `to`. There is one to the new
    /// release, and in a revert one back.
    Switch {
        deployment: DeploymentId,
        release: ReleaseId,
        retire: Vec<PodId>,
        /// Number of the one table that shows the flip; `None` if it changes nothing for routers.
        generation: Option<u64>,
        to: DeploymentState,
        deadline_at: Option<DateTime<Utc>>,
    },
    /// Something about the app's jobs.
    Job(JobAction),
}

/// A pod to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPod {
    pub id: PodId,
    pub release: ReleaseId,
    pub kind: PodKind,
    pub process_type: ProcessType,
    pub ordinal: u32,
    pub name: String,
    pub size: SizeName,
}

impl App {
    /// Does to the snapshot what carrying out the action does to the world.
    pub fn apply(&mut self, action: &Action, now: DateTime<Utc>) {
        match action {
            Action::Create(new) => {
                let sidecars = self.sidecars(new.release, new.kind, &new.process_type);
                self.pods.insert(new.id, Pod::new(new, sidecars, now));
            }
            Action::Bind { pod, node } => self.bind(*pod, node),
            Action::Job(action) => self.jobs.apply(action, now),
            Action::Unplaced { pod, why } => {
                self.change(*pod, |pod| pod.unplaced = Some(why.clone()));
            }
            Action::Retire { pod, unrouted_in } => self.retire(*pod, *unrouted_in, now),
            Action::Stop { pod } => self.change(*pod, |pod| pod.intent = PodIntent::Stopping),
            Action::Remove { pod } => {
                self.pods.remove(pod);
            }
            Action::Advance {
                deployment,
                to,
                deadline_at,
            } => {
                self.advance(*deployment, to.clone(), *deadline_at);
            }
            Action::Switch {
                deployment,
                release,
                retire,
                generation,
                to,
                deadline_at,
            } => {
                self.settle_formation(*release);
                self.current = Some(*release);
                for pod in retire {
                    self.retire(*pod, generation.unwrap_or_default(), now);
                }
                self.advance(*deployment, to.clone(), *deadline_at);
            }
        }
    }

    /// Writes down what the release wants of types that nobody has scaled: from now on that is the
    /// formation, whatever later releases bring.
    fn settle_formation(&mut self, release: ReleaseId) {
        let Some(release) = self.releases.get(&release) else {
            return;
        };
        let wanted: Vec<_> = self
            .wanted(release)
            .into_iter()
            .map(|(process_type, want)| (process_type.clone(), want.clone()))
            .collect();
        self.formation.extend(wanted);
    }

    /// The pod's machine is that of its local volumes from then on.
    fn bind(&mut self, pod: PodId, node: &NodeName) {
        let volumes: Vec<_> = self.pods.get(&pod).map_or(vec![], |pod| {
            self.volumes_of(pod).map(|(id, _)| id).collect()
        });
        for id in volumes {
            if let Some(volume) = self.volumes.get_mut(&id).filter(|volume| volume.local) {
                volume.node.get_or_insert_with(|| node.clone());
            }
        }
        self.change(pod, |pod| {
            pod.node = Some(node.clone());
            pod.unplaced = None;
        });
    }

    fn change(&mut self, pod: PodId, change: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.pods.get_mut(&pod) {
            change(pod);
        }
    }

    fn retire(&mut self, pod: PodId, unrouted_in: u64, now: DateTime<Utc>) {
        self.change(pod, |pod| {
            pod.intent = PodIntent::Retired {
                at: now,
                unrouted_in,
            }
        });
    }

    fn advance(
        &mut self,
        deployment: DeploymentId,
        to: DeploymentState,
        deadline_at: Option<DateTime<Utc>>,
    ) {
        if let Some(open) = self
            .deployments
            .iter_mut()
            .find(|open| open.id == deployment)
        {
            open.state = to;
            open.deadline_at = deadline_at;
        }
    }
}

impl Pod {
    fn new(new: &NewPod, sidecars: Resources, now: DateTime<Utc>) -> Self {
        Self {
            id: new.id,
            release: new.release,
            kind: new.kind,
            process_type: new.process_type.clone(),
            ordinal: new.ordinal,
            name: new.name.clone(),
            size: new.size.clone(),
            sidecars,
            node: None,
            unplaced: None,
            intent: PodIntent::Wanted,
            stop_at: None,
            status: None,
            gone: false,
            created_at: now,
        }
    }
}
