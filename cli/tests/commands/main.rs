//! The `app` binary against a fake of the API that speaks real HTTP and WebSocket.

#![expect(
    clippy::unwrap_used,
    reason = "the parts that only help tests are no test functions"
)]

mod attach;
mod completion;
mod documentation;
mod fake_api;
mod fixtures;
mod git;
mod login;
mod person;
mod sessions;
mod snapshots;
mod trouble;
mod usage;
