//! The controller: owner of the truth.
//!
//! It keeps what people want (apps, releases, config, formation) in its database, serves the
//! public API and the internal one over HTTP, and makes the platform match by reconcile loops that
//! hand whole orders to nodes and routers. It must not touch containers, git repositories or
//! requests of apps itself: nodes, builders and routers do, and all of them only through the
//! internal API.
//!
//! ```text
//!  http  ->  store  <-  reconcile  ->  orchestrator  ->  NodePlan, RouteTable   (by long poll)
//!    ^         |            ^               |
//!    +-- wake -+            +-- observed <--+  statuses of nodes and routers
//! ```
//!
//! Reading order: [`config`] and [`state`] (what there is), [`store`] (what is kept), `http` (how
//! it is asked for and changed), `deploy` and `reconcile` (what is done about it).

// What there is.
pub mod config;
pub mod state;
pub mod wake;

// What was seen, and what is ordered.
pub mod metrics;
pub mod observed;
pub mod orchestrator;
pub mod orders;
pub mod routers;
pub mod routing;

// What is kept.
pub mod attach;
pub mod logs;
pub mod secrets;
pub mod store;

// Who asks, and how the answer reads when it is no.
pub mod auth;
mod cluster_port;
mod http;
pub mod problem;

// The rules of each noun.
pub mod accounts;
pub mod apps;
pub mod autoscale;
pub mod builds;
pub mod config_vars;
pub mod deployments;
pub mod domains;
pub mod events;
pub mod features;
pub mod formation;
pub mod git;
pub mod keys;
pub mod membership;
pub mod network;
pub mod nodes;
pub mod placements;
pub mod pods;
pub mod reach;
pub mod releases;
pub mod runs;
pub mod sessions;
pub mod tokens;
pub mod volumes;

// What is done about it.
pub mod deploy;
mod reconcile;
pub mod wanted;

pub use accounts::{readable_password, reset_password};
pub use config::{Config, IMAGES_KEPT_DEFAULT, NODE_LOST_SECS_DEFAULT, Role, RoleCredential};
pub use controller::Controller;
pub use fairway_scheduler::policy::{Policy, Strategy};
pub use http::not_found;

mod controller;

#[cfg(test)]
mod testing;
