//! The shared words of Fairway: newtypes with their rules, wire types, errors, and the one HTTP
//! client.
//!
//! Every other crate speaks in these types. A name or id is parsed into its type where it enters
//! the system and stays that type until it leaves; a `String` that is really an app's name does
//! not cross a crate boundary. Nothing here does I/O except [`client`] and [`lock`] (features of
//! their names).
//!
//! Reading order: [`names`] and [`ids`] (the atoms), the public nouns of the Platform API
//! ([`apps`] to [`logs`]), then the orders that the controller gives and the observations it gets
//! back ([`pods`], [`nodes`], [`routes`], [`build_orders`]).

// The atoms.
pub mod ids;
pub mod names;
pub mod secret;

// The public nouns: the Platform API in shape.
pub mod accounts;
pub mod apps;
pub mod autoscale;
pub mod builds;
pub mod config_vars;
pub mod deployments;
pub mod domains;
pub mod dynos;
pub mod events;
pub mod features;
pub mod formation;
pub mod jobs;
pub mod keys;
pub mod logs;
pub mod machines;
pub mod metrics;
pub mod reach;
pub mod rebalance;
pub mod releases;
pub mod sessions;
pub mod sizes;
pub mod volumes;

// Inside the platform: whole orders outward, observations back.
pub mod build_orders;
pub mod checks;
pub mod disk;
pub mod images;
pub mod joining;
pub mod network;
pub mod nodes;
pub mod placement;
pub mod pods;
pub mod routes;
pub mod sidecars;
pub mod wanted;

// What every answer shares.
pub mod engine;
pub mod error;

// What every role logs in one shape.
pub mod phases;

// When jobs run.
#[cfg(feature = "schedule")]
pub mod schedule;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "lock")]
pub mod lock;
