//! From a run to its pods, and from their ends to its own.

use chrono::{DateTime, Duration, Utc};
use fairway_api::pods::{Exit, PodPhase};

use super::{Active, End, JobAction, Outcome, Progress, Run, RunKind, Waiting, job_type};
use crate::{
    action::{Action, NewPod},
    pass::Pass,
    rollout::{REFUSED_PATIENCE_SECS, UNPLACED_PATIENCE_SECS},
    snapshot::{App, Pod, PodIntent, PodKind},
};

/// How long the first failure of a pod is waited out, in seconds; each further one twice as long.
const RETRY_AFTER_SECS: i64 = 2;
/// The longest wait for another try, in seconds.
const RETRY_AFTER_SECS_MAX: i64 = 5 * 60;
/// What an agent says when it ended a pod whose time was over.
const TIME_OVER: &str = "time to live reached";

/// Moves every open run on, and stops pods of jobs that no open run has.
pub(crate) fn drive(app: &App, pass: &mut Pass<'_>) {
    for run in app.jobs.runs.values() {
        match run.kind {
            RunKind::OneOff => watch(app, run, pass),
            RunKind::Job => advance(app, run, pass),
        }
    }
    for pod in app.pods.values() {
        let theirs = pod.kind == PodKind::Job && pod.intent == PodIntent::Wanted;
        if theirs && app.jobs.run_of(pod.id).is_none() {
            pass.act(Action::Stop { pod: pod.id });
        }
    }
}

