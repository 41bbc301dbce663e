//! The planner's input: intent and observation of everything, at one moment.
//!
//! Intent is what the database says, observation is what agents and routers reported last. Nothing
//! in here decides; the small functions only answer questions about what is there.

mod deployment;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

pub use self::deployment::{Deployment, DeploymentState, Failure};
use crate::{
    jobs::{Cron, Jobs},
    policy::Policy,
};
use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    checks::STARTUP_DEADLINE_SECS_DEFAULT,
    ids::{AppId, DeploymentId, PodId, ReleaseId, VolumeId},
    names::{AppName, Architecture, NodeName, ProcessType, RouterName, SizeName, VolumeName},
    placement::{Labels, NodeKind, Placement, Priority, Taint, TaintEffect},
    pods::{Exit, PodPhase, PodStatus},
    routes::CanaryTally,
    sizes::Resources,
};

/// A router that has not reported for this long, in seconds, no longer holds anything up: three
/// heartbeats, so that one lost report does not count as a death.
pub const ROUTER_LIVE_SECS: i64 = 15;
/// The process type whose command runs before a release goes live; it has no formation.
pub const RELEASE_PHASE_TYPE: &str = "release";

/// Jobs can wait, services cannot: they give way.
static JOB_PLACEMENT: LazyLock<Arc<Placement>> = LazyLock::new(|| {
    Arc::new(Placement {
        priority: Priority::Low,
        ..Placement::default()
    })
});

/// Everything that decides what should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub apps: BTreeMap<AppId, App>,
    pub nodes: BTreeMap<NodeName, Node>,
    pub routers: Routers,
    /// Number of the route table that was published last.
    pub routes_generation: u64,
    pub policy: Policy,
}

/// One app with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub id: AppId,
    pub name: AppName,
    /// The release that serves; `None` before the first deployment succeeded.
    pub current: Option<ReleaseId>,
    /// At least the current one and those of open deployments.
    pub releases: BTreeMap<ReleaseId, Release>,
    /// Wanted count and size of the process types that somebody, or a first release, has set.
    pub formation: BTreeMap<ProcessType, Want>,
    /// Where process types may run, for those of which somebody has said it; it goes before what
    /// the release says.
    pub placements: BTreeMap<ProcessType, Arc<Placement>>,
    /// Those that have not ended, oldest first.
    pub deployments: Vec<Deployment>,
    pub pods: BTreeMap<PodId, Pod>,
    pub jobs: Jobs,
    pub volumes: BTreeMap<VolumeId, Volume>,
}

/// A volume of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub name: VolumeName,
    /// It is on one machine's disk.
    pub local: bool,
    /// Any number of pods may have it at a time.
    pub shared: bool,
    /// What a local one may take of a disk.
    pub size_bytes: u64,
    /// Where a local one is; the first pod that mounts it decides.
    pub node: Option<NodeName>,
    /// Why no pod may have it now: `is being moved to another machine`.
    pub hindrance: Option<&'static str>,
}

/// How many pods of one process type, and how large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    pub quantity: u32,
    pub size: SizeName,
}

/// What the planner has to know of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub id: ReleaseId,
    pub version: u64,
    /// Empty for a release without an image.
    pub types: BTreeMap<ProcessType, ReleaseType>,
    /// What runs by schedule while it serves.
    pub cron: Cron,
    /// What containers besides the main one take in pods that run once.
    pub one_off_sidecars: Resources,
}

/// One process type of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseType {
    /// Count and size while the app's formation does not name the type.
    pub initial: Want,
    /// How long one of its pods may take from start to up.
    pub startup_deadline_secs: u32,
    /// Where its pods may run.
    pub placement: Arc<Placement>,
    /// What its pods mount.
    pub volumes: Vec<VolumeId>,
    /// What containers besides the main one take in each of its pods.
    pub sidecars: Resources,
}

/// One pod: what is wanted of it, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub id: PodId,
    pub release: ReleaseId,
    pub kind: PodKind,
    pub process_type: ProcessType,
    pub ordinal: u32,
    /// `web.1`, `run.4821`, `release.7`.
    pub name: String,
    /// Of its main container.
    pub size: SizeName,
    /// What its other containers take.
    pub sidecars: Resources,
    /// The machine it is bound to.
    pub node: Option<NodeName>,
    /// Why it is bound to none: a line per machine.
    pub unplaced: Option<String>,
    pub intent: PodIntent,
    /// When a one-off pod must have ended.
    pub stop_at: Option<DateTime<Utc>>,
    /// As its agent last reported it.
    pub status: Option<PodStatus>,
    /// Its agent works on a plan without it and does not report it any more.
    pub gone: bool,
    pub created_at: DateTime<Utc>,
}

