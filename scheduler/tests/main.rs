//! The planner's tests: scenarios as text, properties, and a seeded simulation. All of them run the
//! planner in the same small world.

mod props;
mod scenarios;
mod sim;
mod world;
