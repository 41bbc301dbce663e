//! Pure decisions: what should run, where, and in what order to change it.
//!
//! One function, [`plan`], from everything known at one moment to everything to do about it;
//! [`Planner`] is the same with a memory, for whoever plans again and again:
//!
//! ```text
//! Snapshot ──> drain ──> place ──> rollout ──> slots ──> jobs ──> one_off ──> Plan
//!    ^         (stop,    (which    (deploy)    (scale,   (cron,   (run, the     │
//!    │         remove)   machine)              restart)  batch)   release phase)│
//!    └────────── again, until no rule has anything to add ──────────────────────┘
//! ```
//!
//! Nothing here does I/O, waits, reads a clock or rolls dice: the time and fresh ids are
//! arguments, so the same input gives the same plan, on every machine and in every test. A plan
//! leaves no choices to whoever carries it out, and planning again after it was carried out gives
//! an empty plan.
//!
//! The order rule that everything else rests on is kept in [`drain`]: a pod is stopped only after
//! every live router acknowledged a table without it and its requests ended, or the deadline
//! passed. The flip to a new release ([`rollout`]) is one generation of the route table, after
//! every process type of it is up.

// What goes in and what comes out.
pub mod action;
pub mod policy;
pub mod snapshot;

// The end of pods, machines that vanish, and which machine runs a new one.
pub mod drain;

pub mod failure;

pub mod place;

mod filter;
mod score;

// What should change: in the order in which the rules run.
pub mod rollout;

pub mod beside;

pub mod slots;

pub mod jobs;

pub mod one_off;

pub mod volumes;

// How many pods measurements ask for, and which had better run elsewhere; beside the plan, which
// takes counts and bindings as given.
pub mod autoscale;

pub mod rebalance;

// Running the rules.
mod pass;
mod planner;

pub use planner::Planner;

use chrono::{DateTime, Utc};
use fairway_api::ids::PodId;

use self::{action::Plan, snapshot::Snapshot};

/// Decides everything that should be done now, from nothing but a snapshot.
///
/// `ids` gives a fresh id for each pod to make; a plan for the same snapshot, time and ids is
/// always the same.
pub fn plan(snapshot: Snapshot, now: DateTime<Utc>, ids: &mut dyn FnMut() -> PodId) -> Plan {
    let mut planner = Planner::new(snapshot);
    let decision = planner.plan(now, ids);
    Plan {
        steps: decision.steps,
        after: planner.into_snapshot(),
        wake_at: decision.wake_at,
    }
}
