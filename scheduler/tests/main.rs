//! The planner's tests: scenarios as text, properties, and a seeded simulation. All of them run the
//! planner in the same small world.
#![expect(
    clippy::unwrap_used,
    reason = "in a test, what must not be is a failure"
)]

mod autoscale;
mod jobs;
mod placement;
mod props;
mod rebalance;
mod scenarios;
mod sim;
mod volumes;
mod world;
