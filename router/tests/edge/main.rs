//! The router on real sockets: a controller that speaks the real API under the real client, pods
//! that are axum servers or scripted sockets, clients that are curl, WebSocket clients or raw TCP.

#![expect(clippy::unwrap_used, reason = "what fails to work here fails the test")]

// What stands around the router.
mod controller;
mod edge;
mod pods;
mod wire;

// What it has to do.
mod affinity;
mod bodies;
mod drain;
mod failures;
mod forwarding;
mod logs;
mod malformed;
mod stop;
mod tunnels;
mod wake;
