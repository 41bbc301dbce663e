//! The edge: sends each request to a ready pod of the app that has its hostname.
//!
//! ```text
//! client -> worker: serve -> headers (check) -> drain (choose, count) -> pool -> pod
//!           client <- relay | tunnel <---------------------------------------- pod
//! controller -> sync -> drain (swap) -> report; access -> controller
//! ```
//!
//! It routes by a whole, generation-stamped table and by nothing else: it checks no health, knows
//! no releases and asks nobody while a request waits. It must not lose a request when a table is
//! swapped, and must not tell the controller that a pod has drained while a request is on its way
//! to it ([`drain`] says how).

// The role.
mod router;
pub use router::{Config, DRAIN_DEADLINE, Router};

// Pure: where a request goes and what it looks like.
mod affinity;
mod balance;
mod canary;
mod failure;
mod headers;
mod pages;
mod table;

// The table in use and who still uses the ones before.
mod drain;
mod sync;

// The path of a request.
mod pool;
mod proxy;
mod relay;
mod serve;
mod tunnel;
mod upload;
mod worker;

// What is told about it.
mod access;
mod traffic;