/// What a pod is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodKind {
    /// A replica of a process type.
    Service,
    /// The command that runs before a release goes live.
    ReleasePhase,
    /// Somebody's one-off command.
    Run,
    /// Part of a job.
    Job,
}

/// What is wanted of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodIntent {
    /// It should run.
    Wanted,
    /// It should end: it left the route table with generation `unrouted_in`, and drains.
    Retired { at: DateTime<Utc>, unrouted_in: u64 },
    /// Its agent was told to stop it.
    Stopping,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub state: NodeState,
    /// `None` until its agent has reported.
    pub capacity: Option<Resources>,
    pub facts: Arc<Facts>,
    /// Since when it counts as lost; the planner notes it.
    pub lost_at: Option<DateTime<Utc>>,
}

/// What a machine is, as far as placements ask for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub labels: Labels,
    pub taints: Vec<Taint>,
    /// `None` until its agent has said so; the same for the architecture.
    pub kind: Option<NodeKind>,
    pub architecture: Option<Architecture>,
    /// Of its whole disk; 0 while that is not known.
    pub disk_bytes: u64,
    /// Too little of its disk is free: it keeps its pods and takes no new ones.
    pub disk_pressure: bool,
}

/// Whether a machine takes pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    Ready,
    /// Keeps its pods, takes no new ones.
    Cordoned,
    /// Its pods move elsewhere.
    Draining,
    /// Silent for a moment: it keeps its pods and takes no new ones.
    Suspected,
    /// Silent for too long.
    Lost,
}

/// What is known of the routers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routers {
    /// Since when reports are collected: a router that lives has reported [`ROUTER_LIVE_SECS`]
    /// later, before that there may be some that nobody knows of.
    pub observing_since: DateTime<Utc>,
    pub seen: BTreeMap<RouterName, Router>,
}

/// One router's last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    pub reported_at: DateTime<Utc>,
    /// Of the table in use.
    pub generation: u64,
    /// Requests still open to pods that its table does not name.
    pub draining: BTreeMap<PodId, u32>,
    /// How both sides of each canary did.
    pub canaries: BTreeMap<DeploymentId, CanaryTally>,
}

impl App {
    /// The deployment that has begun and not ended; there is at most one.
    pub fn active_deployment(&self) -> Option<&Deployment> {
        self.deployments
            .iter()
            .find(|deployment| deployment.state.is_active())
    }

    /// The release that serves.
    pub fn current_release(&self) -> Option<&Release> {
        self.current.and_then(|id| self.releases.get(&id))
    }

    /// Where a pod may run: as somebody said for its process type, else as its release does.
    pub fn placement(&self, pod: &Pod) -> Arc<Placement> {
        let said = self.placements.get(&pod.process_type);
        if pod.kind == PodKind::Job {
            return Arc::clone(said.unwrap_or(&*JOB_PLACEMENT));
        }
        let of_release = || {
            let release = self.releases.get(&pod.release)?;
            Some(&release.types.get(&pod.process_type)?.placement)
        };
        said.or_else(of_release).map(Arc::clone).unwrap_or_default()
    }

    /// How many pods of each process type a release should have.
    pub fn wanted<'a>(&'a self, release: &'a Release) -> BTreeMap<&'a ProcessType, &'a Want> {
        release
            .types
            .iter()
            .filter(|(process_type, _)| process_type.as_str() != RELEASE_PHASE_TYPE)
            .map(|(process_type, of_release)| {
                (
                    process_type,
                    self.formation
                        .get(process_type)
                        .unwrap_or(&of_release.initial),
                )
            })
            .collect()
    }

    /// What the sidecars of such a pod take.
    pub(crate) fn sidecars(
        &self,
        release: ReleaseId,
        kind: PodKind,
        process_type: &ProcessType,
    ) -> Resources {
        let Some(release) = self.releases.get(&release) else {
            return Resources::default();
        };
        match kind {
            PodKind::Run | PodKind::Job => release.one_off_sidecars,
            PodKind::Service | PodKind::ReleasePhase => {
                let of_type = release.types.get(process_type);
                of_type.map(|it| it.sidecars).unwrap_or_default()
            }
        }
    }

    /// True for a pod that the route table names.
    pub fn routes_to(&self, pod: &Pod) -> bool {
        pod.is_web()
            && !pod.gone
            && pod.intent == PodIntent::Wanted
            && self.serves(pod.release)
            && pod.status.as_ref().is_some_and(PodStatus::is_ready)
    }
}

