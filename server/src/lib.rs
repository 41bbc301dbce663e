//! The `fairway` command's inside: how settings are read and how roles are put together.
//!
//! Everything a role does stands in the role's own crate. `up` runs the same roles that the
//! single-role commands run, joined by loopback HTTP, so that no path exists only in the
//! all-in-one.

// Where to begin: all roles in one process, or one at a time.
pub mod accounts;
pub mod roles;
pub mod up;

// What they stand on.
mod cluster_address;
pub mod identity;
mod machine;
pub mod policy;
pub mod progress;
pub mod runtime;
pub mod settings;
pub mod telemetry;
