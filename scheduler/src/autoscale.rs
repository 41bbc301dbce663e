//! How many pods of a process type there should be, from what was measured.
//!
//! ```text
//! what was seen ──> each target proposes a count ──> the highest ──> not fewer than any that was
//!                   (`propose`)                                      asked for lately (`memory`)
//!                                          wanted <── bounds <── not too much at once
//! ```
//!
//! Rules that come before all targets: what is not known never takes pods away, nor does anything
//! while a deployment is under way; the bounds hold at once. A count that somebody else has set is
//! where it goes on from, and stays at least as long as the policy waits before it takes away.

mod memory;
mod propose;

use chrono::{DateTime, Utc};
use fairway_api::autoscale::Autoscale;

pub use self::memory::Memory;

/// How long what is measured is averaged over, in seconds: three heartbeats of whoever measures, so
/// that a late one leaves no gap, and a new pod's start counts as its start and not as load.
pub const WINDOW_SECS: i64 = 15;
/// A measured value this near to its target, as a share of it, is on target: as in Kubernetes.
pub const TOLERANCE: f64 = 0.1;
/// Within this many seconds ...
pub const UP_PERIOD_SECS: i64 = 15;
/// ... the count at most doubles, or grows by this many pods if that is more.
pub const UP_PODS: u32 = 4;
/// Within this many seconds the count at most halves.
pub const DOWN_PERIOD_SECS: i64 = 60;

/// Everything that is known at one moment.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    pub policy: &'a Autoscale,
    /// The count that is set.
    pub quantity: u32,
    /// Pods of the serving release that are up.
    pub up: u32,
    /// It gets requests; other types never have any.
    pub is_web: bool,
    /// A deployment of the app has begun and not ended.
    pub deploying: bool,
    pub seen: &'a Seen,
    pub now: DateTime<Utc>,
}

/// What was measured over the last [`WINDOW_SECS`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// `None` when some router that may have requests has not told.
    pub traffic: Option<Traffic>,
    /// Of the pods that were up for the whole window and whose agents told.
    pub pods: Vec<Use>,
    /// Only for a policy with a queue.
    pub queue: Waiting,
}

/// How much waits in a queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Waiting {
    Jobs(f64),
    /// Why nobody can say; a clause.
    Unknown(String),
}

impl Default for Waiting {
    fn default() -> Self {
        Self::Unknown("it was not asked".into())
    }
}

/// The requests to a process type.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Per second.
    pub rps: f64,
    /// Requests open on average, those that the router holds included.
    pub open: f64,
    /// Requests that the router holds since no pod is up.
    pub held: u32,
    /// `None` when there was no request.
    pub p95_ms: Option<f64>,
}

impl Traffic {
    /// True when there was not a single request.
    pub fn is_idle(&self) -> bool {
        self.rps <= 0.0 && self.open <= 0.0 && self.held == 0
    }
}

/// What one pod used, in percent of what its size has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Use {
    pub cpu: f64,
    pub memory: f64,
}

/// The count that should be set, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub wanted: u32,
    /// Without full stop: `180 rps per pod, target 100`.
    pub reason: String,
}

/// Decides, and remembers what later decisions need. Call it every few seconds; with the same memory
/// and situation it decides the same.
pub fn decide(memory: &mut Memory, situation: &Situation<'_>) -> Verdict {
    let Situation {
        policy,
        quantity,
        now,
        ..
    } = *situation;
    memory.follow(quantity, policy.down_after_secs, now);
    let window = policy.window(now);
    let within = policy.within(window);
    let situation = Situation {
        policy: &within,
        ..situation.clone()
    };
    let mut verdict = weigh(memory, &situation);
    if let Some(window) = window {
        verdict.reason = format!("{} ({window})", verdict.reason);
    }
    memory.changed(quantity, verdict.wanted, now);
    verdict
}

fn weigh(memory: &mut Memory, situation: &Situation<'_>) -> Verdict {
    let policy = situation.policy;
    let quantity = situation.quantity;
    if quantity > policy.max {
        return verdict(policy.max, format!("at most {}", policy.max));
    }
    if quantity < policy.min {
        return verdict(policy.min, format!("at least {}", policy.min));
    }
    if quantity == 0 {
        return asleep(memory, situation);
    }
    let proposals = propose::all(memory, situation);
    let known = proposals.iter().filter_map(|it| Some((it.count?, &it.why)));
    let highest = known.max_by_key(|(count, _)| *count);
    let missing: Vec<_> = (proposals.iter())
        .filter(|it| it.count.is_none())
        .map(|it| it.why.as_str())
        .collect();
    let (asked, why) = match highest {
        Some((count, why)) => (count, why.clone()),
        None => (quantity, missing.join(", ")),
    };
    let lowest = policy.min.max(u32::from(!may_sleep(situation)));
    let asked = asked.clamp(lowest, policy.max);
    if asked > quantity {
        memory.propose(asked, situation.now);
        let count = asked.min(memory.most(quantity, situation.now));
        return verdict(count, why);
    }
    let stays = match () {
        () if !missing.is_empty() => Some(missing.join(", ")),
        () if situation.deploying => Some("a deployment is under way".into()),
        () => None,
    };
    if let (Some(stays), true) = (stays, asked < quantity) {
        memory.propose(quantity, situation.now);
        return verdict(quantity, stays);
    }
    memory.propose(asked, situation.now);
    let enough = memory.enough(quantity, policy.down_after_secs, situation.now);
    let count = enough.max(memory.fewest(quantity, policy.down_after_secs, situation.now));
    if count < quantity {
        let secs = policy.down_after_secs;
        return verdict(count, format!("{why}, and no more for {secs} s"));
    }
    if asked < quantity {
        let secs = policy.down_after_secs;
        return verdict(quantity, format!("{why}; fewer once so for {secs} s"));
    }
    verdict(quantity, why)
}

/// What becomes of a process type that has no pods.
fn asleep(memory: &mut Memory, situation: &Situation<'_>) -> Verdict {
    let held = situation.seen.traffic.map_or(0, |traffic| traffic.held);
    if situation.is_web && held > 0 {
        return wake();
    }
    if let Some(queue) = &situation.policy.queue {
        let asked = propose::waiting(queue, situation);
        let count = asked.count.unwrap_or_default().min(situation.policy.max);
        if count > 0 {
            memory.propose(count, situation.now);
            return verdict(count.min(memory.most(0, situation.now)), asked.why);
        }
        if !situation.is_web {
            return verdict(0, format!("asleep until jobs wait; {}", asked.why));
        }
    }
    verdict(0, "asleep until a request comes".into())
}

/// What a request to a process type without pods leads to, whatever was measured.
pub fn wake() -> Verdict {
    verdict(1, "a request waits".into())
}

/// True when the last pod may go: nobody asks for anything.
fn may_sleep(situation: &Situation<'_>) -> bool {
    let Situation {
        policy,
        seen,
        is_web,
        ..
    } = *situation;
    let no_requests = !is_web || seen.traffic.is_some_and(|traffic| traffic.is_idle());
    let nothing_waits = policy.queue.is_none() || seen.queue == Waiting::Jobs(0.0);
    policy.min == 0 && no_requests && nothing_waits
}

fn verdict(wanted: u32, reason: String) -> Verdict {
    Verdict { wanted, reason }
}
