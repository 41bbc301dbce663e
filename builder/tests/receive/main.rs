//! Real git and OpenSSH clients against a real builder; only the controller is a fake, and it says
//! how each build ends.

mod controller;
mod platform;

mod access;
mod broken;
mod clone;
mod hook;
mod push;
mod queue;
mod transport;