impl Node {
    /// True if it takes new pods, as far as its state goes.
    pub fn takes_pods(&self) -> bool {
        self.state == NodeState::Ready && self.capacity.is_some() && !self.facts.disk_pressure
    }

    /// True if its pods move elsewhere, whatever they bear.
    pub fn is_left(&self) -> bool {
        matches!(self.state, NodeState::Draining | NodeState::Lost)
    }

    /// Taints that drive away pods which do not bear them.
    pub fn evicting(&self) -> impl Iterator<Item = &Taint> {
        let taints = self.facts.taints.iter();
        taints.filter(|taint| taint.effect == TaintEffect::NoExecute)
    }
}

impl Release {
    /// The longest that one of the given process types may take to start, in seconds.
    pub fn startup_deadline_secs<'a>(
        &self,
        process_types: impl Iterator<Item = &'a ProcessType>,
    ) -> u32 {
        process_types
            .filter_map(|process_type| self.types.get(process_type))
            .map(|of_release| of_release.startup_deadline_secs)
            .max()
            .unwrap_or(STARTUP_DEADLINE_SECS_DEFAULT)
    }
}

impl Pod {
    /// True for a replica that gets the app's requests.
    pub fn is_web(&self) -> bool {
        self.kind == PodKind::Service && self.process_type.is_web()
    }

    /// True when it does its work: a web pod is ready, any other runs.
    pub fn is_up(&self) -> bool {
        if self.gone {
            return false;
        }
        match self.status.as_ref().map(|status| &status.phase) {
            Some(PodPhase::Running { ready }) => *ready || !self.process_type.is_web(),
            _ => false,
        }
    }

    /// True for a process that ended and stays so.
    pub fn has_exited(&self) -> bool {
        matches!(
            self.status,
            Some(PodStatus {
                phase: PodPhase::Exited,
                ..
            })
        )
    }

    /// True for a report of it that says something new. Its end is for good: a report of anything
    /// else was sent before it and came late, and its room may be another's by now.
    pub fn is_news(&self, status: &PodStatus) -> bool {
        let undoes_end = self.has_exited() && status.phase != PodPhase::Exited;
        self.status.as_ref() != Some(status) && !undoes_end
    }

    /// True for a replica that its machine could not keep. However else one ends, its agent starts
    /// it again.
    pub fn was_evicted(&self) -> bool {
        let exit = self.status.as_ref().and_then(|it| it.last_exit.as_ref());
        let evicted = exit.is_some_and(Exit::is_eviction);
        self.kind == PodKind::Service && self.has_exited() && evicted
    }

    /// True while it holds part of its machine; not once its process is no more.
    pub fn holds(&self) -> bool {
        !self.gone && !self.has_exited()
    }

    /// What it takes of its machine.
    pub fn resources(&self) -> Option<Resources> {
        self.holds().then(|| self.need())
    }

    /// What all its containers may use together.
    pub fn need(&self) -> Resources {
        resources(&self.size).plus(self.sidecars)
    }
}

/// What a container of this size may use.
pub fn resources(size: &SizeName) -> Resources {
    // A size that was taken out of the table since counts as the default one: its pods go on.
    fairway_api::sizes::find(size.as_str())
        .or_else(|| fairway_api::sizes::find(fairway_api::sizes::SIZE_DEFAULT))
        .map_or(
            Resources {
                memory_bytes: 0,
                cpu_millis: 0,
                pids: 0,
            },
            |size| size.resources,
        )
}

impl Routers {
    /// Routers that reported lately.
    pub fn live(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Router> {
        self.live_by_name(now).map(|(_, router)| router)
    }

    /// Their names.
    pub fn live_names(&self, now: DateTime<Utc>) -> impl Iterator<Item = &RouterName> {
        self.live_by_name(now).map(|(name, _)| name)
    }

    fn live_by_name(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&RouterName, &Router)> {
        let since = now - Duration::seconds(ROUTER_LIVE_SECS);
        self.seen
            .iter()
            .filter(move |(_, router)| router.reported_at > since)
    }

    /// True when each live router uses a table of this generation or a later one. False when there
    /// is none.
    pub fn acknowledged(&self, generation: u64, now: DateTime<Utc>) -> bool {
        let mut live = self.live(now).peekable();
        live.peek().is_some() && live.all(|router| router.generation >= generation)
    }

    /// From when on a router that was not seen cannot be there.
    pub fn complete_at(&self) -> DateTime<Utc> {
        self.observing_since + Duration::seconds(ROUTER_LIVE_SECS)
    }
}
