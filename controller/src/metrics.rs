//! What was measured lately: requests by app, as routers count them, and what pods use, as agents
//! see it. In memory only, and only for minutes: a restarted controller measures anew.

mod history;
mod shown;
mod traffic;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use fairway_api::{
    ids::{AppId, PodId},
    metrics::PodUsage,
    names::RouterName,
    routes,
};
use fairway_scheduler::autoscale::{Traffic, WINDOW_SECS};
use tokio::time::Instant;

use history::History;
pub use history::Point;
pub use shown::shown;
use traffic::{AppTraffic, Counted};

/// How often a sample is taken, in seconds: as often as routers and agents report.
pub const SAMPLE_SECS: u64 = 5;
/// What is measured is averaged over this long.
const WINDOW: Duration = Duration::from_secs(WINDOW_SECS as u64);
/// A router that was silent for this long may have requests that nobody knows of ...
const ROUTER_LATE: Duration = Duration::from_secs(12);
/// ... and one that was silent for this long has none any more.
const ROUTER_GONE: Duration = Duration::from_secs(60);
/// How long a pod's values are kept after the last.
const POD_KEPT: Duration = Duration::from_secs(30);

/// Everything that was measured.
#[derive(Debug)]
pub struct Metrics(Mutex<Measured>);

#[derive(Debug)]
struct Measured {
    since: Instant,
    routers: BTreeMap<RouterName, Router>,
    apps: HashMap<AppId, AppTraffic>,
    pods: HashMap<PodId, VecDeque<(Instant, PodUsage)>>,
    history: HashMap<AppId, History>,
}

/// What a router said last.
#[derive(Debug)]
struct Router {
    at: Instant,
    apps: BTreeMap<AppId, routes::Traffic>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Mutex::new(Measured {
            since: Instant::now(),
            routers: BTreeMap::new(),
            apps: HashMap::new(),
            pods: HashMap::new(),
            history: HashMap::new(),
        }))
    }
}

impl Metrics {
    /// Takes in what a router counted. An app that it does not name had nothing new.
    pub fn traffic(
        &self,
        router: RouterName,
        reported: BTreeMap<AppId, routes::Traffic>,
        now: Instant,
    ) {
        let measured = &mut *self.lock();
        let known = measured.routers.entry(router).or_insert_with(|| Router {
            at: now,
            apps: BTreeMap::new(),
        });
        known.at = now;
        for (app, before) in &mut known.apps {
            if !reported.contains_key(app) {
                (before.open, before.held) = (0, 0);
            }
        }
        for (app, traffic) in reported {
            let before = known.apps.insert(app, traffic.clone());
            let counted = measured
                .apps
                .entry(app)
                .or_insert_with(|| AppTraffic::new(now));
            counted.add(before.as_ref(), &traffic);
        }
    }

    /// Takes in what pods use.
    pub fn usage(&self, usage: Vec<PodUsage>, now: Instant) {
        let measured = &mut *self.lock();
        for usage in usage {
            let values = measured.pods.entry(usage.pod).or_default();
            values.push_back((now, usage));
            values.retain(|(at, _)| now - *at <= WINDOW);
        }
    }

    /// Takes a sample; call it every [`SAMPLE_SECS`].
    pub fn sample(&self, now: Instant) {
        let measured = &mut *self.lock();
        measured
            .routers
            .retain(|_, router| now - router.at < ROUTER_GONE);
        // What routers count on from stays known, so that nothing is counted twice.
        measured.apps.retain(|_, traffic| {
            traffic.sample(now);
            traffic.is_news(now)
        });
        measured
            .pods
            .retain(|_, values| values.back().is_some_and(|(at, _)| now - *at < POD_KEPT));
        let apps: Vec<_> = measured.apps.keys().copied().collect();
        for app in apps {
            let traffic = measured.seen(app, now);
            measured.history.entry(app).or_default().push(&traffic);
        }
        measured.history.retain(|app, history| {
            if !measured.apps.contains_key(app) {
                history.push(&Traffic::default());
            }
            !history.is_quiet()
        });
    }

    /// The requests to an app; `None` when some router that may have some has not told.
    pub fn requests(&self, app: AppId, now: Instant) -> Option<Traffic> {
        let measured = self.lock();
        measured.is_complete(now).then(|| measured.seen(app, now))
    }

    /// Requests per second that went wrong.
    pub fn errors(&self, app: AppId, now: Instant) -> Option<f64> {
        let measured = self.lock();
        let counted = measured.apps.get(&app).map(|traffic| traffic.counted(now));
        measured
            .is_complete(now)
            .then(|| counted.map_or(0.0, |counted| counted.errors_per_sec()))
    }

    /// What a pod uses on average: thousandths of a core, and bytes. `None` when it is not known.
    pub fn used(&self, pod: PodId) -> Option<(f64, f64)> {
        let measured = self.lock();
        let values = measured.pods.get(&pod)?;
        let count = values.len().max(1) as f64;
        let cpu: f64 = values.iter().map(|(_, it)| f64::from(it.cpu_millis)).sum();
        let memory: f64 = values.iter().map(|(_, it)| it.memory_bytes as f64).sum();
        Some((cpu / count, memory / count))
    }

    /// The last minutes of an app's requests, oldest first.
    pub fn history(&self, app: AppId) -> Vec<Point> {
        let measured = self.lock();
        measured
            .history
            .get(&app)
            .map(History::points)
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl Measured {
    /// True when every router that may have requests has told of them.
    fn is_complete(&self, now: Instant) -> bool {
        let mut ages = self.routers.values().map(|router| now - router.at);
        let all_told = ages.all(|age| age < ROUTER_LATE || age > ROUTER_GONE);
        now - self.since >= WINDOW && !self.routers.is_empty() && all_told
    }

    fn seen(&self, app: AppId, now: Instant) -> Traffic {
        let counted = self.apps.get(&app).map(|traffic| traffic.counted(now));
        let Counted {
            rps, open, p95_ms, ..
        } = counted.unwrap_or_default();
        let held = |router: &Router| router.apps.get(&app).map_or(0, |it| it.held);
        Traffic {
            rps,
            open,
            held: self.routers.values().map(held).sum(),
            p95_ms,
        }
    }
}

#[cfg(test)]
mod tests;
