//! Real git and OpenSSH clients against a real builder; only the controller is a fake, and it says
//! how each build ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and clippy sees only functions marked as tests"
)]

mod controller;
mod platform;

mod access;
mod broken;
mod clone;
mod disk;
mod hook;
mod push;
mod queue;
mod transport;
