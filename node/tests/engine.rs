//! The agent against the real Docker Engine, a fake registry and a fake controller that speak the
//! real protocols. Needs `docker` and a static `busybox` (Debian: `busybox-static`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "engine/controller.rs"]
mod controller;
#[path = "engine/machine.rs"]
mod machine;
#[expect(unreachable_pub, reason = "it is a part of the end-to-end tests")]
#[path = "../../e2e/src/machines.rs"]
mod machines;
#[path = "engine/registry.rs"]
mod registry;

#[path = "engine/attached.rs"]
mod attached;
#[path = "engine/cluster.rs"]
mod cluster;
#[path = "engine/disk.rs"]
mod disk;
#[path = "engine/failing.rs"]
mod failing;
#[path = "engine/logging.rs"]
mod logging;
#[path = "engine/network.rs"]
mod network;
#[path = "engine/running.rs"]
mod running;
#[path = "engine/sandboxes.rs"]
mod sandboxes;
#[path = "engine/sessions.rs"]
mod sessions;
#[path = "engine/sidecars.rs"]
mod sidecars;
#[path = "engine/surviving.rs"]
mod surviving;
#[path = "engine/volumes.rs"]
mod volumes;
