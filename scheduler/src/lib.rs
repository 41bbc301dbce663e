//! Pure decisions: what should run, where, and in what order to change it.
//!
//! One function, [`plan`], from everything known at one moment to everything to do about it:
//!
//! ```text
//! Snapshot ──> rollout ──> slots ──> one_off ──> drain ──> place ──┐
//!     ^        (deploy)    (scale,   (run, the   (retire,  (which   │ again, until no rule has
//!     └────────────────────restart)──release ────stop)─────machine)─┘ anything to add
//!                                     phase)
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
pub mod snapshot;

// The rules, in the order in which they run.
pub mod drain;
pub mod one_off;
pub mod rollout;
pub mod slots;

// Which machine.
pub mod filter;
pub mod place;
pub mod score;

mod pass;

pub use pass::plan;
