//! The two sides of a canary: which of them gets a request, and how requests to each go. Without a
//! canary nothing here runs.
//!
//! What is counted is a try at a pod, not a request: one that a pod refuses goes on to another pod,
//! and its user notices nothing, but the pod did badly all the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fairway_api::routes::{CanaryTally, LATENCY_BUCKETS, Tally, latency_bucket};

/// True if a request belongs to the canary's `percent`, given a random number.
pub(crate) fn is_chosen(percent: u8, random: u32) -> bool {
    // Scaled rather than taken modulo, so that every percentage is as large as the next.
    (u64::from(random) * 100) >> 32 < u64::from(percent)
}

/// How tries at one side's pods went.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    errors: AtomicU64,
    latencies: [AtomicU64; LATENCY_BUCKETS],
}

impl Counts {
    /// A pod answered: after how long, and whether with a status of 5xx.
    pub(crate) fn answered(&self, after: Duration, is_error: bool) {
        self.latencies[latency_bucket(after)].fetch_add(1, Relaxed);
        self.count(is_error);
    }

    /// A pod refused, broke off, or did not answer in time.
    pub(crate) fn failed(&self) {
        self.count(true);
    }

    fn count(&self, is_error: bool) {
        self.requests.fetch_add(1, Relaxed);
        self.errors.fetch_add(u64::from(is_error), Relaxed);
    }

    fn tally(&self) -> Tally {
        Tally {
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
            latencies: std::array::from_fn(|index| self.latencies[index].load(Relaxed)),
        }
    }
}

/// Both sides of one step of a canary. It outlives tables, as long as they name the step.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    pub(crate) step: u32,
    pub(crate) stable: Arc<Counts>,
    pub(crate) canary: Arc<Counts>,
}

impl Sides {
    /// A step that begins.
    pub(crate) fn new(step: u32) -> Self {
        Self {
            step,
            ..Self::default()
        }
    }

    /// For the controller.
    pub(crate) fn tally(&self) -> CanaryTally {
        CanaryTally {
            step: self.step,
            stable: self.stable.tally(),
            canary: self.canary.tally(),
        }
    }
}

#[cfg(test)]
mod tests;
