//! One pod's life as a pure state machine: what was seen goes in, what to do comes out.
//!
//! ```text
//! Pending -> Starting -> Running -> (ended) -> BackOff -> Pending ...
//!    |          |           |                     Exited, if it must not be restarted
//!    v          v           v
//! Refused   NeverReady   Stopping -> gone, once the plan does not name it any more
//! ```
//!
//! It reads no clock and talks to nobody: [`task`] does what it says. A pod with several containers
//! has such a machine for each of them, and a [`group`] above them.

mod disk;
mod end;
mod ending;
pub(crate) mod group;
pub(crate) mod handle;
mod steps;
pub(crate) mod task;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    checks::CheckKind,
    pods::{CheckFailure, Exit, PodPhase, PodSpec, RestartPolicy},
};

use self::ending::Ending;
use crate::backoff;
pub(crate) use end::bury;
pub(crate) use steps::{DiskOrder, Do, Record, Running, Seen, Timer};

/// How long to wait after a SIGKILL before sending it again, in seconds: the engine may have been
/// away.
const KILL_AGAIN_SECS: u64 = 10;
/// What the engine reports for a process that was killed.
pub(crate) const SIGKILL_CODE: i64 = 128 + 9;
const MIB: u64 = 1024 * 1024;

/// The machine.
#[derive(Debug)]
pub(crate) struct Pod {
    spec: Arc<PodSpec>,
    record: Record,
    ending: Option<Ending>,
    /// A start is under way; nothing is known about its container yet.
    starting: bool,
    /// Failed starts in a row.
    refusals: u32,
    /// Why the latest start failed, so that the same reason is logged once.
    refusal: Option<String>,
    /// A process of the present container was killed for memory.
    out_of_memory: bool,
}

