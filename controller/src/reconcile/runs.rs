//! Writes what was decided of jobs and runs, and says it in words.

use chrono::{DateTime, SecondsFormat, Utc};
use fairway_api::{ids::AppId, jobs::RunState};
use fairway_scheduler::{
    action::{Action, Decision},
    jobs::{End, JobAction, NewRun, Outcome, Progress, RunKind, due::ON_TIME_SECS},
};

use super::{load::KnownRun, news::News, world::World};
use crate::store::{
    Db, StoreError,
    events::ACTOR_PLATFORM,
    jobs,
    runs::{self, RunRow},
};

/// Writes one decision.
pub(super) async fn write(
    db: &mut Db,
    app: AppId,
    action: &JobAction,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    match action {
        JobAction::Decide { job, decided } => jobs::decide(db, app, job, decided.as_ref()).await,
        JobAction::Start(new) => runs::insert(db, &row(app, new, None, now)).await,
        JobAction::Miss(new, why) => {
            runs::insert(db, &row(app, new, Some(why), now)).await?;
            runs::forget_old(db, new.id).await
        }
        JobAction::InTheWay { run, times } => runs::in_the_way(db, *run, *times).await,
        JobAction::Progress { run, progress } => runs::progress(db, *run, progress).await,
        JobAction::End { run, end } => {
            let reason = end.reason.as_deref();
            runs::end(db, *run, state(end), end.exit_code, reason, now).await?;
            Ok(())
        }
    }
}

fn state(end: &End) -> RunState {
    match end.outcome {
        Outcome::Succeeded => RunState::Succeeded,
        Outcome::Failed => RunState::Failed,
        Outcome::TimedOut => RunState::TimedOut,
        Outcome::Replaced => RunState::Cancelled,
    }
}

fn row(app: AppId, new: &NewRun, missed: Option<&String>, now: DateTime<Utc>) -> RunRow {
    RunRow {
        id: new.id,
        app,
        release: new.release,
        kind: RunKind::Job,
        job: Some(new.job.clone()),
        name: new.name(),
        number: new.number,
        size: new.size.clone(),
        work: None,
        shape: new.shape,
        progress: Progress::default(),
        state: if missed.is_some() {
            RunState::Missed
        } else {
            RunState::Running
        },
        exit_code: None,
        reason: missed.cloned(),
        scheduled_at: Some(new.scheduled_at),
        skipped: new.missed,
        actor: ACTOR_PLATFORM.into(),
        created_at: now,
        ended_at: missed.map(|_| now),
    }
}

/// What the loop remembers of a run that has just begun.
pub(super) fn known(new: &NewRun) -> KnownRun {
    KnownRun {
        name: new.name(),
        kind: RunKind::Job,
        work: None,
        scheduled_at: Some(new.scheduled_at),
    }
}

/// What goes on the record: what failed, was missed or stood in the way. What went as it should
/// stands in the history of runs.
pub(super) fn events(world: &World, decision: &Decision, now: DateTime<Utc>) -> Vec<(AppId, News)> {
    let steps = decision.steps.iter().filter_map(|step| match &step.action {
        Action::Job(action) => Some((step.app, action)),
        _ => None,
    });
    let news = steps.filter_map(|(app, action)| Some((app, event(world, app, action, now)?)));
    news.collect()
}

fn event(world: &World, app: AppId, action: &JobAction, now: DateTime<Utc>) -> Option<News> {
    let known = &world.apps.get(&app)?.runs;
    match action {
        JobAction::End { run, end } => {
            let run = known.get(run).filter(|run| run.kind == RunKind::Job)?;
            let kind = match end.outcome {
                Outcome::Succeeded => return None,
                Outcome::Failed => "run.failed",
                Outcome::TimedOut => "run.timed-out",
                Outcome::Replaced => "run.replaced",
            };
            let message = format!("{} {}", run.name, ending(end));
            Some(News::told(kind, message))
        }
        JobAction::Miss(new, why) => {
            let (job, at) = (&new.job, shown(new.scheduled_at));
            let more = others(new.missed);
            let message = format!("Job {job} did not run at {at}{more}: {why}");
            Some(News::told("run.missed", message))
        }
        JobAction::Start(new) => {
            let late = now - new.scheduled_at;
            if new.missed == 0 && late.num_seconds() <= ON_TIME_SECS {
                return None;
            }
            let (name, at) = (new.name(), shown(new.scheduled_at));
            let more = others(new.missed);
            let message = format!("{name} runs late, for {at}{more}");
            Some(News::told("run.late", message))
        }
        JobAction::InTheWay { run, times } => {
            let app = world.planner.snapshot().apps.get(&app)?;
            let now = app.jobs.runs.get(run)?;
            // Once is enough for one run; it counts the rest.
            (now.in_the_way == *times).then(|| {
                let name = &now.name;
                let message = format!("{name} has not ended, so its job is skipped until it has");
                News::told("run.skipped", message)
            })
        }
        JobAction::Decide { .. } | JobAction::Progress { .. } => None,
    }
}

fn others(missed: u32) -> String {
    match missed {
        0 => String::new(),
        1 => " and once before".into(),
        times => format!(" and {times} times before"),
    }
}

fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn ending(end: &End) -> String {
    let why = end.reason.as_deref().unwrap_or_default();
    match end.outcome {
        Outcome::Succeeded => "succeeded".into(),
        Outcome::Failed => format!("failed: {why}"),
        Outcome::TimedOut => format!("was ended: {why}"),
        Outcome::Replaced => format!("was ended: {why}"),
    }
}

/// The line in the app's log with which a run ends, and whose it is. One-off pods have none: their
/// agent has said it.
pub(super) fn last_line(world: &World, app: AppId, action: &JobAction) -> Option<(String, String)> {
    let JobAction::End { run, end } = action else {
        return None;
    };
    let run = world.apps.get(&app)?.runs.get(run)?;
    (run.kind == RunKind::Job).then(|| (run.name.clone(), format!("Run {}", ending(end))))
}