/// How a pod is doing, as far as its run is concerned.
enum Seen<'a> {
    /// It runs, or will.
    Goes,
    /// It is no more, through no fault of its own.
    Lost,
    Exited(Option<&'a Exit>),
    Refused(&'a str),
    /// Nobody waits for room any more.
    NoRoom(&'a str),
}

fn look<'a>(app: &'a App, active: &Active, pass: &mut Pass<'_>) -> Seen<'a> {
    let Some(pod) = app.pods.get(&active.pod) else {
        return Seen::Lost;
    };
    if let (Some(why), PodKind::Run) = (&pod.unplaced, pod.kind)
        && pass.reached(pod.created_at + Duration::seconds(UNPLACED_PATIENCE_SECS))
    {
        return Seen::NoRoom(why);
    }
    let status = pod.status.as_ref();
    match status.map(|status| &status.phase) {
        Some(PodPhase::Exited) => Seen::Exited(status.and_then(|status| status.last_exit.as_ref())),
        // Others needed its place, or somebody wanted a fresh one.
        _ if pod.intent != PodIntent::Wanted => Seen::Lost,
        _ if pass.is_lost(pod) => Seen::Lost,
        Some(PodPhase::Refused { reason }) if is_refused_for_good(pod, pass) => {
            Seen::Refused(reason)
        }
        _ => Seen::Goes,
    }
}

fn is_refused_for_good(pod: &Pod, pass: &mut Pass<'_>) -> bool {
    pass.reached(pod.created_at + Duration::seconds(REFUSED_PATIENCE_SECS))
}

/// Notes how a one-off pod ended. Its own rule ([`crate::one_off`]) stops it.
fn watch(app: &App, run: &Run, pass: &mut Pass<'_>) {
    for active in run.progress.active.values() {
        let end = match look(app, active, pass) {
            Seen::Goes => continue,
            Seen::Exited(exit) => ended(exit),
            Seen::Refused(why) => failed(None, format!("could not be started: {why}")),
            // Its machine may come back with it, or say how it ended.
            Seen::Lost if is_there(app, active) => continue,
            Seen::Lost => failed(
                None,
                "its pod is no more, and nobody saw how it ended".into(),
            ),
            Seen::NoRoom(why) => failed(None, format!("fits on no machine: {why}")),
        };
        pass.act(Action::Job(JobAction::End { run: run.id, end }));
    }
}

fn is_there(app: &App, active: &Active) -> bool {
    let pod = app.pods.get(&active.pod);
    pod.is_some_and(|pod| !pod.gone && pod.node.is_some())
}

/// How a pod that ends its run ended it.
fn ended(exit: Option<&Exit>) -> End {
    match exit {
        Some(exit) if exit.stopped_because.as_deref() == Some(TIME_OVER) => End {
            outcome: Outcome::TimedOut,
            exit_code: Some(exit.code),
            reason: Some(exit.to_string()),
        },
        Some(exit) if exit.code == 0 => End {
            outcome: Outcome::Succeeded,
            exit_code: Some(0),
            reason: None,
        },
        Some(exit) => failed(Some(exit.code), exit.to_string()),
        None => failed(None, "ended, and nobody saw how".into()),
    }
}

fn failed(exit_code: Option<i64>, reason: String) -> End {
    End {
        outcome: Outcome::Failed,
        exit_code,
        reason: Some(reason),
    }
}

/// Moves a run on: takes note of what ended, tries again, begins what is to begin.
fn advance(app: &App, run: &Run, pass: &mut Pass<'_>) {
    let mut progress = run.progress.clone();
    let end = take_note(app, run, &mut progress, pass).or_else(|| time_over(run, pass));
    if let Some(end) = end {
        if progress != run.progress {
            report(run, progress, pass);
        }
        return pass.act(Action::Job(JobAction::End { run: run.id, end }));
    }
    let mut created = vec![];
    while let Some((index, failures)) = next(run, &mut progress, pass) {
        let pod = pass.id();
        progress.active.insert(index, Active { pod, failures });
        created.push(new_pod(run, pod, index));
    }
    if progress != run.progress {
        created
            .into_iter()
            .for_each(|new| pass.act(Action::Create(new)));
        report(run, progress, pass);
    }
}

fn report(run: &Run, progress: Progress, pass: &mut Pass<'_>) {
    let run = run.id;
    pass.act(Action::Job(JobAction::Progress { run, progress }));
}

/// Takes over what became of the run's pods; says so if that ends the run.
fn take_note(app: &App, run: &Run, progress: &mut Progress, pass: &mut Pass<'_>) -> Option<End> {
    for (&index, active) in &run.progress.active {
        let exit = match look(app, active, pass) {
            // A job waits for room as long as it may take in all.
            Seen::Goes | Seen::NoRoom(_) => continue,
            Seen::Lost => {
                progress.active.remove(&index);
                let (failures, until) = (active.failures, pass.now);
                progress.waiting.insert(index, Waiting { failures, until });
                continue;
            }
            Seen::Refused(why) => {
                let why = format!("could not be started: {why}");
                return Some(failed(None, named(run, index, &why)));
            }
            Seen::Exited(exit) => exit,
        };
        progress.active.remove(&index);
        let mut end = ended(exit);
        match end.outcome {
            Outcome::Succeeded => progress.succeeded += 1,
            _ => progress.failed += 1,
        }
        let failures = active.failures + 1;
        match end.outcome {
            Outcome::Succeeded => {}
            Outcome::Failed if failures <= run.shape.retries => {
                let until = pass.now + Duration::seconds(retry_after_secs(failures));
                progress.waiting.insert(index, Waiting { failures, until });
            }
            _ => {
                end.reason = end.reason.map(|why| match failures {
                    1 => named(run, index, &why),
                    _ => format!("{} (try {failures})", named(run, index, &why)),
                });
                return Some(end);
            }
        }
    }
    (progress.succeeded >= run.shape.completions).then_some(End {
        outcome: Outcome::Succeeded,
        exit_code: Some(0),
        reason: None,
    })
}

fn named(run: &Run, index: u32, why: &str) -> String {
    match run.shape.completions {
        1 => why.to_owned(),
        _ => format!("{} {why}", run.pod_name(index)),
    }
}

fn retry_after_secs(failures: u32) -> i64 {
    let doubled = RETRY_AFTER_SECS << (failures - 1).min(16);
    doubled.min(RETRY_AFTER_SECS_MAX)
}

fn time_over(run: &Run, pass: &mut Pass<'_>) -> Option<End> {
    let secs = run.shape.timeout_secs;
    let until: DateTime<Utc> = run.created_at + Duration::seconds(secs.into());
    pass.reached(until).then(|| End {
        outcome: Outcome::TimedOut,
        exit_code: None,
        reason: Some(format!("had not ended after {secs} s")),
    })
}

/// The next index to begin, and how often it has failed: what waits for another try goes first.
fn next(run: &Run, progress: &mut Progress, pass: &mut Pass<'_>) -> Option<(u32, u32)> {
    if progress.active.len() >= run.shape.parallelism as usize {
        return None;
    }
    let waiting: Vec<_> = progress.waiting.iter().map(|(i, it)| (*i, *it)).collect();
    for (index, Waiting { failures, until }) in waiting {
        if pass.reached(until) {
            progress.waiting.remove(&index);
            return Some((index, failures));
        }
    }
    let index = progress.next;
    (index < run.shape.completions).then(|| {
        progress.next += 1;
        (index, 0)
    })
}

fn new_pod(run: &Run, id: fairway_api::ids::PodId, index: u32) -> NewPod {
    NewPod {
        id,
        release: run.release,
        kind: PodKind::Job,
        process_type: job_type(),
        ordinal: run.number,
        name: run.pod_name(index),
        size: run.size.clone(),
    }
}
