//! Jobs and runs in the planner's words, and what it does not need to know of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use fairway_api::{ids::RunId, schedule::Schedule};
use fairway_scheduler::jobs::{Cron, Job, Jobs, Run, RunKind};

use crate::{
    runs::{shape_of_job, size_of_job},
    store::{
        jobs::JobRow,
        releases::ReleaseRow,
        runs::{RunRow, Taken},
    },
};

/// What the planner does not need to know of a run.
#[derive(Debug)]
pub(in crate::reconcile) struct KnownRun {
    pub(in crate::reconcile) name: String,
    pub(in crate::reconcile) kind: RunKind,
    /// Command and environment, sealed; `None` for a job's own.
    pub(in crate::reconcile) work: Option<String>,
    pub(in crate::reconcile) scheduled_at: Option<DateTime<Utc>>,
}

/// What is remembered of jobs, and runs that have not ended.
pub(super) fn remembered(rows: &[JobRow], open: &[RunRow], taken: &[Taken]) -> Jobs {
    let mut jobs = Jobs::default();
    for row in rows {
        let mark = jobs.marks.entry(row.name.clone()).or_default();
        mark.suspended = row.suspended;
        mark.decided.clone_from(&row.decided);
    }
    for taken in taken {
        jobs.last_number = jobs.last_number.max(taken.number);
        let mark = jobs.marks.entry(taken.job.clone()).or_default();
        mark.taken.insert(taken.at);
    }
    jobs.runs = open.iter().map(|row| (row.id, run(row))).collect();
    jobs
}

fn run(row: &RunRow) -> Run {
    Run {
        id: row.id,
        job: row.job.clone(),
        kind: row.kind,
        release: row.release,
        name: row.name.clone(),
        number: row.number,
        size: row.size.clone(),
        shape: row.shape,
        progress: row.progress.clone(),
        in_the_way: row.skipped,
        created_at: row.created_at,
    }
}

pub(super) fn known_run(row: RunRow) -> (RunId, KnownRun) {
    let known = KnownRun {
        name: row.name,
        kind: row.kind,
        work: row.work,
        scheduled_at: row.scheduled_at,
    };
    (row.id, known)
}

/// The jobs of a release. One whose schedule this version does not understand any more is left out,
/// and the log says so.
pub(super) fn cron(row: &ReleaseRow) -> Cron {
    let jobs = row.image.iter().flat_map(|image| &image.cron);
    let understood =
        jobs.filter_map(
            |(name, job)| match Schedule::parse(&job.schedule, &job.time_zone) {
                Ok(schedule) => Some((
                    name.clone(),
                    Job {
                        schedule,
                        concurrency: job.concurrency,
                        missed: job.missed,
                        size: size_of_job(job),
                        shape: shape_of_job(job),
                    },
                )),
                Err(error) => {
                    tracing::error!(release = %row.id, job = %name, "a job cannot run: {error}");
                    None
                }
            },
        );
    Arc::new(understood.collect())
}
