//! Runs a pod's checks from this machine to the pod's own address and tells the pod's task what
//! came out. What follows from that is decided in `pod`.

mod command;
mod grpc;
mod listening;
mod probe;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    checks::{Check, Checks, Periodic},
    ids::PodId,
    phases::Phase,
    pods::CheckFailure,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at},
};

use crate::pod::Seen;
pub(crate) use probe::{Inside, Target};

/// Pause between two tries of a startup check, in milliseconds, at first and at most: short, since
/// it is part of the time that every push takes, but a pod that takes long is not made slower by
/// being asked all the time.
const STARTUP_PAUSE_MILLIS: (u64, u64) = (5, 2_000);
/// The pause is this part of the pod's age, so that waiting adds no more than that to any start.
const STARTUP_PAUSE_PART: u32 = 20;
/// The shortest such pause for a check that starts a program each time, in milliseconds.
const STARTUP_COMMAND_PAUSE_MILLIS: u64 = 500;
/// How long after its start a pod's failing check is worth telling, in seconds: before that,
/// "connection refused" is what every pod answers.
const STARTUP_QUIET_SECS: u64 = 3;
/// Results that wait for the pod's task.
pub(crate) const RESULTS_MAX: usize = 8;

/// Runs the startup check of `pod` until it passes or its deadline is over.
pub(crate) async fn startup(
    pod: PodId,
    checks: Checks,
    target: Target,
    results: mpsc::Sender<Seen>,
) {
    let first = Instant::now();
    let age = (Utc::now() - target.started_at)
        .to_std()
        .unwrap_or_default();
    let began = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
    let deadline = began + Duration::from_secs(checks.startup_deadline_secs.into());
    let mut last = None;
    let mut told: Option<CheckFailure> = None;
    sleep_until(began + Duration::from_secs(checks.startup_delay_secs.into())).await;
    loop {
        match timeout_at(deadline, probe::run(&checks.startup, &target)).await {
            Ok(Ok(())) => {
                Phase::StartCheck.log(pod, first.elapsed());
                return drop(results.send(Seen::StartupPassed).await);
            }
            Ok(Err(failed)) => last = Some(failed),
            // A try that the deadline cut off says less than the one before it.
            Err(_) => {}
        }
        let failed = last
            .clone()
            .unwrap_or_else(|| probe::unfinished(&checks.startup, &target));
        let pause = pace(&checks.startup, began.elapsed());
        if Instant::now() + pause >= deadline {
            sleep(deadline.saturating_duration_since(Instant::now())).await;
            let failure = probe::explain(failed, &target).await;
            return drop(results.send(Seen::StartupMissed(failure)).await);
        }
        if began.elapsed() >= Duration::from_secs(STARTUP_QUIET_SECS) {
            let failure = probe::explain(failed, &target).await;
            if told.as_ref() != Some(&failure) {
                told = Some(failure.clone());
                if results.send(Seen::StartupFailing(failure)).await.is_err() {
                    return;
                }
            }
        }
        sleep(pause).await;
    }
}

/// How long to wait before the next try, for a pod of this age.
fn pace(check: &Check, age: Duration) -> Duration {
    let (mut first, most) = STARTUP_PAUSE_MILLIS;
    if matches!(check, Check::Command { .. }) {
        first = STARTUP_COMMAND_PAUSE_MILLIS;
    }
    (age / STARTUP_PAUSE_PART).clamp(Duration::from_millis(first), Duration::from_millis(most))
}

/// Which of the two repeating checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeating {
    Readiness,
    Liveness,
}

/// Repeats a check for as long as somebody takes its results.
pub(crate) async fn repeat(
    kind: Repeating,
    periodic: Periodic,
    target: Target,
    results: mpsc::Sender<Seen>,
) {
    sleep(Duration::from_secs(periodic.delay_secs.into())).await;
    let mut ticks = interval(Duration::from_secs(periodic.every_secs.max(1).into()));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, and the startup check has only just passed.
    ticks.tick().await;
    let mut failures = 0;
    loop {
        ticks.tick().await;
        let news = match probe::run(&periodic.check, &target).await {
            Ok(()) => {
                failures = 0;
                (kind == Repeating::Readiness).then_some(Seen::ReadinessPassed)
            }
            Err(failure) => {
                failures += 1;
                if failures < periodic.failures.max(1) {
                    None
                } else {
                    let failure = probe::explain(failure, &target).await;
                    Some(match kind {
                        Repeating::Readiness => Seen::ReadinessFailed(failure),
                        Repeating::Liveness => Seen::LivenessFailed(failure),
                    })
                }
            }
        };
        if let Some(news) = news
            && results.send(news).await.is_err()
        {
            return;
        }
    }
}

/// How long something has been running; a clock that was set back counts as zero.
fn age(started_at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - started_at)
        .max(TimeDelta::zero())
        .to_std()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
