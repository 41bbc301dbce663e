//! The registry as its clients see it: over its router, over sockets, by real peers, and killed.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the failure, helpers included"
)]

mod fixtures;

mod blobs;
mod listing;
mod malformed;
mod manifests;
mod uploads;

mod collect;
mod limits;

mod kill;
mod peers;
