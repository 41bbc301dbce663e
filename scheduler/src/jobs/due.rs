//! Which runs begin: the schedule against the clock.
//!
//! A scheduled time is dealt with once. If somebody is there within [`ON_TIME_SECS`], its run
//! begins; later it was missed, and the job says what then. Of many times that were missed at once
//! only the last gets a run, since one that catches up after a night of silence must not start
//! hundreds.

use std::ops::ControlFlow;

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    ids::RunId,
    jobs::{Concurrency, Missed, OPEN_RUNS_PER_APP_MAX},
    names::JobName,
};

use super::{
    Decided, End, Job, JobAction, Mark, NewRun, Outcome, Run, RunKind, SCHEDULED_NUMBERS_AFTER,
};
use crate::{action::Action, pass::Pass, snapshot::App};

/// How late a run may begin without having been missed, in seconds: the shortest interval that a
/// schedule can have, so that a slow plan is no missed run.
pub const ON_TIME_SECS: i64 = 60;
/// How far in the future a schedule may be dealt with, in seconds. A clock that ran ahead and was
/// set back by more would otherwise leave a job silent until that future comes.
pub const AHEAD_SECS_MAX: i64 = 60 * 60;
/// The most missed times that are counted one by one.
const COUNTED_MAX: u32 = 1_000;

/// What a schedule asks for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this time; `None`: never.
    Nothing { next: Option<DateTime<Utc>> },
    /// The last of so many times that have come.
    Came { last: DateTime<Utc>, times: u32 },
}

/// Which scheduled times have come since the schedule was last dealt with.
pub fn due(job: &Job, mark: &Mark, until: DateTime<Utc>, now: DateTime<Utc>) -> Due {
    let free = |at: &DateTime<Utc>| !mark.taken.contains(at);
    let mut from = until;
    let mut found: Option<(DateTime<Utc>, u32)> = None;
    let search = (0..COUNTED_MAX).try_for_each(|_| match job.schedule.next_after(from) {
        Some(next) if next <= now => {
            from = next;
            if free(&next) {
                found = Some((next, found.map_or(1, |(_, times)| times + 1)));
            }
            ControlFlow::Continue(())
        }
        next => ControlFlow::Break(next),
    });
    match (search, found) {
        (ControlFlow::Break(next), None) => Due::Nothing { next },
        (ControlFlow::Break(_), Some((last, times))) => Due::Came { last, times },
        // There are more than anybody counts; the last of them is found from the other side.
        (ControlFlow::Continue(()), found) => {
            let last = job.schedule.last_until(now).filter(free);
            match last.or(found.map(|(last, _)| last)) {
                Some(last) => Due::Came {
                    last,
                    times: COUNTED_MAX,
                },
                None => Due::Nothing {
                    next: job.schedule.next_after(now),
                },
            }
        }
    }
}

/// Starts the runs whose time has come.
pub(crate) fn start(app: &App, pass: &mut Pass<'_>) {
    let cron = app.current_release().map(|release| &release.cron);
    for (name, mark) in &app.jobs.marks {
        let known = cron.is_some_and(|cron| cron.contains_key(name));
        if !known && mark.decided.is_some() {
            decide(name, None, pass);
        }
    }
    let mut numbers = app.jobs.last_number.max(SCHEDULED_NUMBERS_AFTER);
    let mut open = app.jobs.runs.len();
    let none = Mark::default();
    for (name, job) in cron.into_iter().flat_map(|cron| cron.iter()) {
        let mark = app.jobs.marks.get(name).unwrap_or(&none);
        if !mark.suspended {
            Scheduled {
                app,
                name,
                job,
                mark,
            }
            .start(&mut numbers, &mut open, pass);
        }
    }
}

fn decide(job: &JobName, decided: Option<Decided>, pass: &mut Pass<'_>) {
    let job = job.clone();
    pass.act(Action::Job(JobAction::Decide { job, decided }));
}

/// One job of the current release.
struct Scheduled<'a> {
    app: &'a App,
    name: &'a JobName,
    job: &'a Job,
    mark: &'a Mark,
}

