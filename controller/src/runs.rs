//! Runs and jobs as users see them and what they ask of them: start, stop, run now, suspend.
//!
//! Requests only write intent; the reconcile loop makes the pods and notes how a run ends. The
//! caller commits and wakes it.

pub(crate) mod work;

mod shown;
mod start;

use std::collections::BTreeMap;

use fairway_api::{
    ids::PodId,
    jobs::{Job, JobPatch, Run, RunState},
    names::JobName,
    schedule::Schedule,
};
use fairway_scheduler::{jobs::RunKind, snapshot::PodKind};

pub(crate) use self::start::{
    check_command, check_environment, free_number, one_off, runnable, shape_of_job, size,
    size_default, size_of_job,
};
pub use self::{
    start::{start, start_job},
    work::Work,
};
use crate::{
    auth::Caller,
    problem::{Answer, Problem},
    secrets::Secrets,
    store::{
        Db,
        apps::AppRow,
        columns::now,
        events, jobs,
        page::Page,
        pods::{self, PodRow},
        releases::{self, ReleaseRow},
        runs::{self, RunRow},
    },
};

/// A page of an app's runs.
pub async fn list(db: &mut Db, secrets: &Secrets, app: &AppRow, page: &Page) -> Answer<Vec<Run>> {
    let rows = runs::list(db, app.id, page).await?;
    shown::all(db, secrets, app, rows).await
}

/// One run, by id or name.
pub async fn find(db: &mut Db, secrets: &Secrets, app: &AppRow, which: &str) -> Answer<Run> {
    let row = runs::find(db, app.id, which).await?;
    shown::one(db, secrets, app, row).await
}

/// Ends a run that has not ended.
pub async fn stop(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    which: &str,
    caller: &Caller,
) -> Answer<Run> {
    let row = runs::find(db, app.id, which).await?;
    if row.state.has_ended() {
        return Err(Problem::conflict(format!(
            "{} has ended already.",
            row.name
        )));
    }
    cancel(db, app, &row, caller).await?;
    find(db, secrets, app, &row.id.to_string()).await
}

/// Marks a run as ended by somebody, and stops the pod of a one-off one; those of a job the
/// reconcile loop stops.
pub(crate) async fn cancel(db: &mut Db, app: &AppRow, row: &RunRow, caller: &Caller) -> Answer<()> {
    let (now, by) = (now(), caller.account.email.as_str());
    let reason = format!("stopped by {by}");
    runs::end(db, row.id, RunState::Cancelled, None, Some(&reason), now).await?;
    if row.kind == RunKind::OneOff {
        for active in row.progress.active.values() {
            pods::stop(db, active.pod, now).await?;
        }
    }
    let message = format!("Run {} was stopped.", row.name);
    Ok(events::record(db, Some(&app.app()), by, "run.stopped", &message).await?)
}

/// The jobs of the current release.
pub async fn jobs(db: &mut Db, secrets: &Secrets, app: &AppRow) -> Answer<Vec<Job>> {
    let Some(release) = current(db, app).await? else {
        return Ok(vec![]);
    };
    let marks = jobs::of_app(db, app.id).await?;
    let cron = release.image.map(|image| image.cron).unwrap_or_default();
    let mut found = Vec::with_capacity(cron.len());
    for (name, job) in cron {
        let last = runs::newest_of(db, app.id, &name).await?;
        let last_run = match last {
            Some(row) => Some(shown::one(db, secrets, app, row).await?),
            None => None,
        };
        let mark = marks.iter().find(|mark| mark.name == name);
        let suspended = mark.is_some_and(|mark| mark.suspended);
        let schedule = Schedule::parse(&job.schedule, &job.time_zone).ok();
        let next = schedule.and_then(|schedule| schedule.next_after(now()));
        found.push(Job {
            name,
            app: app.app(),
            size: size_of_job(&job),
            command: job.command,
            schedule: job.schedule,
            time_zone: job.time_zone,
            concurrency: job.concurrency,
            missed: job.missed,
            retries: job.retries,
            timeout: job.timeout_secs,
            suspended,
            next_run_at: next.filter(|_| !suspended),
            last_run,
        });
    }
    Ok(found)
}

/// One job of the current release.
pub async fn job(db: &mut Db, secrets: &Secrets, app: &AppRow, which: &str) -> Answer<Job> {
    let found = jobs(db, secrets, app).await?.into_iter();
    let mut found = found.filter(|job| job.name.as_str() == which);
    found.next().ok_or_else(|| Problem::not_found("job"))
}

/// Suspends a job or resumes it.
pub async fn change_job(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    which: &str,
    patch: &JobPatch,
    caller: &Caller,
) -> Answer<Job> {
    let before = job(db, secrets, app, which).await?;
    if before.suspended == patch.suspended {
        return Ok(before);
    }
    let name: &JobName = &before.name;
    let actor = caller.account.email.as_str();
    let by = patch.suspended.then_some(actor);
    jobs::suspend(db, app.id, name, by, now()).await?;
    let (kind, what) = if patch.suspended {
        ("job.suspended", "suspended")
    } else {
        ("job.resumed", "resumed")
    };
    let message = format!("Job {name} was {what}.");
    events::record(db, Some(&app.app()), actor, kind, &message).await?;
    job(db, secrets, app, which).await
}

/// The open run that a pod is of.
pub(crate) async fn of_pod(db: &mut Db, app: &AppRow, pod: PodId) -> Answer<Option<RunRow>> {
    let open = runs::open_of(db, app.id).await?;
    Ok(open.into_iter().find(|run| has(run, pod)))
}

fn has(run: &RunRow, pod: PodId) -> bool {
    let mut active = run.progress.active.values();
    active.any(|active| active.pod == pod)
}

/// What the pods of jobs among these run.
pub(crate) async fn commands(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    pods: &[PodRow],
) -> Answer<BTreeMap<PodId, String>> {
    let mut commands = BTreeMap::new();
    if pods.iter().all(|pod| pod.kind != PodKind::Job) {
        return Ok(commands);
    }
    let open = runs::open_of(db, app.id).await?;
    let active: Vec<Vec<PodId>> = open
        .iter()
        .map(|run| run.progress.active.values().map(|it| it.pod).collect())
        .collect();
    let shown = shown::all(db, secrets, app, open).await?;
    for (pods, run) in active.into_iter().zip(shown) {
        commands.extend(pods.into_iter().map(|pod| (pod, run.command.clone())));
    }
    Ok(commands)
}

async fn current(db: &mut Db, app: &AppRow) -> Answer<Option<ReleaseRow>> {
    Ok(match app.current_release {
        Some(id) => Some(releases::get(db, id).await?),
        None => None,
    })
}
