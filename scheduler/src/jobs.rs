//! Jobs: commands beside the process types that come to an end, by schedule or by somebody's order.
//!
//! ```text
//! current release's cron ─┐
//! what was decided before ─┴─> due (which runs begin) ──> drive (which pods, how it ends)
//! ```
//!
//! What is remembered of a job ([`Mark`]) says up to which time its schedule is dealt with. It moves
//! in the same plan that starts the run, so that a restart between any two steps neither starts a
//! run twice nor forgets one.

pub mod due;

mod drive;

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{PodId, ReleaseId, RunId},
    jobs::{Concurrency, Missed, RUNS_KEPT_PER_JOB},
    names::{JobName, ProcessType, SizeName},
    schedule::Schedule,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::{drive::drive, due::start};

/// The process type of pods of jobs, a name and nothing more: their kind decides.
pub const JOB_TYPE: &str = "job";
/// Numbers of scheduled runs follow this one; those that people start are below.
pub const SCHEDULED_NUMBERS_AFTER: u32 = 10_000;

/// A job of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub schedule: Schedule,
    pub concurrency: Concurrency,
    pub missed: Missed,
    pub size: SizeName,
    pub shape: Shape,
}

/// How much a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How many pods have to succeed.
    pub completions: u32,
    /// How many run at a time.
    pub parallelism: u32,
    /// How often each is tried again.
    pub retries: u32,
    /// Seconds from the run's beginning.
    pub timeout_secs: u32,
}

/// An app's jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jobs {
    /// What is remembered of jobs, also of those that the current release does not have.
    pub marks: BTreeMap<JobName, Mark>,
    /// Runs that have not ended.
    pub runs: BTreeMap<RunId, Run>,
    /// The highest number that a scheduled run has got.
    pub last_number: u32,
}

/// What is remembered of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// It starts no runs.
    pub suspended: bool,
    /// `None` while it is not on a schedule.
    pub decided: Option<Decided>,
    /// The newest scheduled times that have a run: they get no other, wherever the clock jumps.
    pub taken: BTreeSet<DateTime<Utc>>,
}

/// Up to when a schedule is dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The schedule as text; another one begins anew.
    pub schedule: String,
    pub until: DateTime<Utc>,
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    /// Of which job, or how a batch was named.
    pub job: Option<JobName>,
    pub kind: RunKind,
    pub release: ReleaseId,
    /// `nightly.10001`, `run.4821`.
    pub name: String,
    pub number: u32,
    pub size: SizeName,
    pub shape: Shape,
    pub progress: Progress,
    /// At how many scheduled times it was in the way of another.
    pub in_the_way: u32,
    pub created_at: DateTime<Utc>,
}

/// Whose pods a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// One pod that somebody made, perhaps with a terminal: it runs once, whatever happens to it.
    OneOff,
    /// Pods of the platform, which are replaced when they are lost.
    Job,
}

/// How far a run is. Each of its pods is known by an index from 0; one that fails is tried again
/// under the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Indices with a pod.
    pub active: BTreeMap<u32, Active>,
    /// Indices that wait to be tried again.
    pub waiting: BTreeMap<u32, Waiting>,
    /// The lowest index that has not begun.
    pub next: u32,
    /// How many indices are done.
    pub succeeded: u32,
    /// How many tries have failed, over all indices.
    pub failed: u32,
}

/// An index with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    pub pod: PodId,
    /// How many tries have failed before.
    pub failures: u32,
}

/// An index that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub failures: u32,
    pub until: DateTime<Utc>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub outcome: Outcome,
    /// Of the pod that decided it.
    pub exit_code: Option<i64>,
    /// For people, without full stop; `None` for success.
    pub reason: Option<String>,
}

/// In a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Failed,
    TimedOut,
    /// A newer run took its place.
    Replaced,
}

/// A change of an app's jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobAction {
    /// A schedule is dealt with up to a time; `None`: the job is not on a schedule any more.
    Decide {
        job: JobName,
        decided: Option<Decided>,
    },
    /// A run begins.
    Start(NewRun),
    /// Scheduled times passed and no run is made for them: a record of that, and nothing else.
    Miss(NewRun, String),
    /// This run was in the way at so many scheduled times.
    InTheWay { run: RunId, times: u32 },
    /// A run goes on.
    Progress { run: RunId, progress: Progress },
    /// A run is over; the pods that it still has will be stopped.
    End { run: RunId, end: End },
}

/// A scheduled run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    pub id: RunId,
    pub job: JobName,
    pub release: ReleaseId,
    pub number: u32,
    pub size: SizeName,
    pub shape: Shape,
    pub scheduled_at: DateTime<Utc>,
    /// Scheduled times before it for which there is none.
    pub missed: u32,
}

impl NewRun {
    /// `nightly.10001`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.job, self.number)
    }
}

impl Run {
    /// What the pod of an index is called.
    pub fn pod_name(&self, index: u32) -> String {
        if self.shape.completions == 1 {
            self.name.clone()
        } else {
            format!("{}.{index}", self.name)
        }
    }

    /// Which index a pod is.
    pub fn index_of(&self, pod: PodId) -> Option<u32> {
        let mut active = self.progress.active.iter();
        active.find_map(|(index, active)| (active.pod == pod).then_some(*index))
    }
}

impl Jobs {
    /// The run that a pod belongs to, and which of its pods it is.
    pub fn run_of(&self, pod: PodId) -> Option<(&Run, u32)> {
        let mut runs = self.runs.values();
        runs.find_map(|run| Some((run, run.index_of(pod)?)))
    }

    /// Does to the jobs what carrying out the action does to the world.
    pub(crate) fn apply(&mut self, action: &JobAction, now: DateTime<Utc>) {
        match action {
            JobAction::Decide { job, decided } => {
                let mark = self.marks.entry(job.clone()).or_default();
                mark.decided.clone_from(decided);
                if decided.is_none() && !mark.suspended && mark.taken.is_empty() {
                    self.marks.remove(job);
                }
            }
            JobAction::Start(new) => {
                self.take(new);
                self.runs.insert(new.id, Run::new(new, now));
            }
            JobAction::Miss(new, _) => self.take(new),
            JobAction::InTheWay { run, times } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.in_the_way += times;
                }
            }
            JobAction::Progress { run, progress } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.progress.clone_from(progress);
                }
            }
            JobAction::End { run, .. } => {
                self.runs.remove(run);
            }
        }
    }

    fn take(&mut self, new: &NewRun) {
        self.last_number = self.last_number.max(new.number);
        let taken = &mut self.marks.entry(new.job.clone()).or_default().taken;
        taken.insert(new.scheduled_at);
        while taken.len() > RUNS_KEPT_PER_JOB as usize {
            taken.pop_first();
        }
    }
}

impl Run {
    fn new(new: &NewRun, now: DateTime<Utc>) -> Self {
        Self {
            id: new.id,
            job: Some(new.job.clone()),
            kind: RunKind::Job,
            release: new.release,
            name: new.name(),
            number: new.number,
            size: new.size.clone(),
            shape: new.shape,
            progress: Progress::default(),
            in_the_way: 0,
            created_at: now,
        }
    }
}

/// The jobs of a release by name.
pub type Cron = Arc<BTreeMap<JobName, Job>>;

pub(crate) fn job_type() -> ProcessType {
    JOB_TYPE
        .parse()
        .expect("the word is a process type, as every test that makes a job shows")
}