impl Scheduled<'_> {
    fn start(&self, numbers: &mut u32, open: &mut usize, pass: &mut Pass<'_>) {
        let text = self.job.schedule.to_string();
        let ahead = pass.now + Duration::seconds(AHEAD_SECS_MAX);
        let until = match &self.mark.decided {
            Some(decided) if decided.schedule == text && decided.until <= ahead => decided.until,
            // What is new begins now: nothing was missed before there was a schedule.
            _ => {
                self.decide_until(pass.now, pass);
                pass.now
            }
        };
        let (last, times) = match due(self.job, self.mark, until, pass.now) {
            Due::Came { last, times } => (last, times),
            Due::Nothing { next } => {
                if let Some(next) = next {
                    pass.reached(next);
                }
                return;
            }
        };
        self.decide_until(last, pass);
        self.act(last, times, numbers, open, pass);
        if let Some(next) = self.job.schedule.next_after(pass.now.max(last)) {
            pass.reached(next);
        }
    }

    fn decide_until(&self, until: DateTime<Utc>, pass: &mut Pass<'_>) {
        let schedule = self.job.schedule.to_string();
        decide(self.name, Some(Decided { schedule, until }), pass);
    }

    /// One of these times has come, and perhaps others before it.
    fn act(
        &self,
        last: DateTime<Utc>,
        times: u32,
        numbers: &mut u32,
        open: &mut usize,
        pass: &mut Pass<'_>,
    ) {
        let late = pass.now - last > Duration::seconds(ON_TIME_SECS);
        if late && self.job.missed == Missed::Skip {
            let why = "nobody was there to start it".to_owned();
            return self.miss(last, times, why, numbers, pass);
        }
        let before: Vec<&Run> = self.open_runs().collect();
        match (self.job.concurrency, before.first()) {
            (Concurrency::Forbid, Some(run)) => {
                let run = run.id;
                return pass.act(Action::Job(JobAction::InTheWay { run, times }));
            }
            (Concurrency::Replace, Some(_)) => *open -= before.len(),
            _ => {}
        }
        if *open >= OPEN_RUNS_PER_APP_MAX {
            let why = format!("the app had {OPEN_RUNS_PER_APP_MAX} runs that had not ended");
            return self.miss(last, times, why, numbers, pass);
        }
        let new = self.new_run(last, times - 1, numbers, pass);
        if self.job.concurrency == Concurrency::Replace {
            for run in before {
                let end = End {
                    outcome: Outcome::Replaced,
                    exit_code: None,
                    reason: Some(format!("{} took its place", new.name())),
                };
                pass.act(Action::Job(JobAction::End { run: run.id, end }));
            }
        }
        *open += 1;
        pass.act(Action::Job(JobAction::Start(new)));
    }

    /// Runs of this job that have not ended, oldest first.
    fn open_runs(&self) -> impl Iterator<Item = &Run> {
        let runs = self.app.jobs.runs.values();
        runs.filter(|run| run.kind == RunKind::Job && run.job.as_ref() == Some(self.name))
    }

    fn miss(
        &self,
        last: DateTime<Utc>,
        times: u32,
        why: String,
        numbers: &mut u32,
        pass: &mut Pass<'_>,
    ) {
        let record = self.new_run(last, times - 1, numbers, pass);
        pass.act(Action::Job(JobAction::Miss(record, why)));
    }

    fn new_run(
        &self,
        scheduled_at: DateTime<Utc>,
        missed: u32,
        numbers: &mut u32,
        pass: &mut Pass<'_>,
    ) -> NewRun {
        *numbers += 1;
        NewRun {
            id: RunId::from_u128(pass.id().as_uuid().as_u128()),
            job: self.name.clone(),
            release: self
                .app
                .current
                .expect("its jobs come from the current release"),
            number: *numbers,
            size: self.job.size.clone(),
            shape: self.job.shape,
            scheduled_at,
            missed,
        }
    }
}
