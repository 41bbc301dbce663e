//! What goes on per app: requests, how long they took, how many are open, and those that wait for the
//! first pod of an app that sleeps. One meter per app, shared by all workers and all tables.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fairway_api::{
    ids::AppId,
    routes::{Tally, Traffic, latency_bucket},
};
use tokio::sync::Notify;

/// Requests that may wait for one app's first pod, per router. When it comes, it gets them all at
/// once, so a pod should bear that many.
const HELD_PER_APP_MAX: u32 = 100;
/// Requests that may wait for any app, per router: each holds on to its client's connection.
const HELD_MAX: u32 = 4_096;

/// The meters of all apps that had requests.
#[derive(Debug)]
pub(crate) struct Meters {
    apps: Mutex<HashMap<AppId, Arc<Meter>>>,
    shared: Arc<Shared>,
}

/// What meters have in common.
#[derive(Debug)]
struct Shared {
    epoch: Instant,
    held: Mutex<u32>,
    /// Told when an app gets its first held request.
    first_held: Notify,
}

/// The meter of one app.
#[derive(Debug)]
pub(crate) struct Meter {
    counts: Mutex<Counts>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Counts {
    tally: Tally,
    open: u32,
    held: u32,
    /// Ends minus beginnings of all requests, in microseconds of the router's clock: with what is
    /// still open counted as ending now it is the time that requests were open.
    open_micros: i128,
    /// Something was counted since the last report.
    moved: bool,
}

/// One request that is open. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    meter: Arc<Meter>,
    /// Its latency counts from here.
    begun: Instant,
    counted: bool,
}

/// The place of one request that waits for a pod.
#[derive(Debug)]
pub(crate) struct Held(Arc<Meter>);

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            apps: Mutex::default(),
            shared: Arc::new(Shared {
                epoch: Instant::now(),
                held: Mutex::new(0),
                first_held: Notify::new(),
            }),
        }
    }

    /// The one meter of an app.
    pub(crate) fn of(&self, app: AppId) -> Arc<Meter> {
        let meter = || {
            Arc::new(Meter {
                counts: Mutex::default(),
                shared: self.shared.clone(),
            })
        };
        lock(&self.apps).entry(app).or_insert_with(meter).clone()
    }

    /// Forgets apps that are gone. A request that is still open counts for nobody.
    pub(crate) fn keep_only(&self, apps: &BTreeSet<AppId>) {
        lock(&self.apps).retain(|app, _| apps.contains(app));
    }

    /// What happened since the last call, as totals.
    pub(crate) fn report(&self) -> BTreeMap<AppId, Traffic> {
        let now = self.shared.now();
        let apps = lock(&self.apps);
        let moved = apps.iter().filter_map(|(app, meter)| {
            let mut counts = lock(&meter.counts);
            let moved = std::mem::take(&mut counts.moved) || counts.open > 0;
            moved.then(|| (*app, counts.traffic(now)))
        });
        moved.collect()
    }

    /// The apps for whose first pod requests wait.
    pub(crate) fn asleep(&self) -> BTreeSet<AppId> {
        let apps = lock(&self.apps);
        let held = apps
            .iter()
            .filter(|(_, meter)| lock(&meter.counts).held > 0);
        held.map(|(app, _)| *app).collect()
    }

    /// Waits until an app gets its first held request.
    pub(crate) async fn first_held(&self) {
        self.shared.first_held.notified().await;
    }
}

impl Shared {
    /// Microseconds on the router's own clock.
    fn now(&self) -> i128 {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> i128 {
        let since = instant.saturating_duration_since(self.epoch);
        i128::try_from(since.as_micros()).unwrap_or(i128::MAX)
    }
}

impl Meter {
    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>, begun: Instant) -> Open {
        let mut counts = lock(&self.counts);
        counts.open += 1;
        counts.moved = true;
        counts.open_micros -= self.shared.at(begun);
        drop(counts);
        Open {
            meter: self.clone(),
            begun,
            counted: false,
        }
    }

    /// A place for a request that waits for a pod; `None` if too many do already.
    pub(crate) fn hold(self: &Arc<Self>) -> Option<Held> {
        let mut all = lock(&self.shared.held);
        let mut counts = lock(&self.counts);
        if *all >= HELD_MAX || counts.held >= HELD_PER_APP_MAX {
            return None;
        }
        *all += 1;
        counts.held += 1;
        counts.moved = true;
        if counts.held == 1 {
            self.shared.first_held.notify_one();
        }
        drop(counts);
        Some(Held(self.clone()))
    }

    fn count(&self, latency: Option<Duration>, is_error: bool) {
        let mut counts = lock(&self.counts);
        counts.tally.requests += 1;
        counts.tally.errors += u64::from(is_error);
        if let Some(latency) = latency {
            counts.tally.latencies[latency_bucket(latency)] += 1;
        }
    }
}

impl Counts {
    fn traffic(&self, now: i128) -> Traffic {
        let open_micros = self.open_micros + i128::from(self.open) * now;
        Traffic {
            tally: self.tally.clone(),
            open: self.open,
            held: self.held,
            open_ms: u64::try_from(open_micros / 1_000).unwrap_or_default(),
        }
    }
}

impl Open {
    /// It waited for the app's first pod, which says nothing about how quick pods are.
    pub(crate) fn waited(&mut self) {
        self.begun = Instant::now();
    }

    /// The head of its answer came from a pod.
    pub(crate) fn answered(&mut self, is_error: bool) {
        self.counted = true;
        self.meter.count(Some(self.begun.elapsed()), is_error);
    }

    /// It got no answer from a pod.
    pub(crate) fn failed(&mut self, is_error: bool) {
        self.counted = true;
        self.meter.count(None, is_error);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.counted {
            // Its client went away.
            self.meter.count(None, false);
        }
        let now = self.meter.shared.now();
        let mut counts = lock(&self.meter.counts);
        counts.open -= 1;
        counts.moved = true;
        counts.open_micros += now;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *lock(&self.0.shared.held) -= 1;
        lock(&self.0.counts).held -= 1;
    }
}

/// A panic while one of these locks is held leaves at worst a count that is off by one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
