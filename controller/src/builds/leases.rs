//! Which running builds and which builders were heard of, and when. In memory only: nothing that
//! changes with each heartbeat is written to the database.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fairway_api::{build_orders::BUILD_LEASE_SECS, ids::BuildId, names::BuilderName};

/// A builder that was not heard of for this long is gone, and the builds that wait for it fail. An
/// idle one asks for work every `CLAIM_WAIT_SECS`, a busy one sends heartbeats.
pub(super) const BUILDER_GONE: Duration = Duration::from_secs(120);
/// How long a running build may be silent.
pub(super) const LEASE: Duration = Duration::from_secs(BUILD_LEASE_SECS);

/// Which running builds and which builders were heard of, and when.
#[derive(Debug)]
pub(crate) struct Leases {
    heard: Mutex<Heard>,
    since: Instant,
}

#[derive(Debug, Default)]
struct Heard {
    builds: HashMap<BuildId, (BuilderName, Instant)>,
    builders: HashMap<BuilderName, Instant>,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            heard: Mutex::default(),
            since: Instant::now(),
        }
    }
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn builder(&self, builder: &BuilderName) {
        self.lock().builders.insert(builder.clone(), Instant::now());
    }

    pub(super) fn begin(&self, build: BuildId, builder: &BuilderName) {
        self.builder(builder);
        self.lock()
            .builds
            .insert(build, (builder.clone(), Instant::now()));
    }

    /// Renews a lease; false when this builder holds none that is known here.
    pub(super) fn renew(&self, build: BuildId, builder: &BuilderName) -> bool {
        self.builder(builder);
        match self.lock().builds.get_mut(&build) {
            Some((holder, heard)) if holder == builder => {
                *heard = Instant::now();
                true
            }
            _ => false,
        }
    }

    /// Ends a lease: its build has ended or is gone.
    pub(crate) fn end(&self, build: BuildId) {
        self.lock().builds.remove(&build);
    }

    pub(super) fn expired(&self, build: BuildId, now: Instant) -> bool {
        let heard = self
            .lock()
            .builds
            .get(&build)
            .map_or(self.since, |(_, heard)| *heard);
        now.duration_since(heard) > LEASE
    }

    pub(super) fn gone(&self, builder: &BuilderName, now: Instant) -> bool {
        let heard = *self.lock().builders.get(builder).unwrap_or(&self.since);
        now.duration_since(heard) > BUILDER_GONE
    }
}
