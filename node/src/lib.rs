//! The agent on a machine: it makes Docker match the machine's `NodePlan` and reports what it
//! sees.
//!
//! ```text
//! controller --plan--> plans -> ledger (disk)
//!                        |
//!                        v
//!        engine --list--> diff -> pods (one task each) --create, start, kill--> engine
//!        engine --events----------^   |        |
//!                                     v        v
//!              controller <-report- board    logs, attach -> controller
//! ```
//!
//! What it must not do: decide what runs (the plan leaves no choices), touch a container, network
//! or image that does not carry its instance's label or that it did not bring, or stop pods
//! because the controller or the agent itself is away.
//!
//! Reading order: [`Agent`], then `diff` and `pod` (the pure decisions), then the tasks around
//! them.

// What is wanted.
mod ledger;
mod plans;

// What should be done about it: pure.
mod backoff;
mod container;
mod diff;
mod pod;

// Doing it.
mod disk;
mod engine;
mod folders;
mod images;
mod network;
mod pods;
mod sandbox;
mod start;
mod volumes;

// Seeing and telling.
mod attach;
mod board;
mod checks;
mod facts;
mod logs;
mod report;
mod sessions;
mod usage;

// Being a member of the cluster.
mod membership;
mod registry_tunnel;

// Putting it together.
mod agent;
mod config;

pub use agent::Agent;
pub use config::{Config, DOCKER_SOCKET_DEFAULT};
pub use facts::{Description, address_towards};
pub use membership::{
    Invitation, JoinError, Membership, MembershipError, follow_certificate, join,
};

#[cfg(test)]
mod testing;
