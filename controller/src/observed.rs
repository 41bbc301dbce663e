//! The last report of each node and router, with the time it came. In memory only: it changes with
//! every heartbeat, and a restarted controller hears everything again within one.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// Last reports by the name of who reports.
///
/// Ages are measured on the monotonic clock: setting the wall clock makes nobody look dead.
#[derive(Debug)]
pub struct Reports<Name, Report> {
    since: Instant,
    last: Mutex<BTreeMap<Name, (Instant, Report)>>,
}

/// A report and its age.
#[derive(Debug, Clone)]
pub struct Aged<Report> {
    pub report: Report,
    pub age: Duration,
}

impl<Name, Report> Default for Reports<Name, Report> {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            last: Mutex::default(),
        }
    }
}

impl<Name: Ord + Clone, Report: Clone> Reports<Name, Report> {
    /// Notes a report and gives the one before it.
    pub fn note(&self, name: Name, report: Report) -> Option<Report> {
        let mut last = self
            .last
            .lock()
            .expect("no code panics while it holds this lock");
        last.insert(name, (Instant::now(), report))
            .map(|(_, before)| before)
    }

    /// All last reports.
    pub fn all(&self) -> BTreeMap<Name, Aged<Report>> {
        let last = self
            .last
            .lock()
            .expect("no code panics while it holds this lock");
        let aged = |(at, report): &(Instant, Report)| Aged {
            report: report.clone(),
            age: at.elapsed(),
        };
        last.iter()
            .map(|(name, entry)| (name.clone(), aged(entry)))
            .collect()
    }

    /// For how long reports have been collected.
    pub fn age(&self) -> Duration {
        self.since.elapsed() + self.backdated()
    }

    #[cfg(not(test))]
    fn backdated(&self) -> Duration {
        Duration::ZERO
    }

    #[cfg(test)]
    fn backdated(&self) -> Duration {
        // Tests do not wait for routers that a former controller may have known.
        Duration::from_secs(60)
    }
}

/// The time on the wall's clock that lies `age` before `now`.
pub fn before(now: DateTime<Utc>, age: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(age)
        .ok()
        .and_then(|age| now.checked_sub_signed(age))
        .unwrap_or(DateTime::UNIX_EPOCH)
}
