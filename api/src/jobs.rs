//! Jobs and runs. A job is a named command that app.json puts on a schedule; a run is one execution
//! of a command beside the process types: of a job, of a batch, or a one-off. Ours; the Platform API
//! has only the one-off pod (`crate::dynos`).

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    apps::AppRef,
    dynos::DynoRelease,
    ids::RunId,
    names::{ConfigName, JobName, SizeName},
    secret::Secret,
};

/// The most jobs of one app.
pub const JOBS_PER_APP_MAX: usize = 50;
/// The most runs of one app that have not ended, one-off ones included. Guards the machines against
/// a loop in somebody's script.
pub const OPEN_RUNS_PER_APP_MAX: usize = 100;
/// How many ended runs of one job are kept; older ones are forgotten.
pub const RUNS_KEPT_PER_JOB: u32 = 50;
/// How many ended runs of an app that are of no job are kept.
pub const RUNS_KEPT_WITHOUT_JOB: u32 = 200;
/// How many ended runs of an app are kept in all.
pub const RUNS_KEPT_PER_APP: u32 = 2_000;
/// The most pods of one run that have to succeed.
pub const COMPLETIONS_MAX: u32 = 10_000;
/// The most pods of one run at a time.
pub const PARALLELISM_MAX: u32 = 100;
/// The most times that each of a run's pods is tried again.
pub const RETRIES_MAX: u32 = 100;
/// The longest that a run may take, in seconds, and what it may take when nobody says: one day, as
/// a one-off pod.
pub const RUN_TIMEOUT_SECS_MAX: u32 = crate::dynos::RUN_TTL_SECS_MAX;
/// The longest command line, in bytes: Linux takes no longer argument.
pub const COMMAND_BYTES_MAX: usize = 128 * 1024 - 1;
/// In the environment of a run's pods: which of them it is, from 0.
pub const RUN_INDEX_VARIABLE: &str = "FAIRWAY_RUN_INDEX";
/// In the environment of a run's pods: how many have to succeed.
pub const RUN_COMPLETIONS_VARIABLE: &str = "FAIRWAY_RUN_COMPLETIONS";
/// In the environment of a run's pods: the run's name.
pub const RUN_NAME_VARIABLE: &str = "FAIRWAY_RUN";
/// In the environment of a scheduled run's pods: the time that it is for, in RFC 3339, so that a
/// command that works on a span of time knows which, however late it starts.
pub const RUN_SCHEDULED_AT_VARIABLE: &str = "FAIRWAY_SCHEDULED_AT";

/// One entry of app.json `cron`, as a release has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronJob {
    /// A shell command line; the name of a process type runs that type's command.
    pub command: String,
    /// Five fields as in crontab(5), or `@daily` and the like.
    pub schedule: String,
    /// Of the schedule, as the time zone database names it: `Europe/Berlin`.
    pub time_zone: String,
    /// `None`: the default size.
    pub size: Option<SizeName>,
    pub concurrency: Concurrency,
    pub missed: Missed,
    /// How often the command is tried again when it fails.
    pub retries: u32,
    /// Seconds after which a run is ended.
    pub timeout_secs: u32,
}

/// What happens at a scheduled time while a run of the same job has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concurrency {
    /// Both run.
    Allow,
    /// The time is skipped; the run that stood in the way counts how many.
    #[default]
    Forbid,
    /// The older one is ended.
    Replace,
}

/// What happens when scheduled times passed and nobody was there to start a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// One run for all of them, as soon as possible.
    #[default]
    RunOnce,
    /// None; the history says that they were missed.
    Skip,
}

/// `GET /apps/{app}/jobs/{job}`: a job of the current release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub name: JobName,
    pub app: AppRef,
    pub command: String,
    pub schedule: String,
    pub time_zone: String,
    pub size: SizeName,
    pub concurrency: Concurrency,
    pub missed: Missed,
    pub retries: u32,
    /// Seconds.
    pub timeout: u32,
    /// It does not run by schedule. Outlives releases.
    pub suspended: bool,
    /// `None` while it is suspended.
    pub next_run_at: Option<DateTime<Utc>>,
    /// The newest, whatever its state.
    pub last_run: Option<Run>,
}

/// `PATCH /apps/{app}/jobs/{job}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobPatch {
    pub suspended: bool,
}

/// `GET /apps/{app}/runs/{id_or_name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub app: AppRef,
    /// `run.4821`, `nightly.10001`: also how its lines in the app's log begin.
    pub name: String,
    pub job: Option<JobName>,
    pub command: String,
    pub state: RunState,
    /// Why it is in this state, for people.
    pub reason: Option<String>,
    /// Of the pod that decided how it ended.
    pub exit_code: Option<i64>,
    pub release: DynoRelease,
    pub size: SizeName,
    /// How many pods have to succeed.
    pub completions: u32,
    /// How many run at a time.
    pub parallelism: u32,
    /// How often each of them is tried again.
    pub retries: u32,
    /// Seconds.
    pub timeout: u32,
    /// How many pods have succeeded.
    pub succeeded: u32,
    /// How many run now.
    pub active: u32,
    /// How many tries have failed.
    pub failed: u32,
    /// The scheduled time that it is for.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Scheduled times that passed without a run of their own, because nobody was there before it
    /// or because it ran.
    pub skipped: u32,
    /// Who started it: an account's email, or `platform` for the schedule.
    pub actor: String,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    Running,
    /// Every pod has succeeded.
    Succeeded,
    /// One pod failed more often than it may.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// Somebody ended it, or a newer run of its job.
    Cancelled,
    /// It never began: a record of scheduled times that passed.
    Missed,
}

/// `POST /apps/{app}/runs`: runs a command of the current release in one pod or many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewRun {
    /// A shell command line; the name of a process type runs that type's command.
    pub command: String,
    /// What its pods are called; `None`: `run`.
    pub name: Option<JobName>,
    /// Added to the app's environment for these pods only.
    #[serde(default)]
    pub env: BTreeMap<ConfigName, Secret>,
    pub size: Option<SizeName>,
    /// 1 when not said; at most [`COMPLETIONS_MAX`].
    pub completions: Option<u32>,
    /// All at once when not said; at most [`PARALLELISM_MAX`].
    pub parallelism: Option<u32>,
    /// None when not said; at most [`RETRIES_MAX`].
    pub retries: Option<u32>,
    /// Seconds; at most [`RUN_TIMEOUT_SECS_MAX`], which it is when not said.
    pub timeout: Option<u32>,
}

impl RunState {
    /// True when it will not change any more.
    pub fn has_ended(self) -> bool {
        self != Self::Running
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
        })
    }
}