impl Pod {
    pub(crate) fn new(spec: Arc<PodSpec>, record: Record) -> Self {
        let (ending, starting, refusals, refusal) = (None, false, 0, None);
        Self {
            spec,
            record,
            ending,
            starting,
            refusals,
            refusal,
            out_of_memory: false,
        }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// A container says which start of the pod it is, also if the ledger was lost.
    pub(crate) fn found(&mut self, run: u32) {
        self.record.starts = self.record.starts.max(run);
    }

    pub(crate) fn spec(&self) -> &Arc<PodSpec> {
        &self.spec
    }

    /// One step.
    pub(crate) fn on(&mut self, seen: Seen, now: DateTime<Utc>) -> Vec<Do> {
        let runs = self.runs();
        match (seen, &self.record.status.phase) {
            (Seen::Wanted, _) => self.wanted(now),
            (Seen::Adopted(running), _) => self.adopted(running, now),
            (Seen::AdoptedDead { container, exit }, _) => self.adopted_dead(container, exit, now),
            (Seen::Started(running), _) => self.started(running, now),
            (Seen::StartFailed { reason }, _) => self.start_failed(reason),
            (Seen::StartupPassed, PodPhase::Starting) => self.up(),
            (Seen::StartupFailing(failure), PodPhase::Starting) => {
                self.record.status.check_failure = Some(failure.of(CheckKind::Startup));
                vec![]
            }
            (Seen::StartupMissed(failure), PodPhase::Starting) => self.never_ready(failure),
            (Seen::ReadinessPassed, PodPhase::Running { ready: false }) => {
                self.record.status.phase = PodPhase::Running { ready: true };
                self.record.status.check_failure = None;
                vec![Do::Say(
                    "Check passes again: this process gets requests".into(),
                )]
            }
            (Seen::ReadinessFailed(failure), PodPhase::Running { ready }) => {
                let news = *ready;
                self.not_ready(failure, news)
            }
            (Seen::LivenessFailed(failure), PodPhase::Running { .. }) => {
                let line = format!("Error: check failed, restarting: {failure}");
                self.record.status.check_failure = Some(failure.of(CheckKind::Liveness));
                prepend(line, self.stop(Ending::Unhealthy))
            }
            (Seen::OutOfMemory, _) if runs => self.ran_out_of_memory(),
            (Seen::Ended(exit), _) if runs => self.ended(exit, now),
            (Seen::CutOff, PodPhase::Starting | PodPhase::Running { .. }) => {
                self.stop(Ending::CutOff)
            }
            (Seen::TerminalGone, PodPhase::Starting | PodPhase::Running { .. }) => {
                self.stop(Ending::TerminalGone)
            }
            (Seen::EngineBack | Seen::Woke(Timer::Retry), PodPhase::Refused { .. })
            | (Seen::Woke(Timer::Retry), PodPhase::BackOff { .. }) => self.start(),
            (Seen::Woke(Timer::Kill), PodPhase::Stopping) if runs => self.kill(),
            (Seen::Woke(Timer::TimeToLive), PodPhase::Starting | PodPhase::Running { .. }) => {
                self.stop(Ending::TimeToLive)
            }
            (Seen::Disk(order), _) => self.disk(order),
            (Seen::Unwanted, _) => self.unwanted(),
            // Late news about a state that has passed.
            _ => vec![],
        }
    }

    /// Whether a container of it is running as far as is known.
    fn runs(&self) -> bool {
        use PodPhase::{Running, Starting, Stopping};
        self.record.container.is_some()
            && !self.starting
            && matches!(
                self.record.status.phase,
                Starting | Running { .. } | Stopping
            )
    }

    /// Begins a pod without a container. What is known from before the agent was restarted still
    /// counts: a one-off pod runs once.
    fn wanted(&mut self, now: DateTime<Utc>) -> Vec<Do> {
        let status = &mut self.record.status;
        if matches!(status.phase, PodPhase::Exited | PodPhase::NeverReady) {
            return vec![];
        }
        if self.spec.restart == RestartPolicy::Never && self.record.starts > 0 {
            status.last_exit = Some(Exit {
                code: SIGKILL_CODE,
                out_of_memory: false,
                stopped_because: Some("its container was removed by somebody else".into()),
                at: now,
                last_lines: vec![],
            });
            return self.rest(PodPhase::Exited);
        }
        self.record.container = None;
        self.start()
    }

    fn start(&mut self) -> Vec<Do> {
        // An attached terminal is told of the failure and has gone; nobody waits for a second try.
        if self.starting || (self.spec.attach.is_some() && self.refusals > 0) {
            return vec![];
        }
        self.starting = true;
        // A reason that nobody could read because each retry hides it would be no reason.
        if self.refusals == 0 {
            self.record.status.phase = PodPhase::Pending;
        }
        let old = self.bury();
        old.into_iter()
            .chain([Do::Start {
                run: self.record.starts + 1,
            }])
            .collect()
    }

    fn started(&mut self, running: Running, now: DateTime<Utc>) -> Vec<Do> {
        if self.starting {
            self.record.starts += 1;
        }
        self.starting = false;
        self.refusals = 0;
        self.refusal = None;
        self.out_of_memory = false;
        let mut todo = self.note(running);
        self.record.status.restarts = self.record.starts.saturating_sub(1);
        if self.ending == Some(Ending::Unwanted) {
            todo.extend(self.stop(Ending::Unwanted));
            return todo;
        }
        self.ending = None;
        todo.extend(self.live_for(now));
        if self.spec.checks.is_some() {
            self.record.status.phase = PodPhase::Starting;
            todo.push(Do::CheckStartup);
        } else {
            todo.extend(self.up());
        }
        todo
    }

    /// Takes up a container that ran on. Its startup check is not asked again if it has passed:
    /// the pod would lose its requests for that time.
    fn adopted(&mut self, running: Running, now: DateTime<Utc>) -> Vec<Do> {
        let known = self.record.container.as_ref() == Some(&running.container);
        self.record.starts = self.record.starts.max(1);
        if self.spec.attach.is_some() {
            let mut todo = self.note(running);
            todo.extend(self.stop(Ending::TerminalGone));
            return todo;
        }
        if !(known && matches!(self.record.status.phase, PodPhase::Running { .. })) {
            return self.started(running, now);
        }
        let mut todo = self.note(running);
        todo.extend(self.live_for(now));
        todo.push(Do::CheckPeriodically);
        todo
    }

    fn adopted_dead(
        &mut self,
        container: String,
        exit: Option<Exit>,
        now: DateTime<Utc>,
    ) -> Vec<Do> {
        let known = self.record.container.as_ref() == Some(&container);
        self.record.starts = self.record.starts.max(1);
        let mut todo = self.follow(container.clone());
        self.record.container = Some(container);
        match (&self.record.status.phase, exit) {
            (PodPhase::Exited | PodPhase::NeverReady, _) if known => {}
            (PodPhase::BackOff { until }, _) if known => {
                let after = (*until - now).to_std().unwrap_or_default();
                todo.push(Do::Wake {
                    after,
                    timer: Timer::Retry,
                });
            }
            (_, Some(exit)) => todo.extend(self.ended(exit, now)),
            (_, None) => todo.extend(self.start()),
        }
        todo
    }

    /// Remembers a running container and listens to it.
    fn note(&mut self, running: Running) -> Vec<Do> {
        self.record.container = Some(running.container.clone());
        self.record.sandbox = running.sandbox;
        self.record.status.address = running.address;
        self.record.status.started_at = Some(running.started_at);
        self.follow(running.container)
    }

    /// Interactive sessions are not logged.
    fn follow(&self, container: String) -> Vec<Do> {
        if self.spec.attach.is_none() {
            vec![Do::Follow { container }]
        } else {
            vec![]
        }
    }

    fn live_for(&self, now: DateTime<Utc>) -> Option<Do> {
        let started = self.record.status.started_at?;
        let end = started + TimeDelta::seconds(self.spec.time_to_live_secs?.into());
        let after = (end - now).to_std().unwrap_or_default();
        Some(Do::Wake {
            after,
            timer: Timer::TimeToLive,
        })
    }

    fn start_failed(&mut self, reason: String) -> Vec<Do> {
        self.starting = false;
        if self.ending == Some(Ending::Unwanted) {
            return self.gone();
        }
        self.refusals = self.refusals.saturating_add(1);
        let mut todo = Vec::new();
        if self.refusal.as_ref() != Some(&reason) {
            todo.push(Do::Say(format!("Error: cannot start: {reason}")));
        }
        self.refusal = Some(reason.clone());
        self.record.status.phase = PodPhase::Refused { reason };
        if self.spec.attach.is_none() {
            let after = backoff::pause(self.refusals);
            todo.push(Do::Wake {
                after,
                timer: Timer::Retry,
            });
        }
        todo
    }

    fn up(&mut self) -> Vec<Do> {
        self.record.was_up = true;
        self.record.status.phase = PodPhase::Running { ready: true };
        self.record.status.check_failure = None;
        vec![
            Do::CheckPeriodically,
            Do::Say("State changed from starting to up".into()),
        ]
    }

    fn not_ready(&mut self, failure: CheckFailure, news: bool) -> Vec<Do> {
        self.record.status.phase = PodPhase::Running { ready: false };
        let line = format!("Error: check failed, this process gets no requests: {failure}");
        self.record.status.check_failure = Some(failure.of(CheckKind::Readiness));
        if news { vec![Do::Say(line)] } else { vec![] }
    }

    fn never_ready(&mut self, failure: CheckFailure) -> Vec<Do> {
        let secs = self
            .spec
            .checks
            .as_ref()
            .map_or(0, |checks| checks.startup_deadline_secs);
        let line = format!("Error R10: not ready within {secs} seconds: {failure}");
        self.record.status.check_failure = Some(failure.of(CheckKind::Startup));
        prepend(line, self.stop(Ending::NeverReady))
    }

    fn ran_out_of_memory(&mut self) -> Vec<Do> {
        if self.out_of_memory {
            return vec![];
        }
        self.out_of_memory = true;
        let limit = self.spec.resources.memory_bytes / MIB;
        vec![Do::Say(format!(
            "Error R15: ran out of memory (limit {limit} MB)"
        ))]
    }

    fn stop(&mut self, ending: Ending) -> Vec<Do> {
        self.ending = Some(ending);
        self.record.status.phase = PodPhase::Stopping;
        let (signal, grace_secs) = ending.manner(&self.spec.stop);
        vec![
            Do::NoChecks,
            Do::Say(format!("Stopping with {signal}: {}", ending.why())),
            Do::Signal(signal),
            Do::Wake {
                after: Duration::from_secs(grace_secs.into()),
                timer: Timer::Kill,
            },
        ]
    }

    fn kill(&self) -> Vec<Do> {
        let after = Duration::from_secs(KILL_AGAIN_SECS);
        vec![
            Do::Say("Error: did not stop in time: killing with SIGKILL".into()),
            Do::Signal("SIGKILL".into()),
            Do::Wake {
                after,
                timer: Timer::Kill,
            },
        ]
    }

    fn ended(&mut self, mut exit: Exit, now: DateTime<Utc>) -> Vec<Do> {
        let ending = self.ending.take();
        let mut todo = vec![Do::NoChecks];
        // The kernel's note stays on a container for good; it explains only an end that is bad
        // and that nobody asked for.
        exit.out_of_memory =
            (exit.out_of_memory || self.out_of_memory) && exit.code != 0 && ending.is_none();
        if exit.out_of_memory {
            todo.extend(self.ran_out_of_memory());
        }
        exit.stopped_because = ending.map(|ending| ending.why());
        todo.push(Do::Say(format!("Process exited with status {}", exit.code)));
        if ending.is_none() {
            // It ended by itself: that, and not the check that found nobody home, is the reason.
            self.record.status.check_failure = None;
        }
        let ran = self
            .record
            .status
            .started_at
            .map(|started| exit.at - started);
        self.record.status.address = None;
        self.record.status.started_at = None;
        self.record.status.last_exit = Some(exit);
        // What it wrote goes with its container, and that is what it was ended for.
        todo.extend(
            ending
                .filter(|it| it.is_for_disk())
                .and_then(|_| self.bury()),
        );
        todo.extend(self.after_end(ending, ran, now));
        todo
    }

    fn after_end(
        &mut self,
        ending: Option<Ending>,
        ran: Option<TimeDelta>,
        now: DateTime<Utc>,
    ) -> Vec<Do> {
        match ending {
            Some(Ending::Unwanted) => self.gone(),
            Some(Ending::TimeToLive | Ending::TerminalGone | Ending::Evicted { .. }) => {
                self.rest(PodPhase::Exited)
            }
            _ if self.spec.restart == RestartPolicy::Never => self.rest(PodPhase::Exited),
            // A pod that was up before and now starts badly is tried again, also while the
            // controller is away; one that never was is the controller's to judge.
            Some(Ending::NeverReady) if !self.record.was_up => self.rest(PodPhase::NeverReady),
            _ => {
                let healthy = ran.is_some_and(|ran| ran.num_seconds() >= backoff::HEALTHY_RUN_SECS);
                let before = if healthy { 0 } else { self.record.crashes };
                self.record.crashes = before.saturating_add(1);
                let after = backoff::pause(self.record.crashes);
                self.record.status.phase = PodPhase::BackOff { until: now + after };
                vec![
                    Do::Say(format!(
                        "State changed to crashed: next start in {} s",
                        after.as_secs()
                    )),
                    Do::Wake {
                        after,
                        timer: Timer::Retry,
                    },
                ]
            }
        }
    }

    /// Has its container removed, if there is one.
    fn bury(&mut self) -> Option<Do> {
        let container = self.record.container.take()?;
        Some(Do::Bury { container })
    }

    fn rest(&mut self, phase: PodPhase) -> Vec<Do> {
        self.record.status.phase = phase;
        vec![]
    }

    fn unwanted(&mut self) -> Vec<Do> {
        if self.ending == Some(Ending::Unwanted) {
            return vec![];
        }
        if self.starting {
            self.ending = Some(Ending::Unwanted);
            self.record.status.phase = PodPhase::Stopping;
            return vec![Do::CancelStart];
        }
        match self.record.status.phase {
            PodPhase::Starting | PodPhase::Running { .. } => self.stop(Ending::Unwanted),
            // It has its signal and its time already.
            PodPhase::Stopping if self.runs() => {
                self.ending = Some(Ending::Unwanted);
                vec![]
            }
            _ => self.gone(),
        }
    }

    fn gone(&mut self) -> Vec<Do> {
        self.ending = Some(Ending::Unwanted);
        self.record.status.phase = PodPhase::Stopping;
        let dead = self.bury();
        dead.into_iter().chain([Do::Gone]).collect()
    }
}

fn prepend(line: String, mut todo: Vec<Do>) -> Vec<Do> {
    todo.insert(0, Do::Say(line));
    todo
}

#[cfg(test)]
mod tests;
