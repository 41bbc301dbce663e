//! The last report of each node and router, with the time it came. In memory only: it changes with
//! every heartbeat, and a restarted controller hears everything again within one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// Last reports by the name of who reports.
///
/// Ages are measured on the monotonic clock: setting the wall clock makes nobody look dead.
#[derive(Debug)]
pub struct Reports<Name, Report> {
    since: Instant,
    last: Mutex<Last<Name, Report>>,
}

#[derive(Debug)]
struct Last<Name, Report> {
    by_name: BTreeMap<Name, Entry<Report>>,
    /// Who reported something new, in the order in which they did; each once.
    by_change: BTreeMap<u64, Name>,
    /// Number of the newest change; the first is 1.
    changes: u64,
}

#[derive(Debug)]
struct Entry<Report> {
    at: Instant,
    change: u64,
    report: Report,
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
            last: Mutex::new(Last {
                by_name: BTreeMap::new(),
                by_change: BTreeMap::new(),
                changes: 0,
            }),
        }
    }
}

impl<Name: Ord + Clone, Report: Clone> Reports<Name, Report> {
    /// Notes a report. True when it is a first one, or `differs` from the one before.
    pub fn note(
        &self,
        name: Name,
        report: Report,
        differs: impl FnOnce(&Report, &Report) -> bool,
    ) -> bool {
        let mut last = self.last();
        let before = last.by_name.get(&name);
        let is_news = before.is_none_or(|before| differs(&before.report, &report));
        let mut change = before.map_or(0, |before| before.change);
        if is_news {
            last.by_change.remove(&change);
            last.changes += 1;
            change = last.changes;
            last.by_change.insert(change, name.clone());
        }
        let at = Instant::now();
        last.by_name.insert(name, Entry { at, change, report });
        is_news
    }

    /// Notes a report of somebody of whom there is none yet. True when that was so.
    pub fn note_first(&self, name: Name, report: impl FnOnce() -> Report) -> bool {
        if self.last().by_name.contains_key(&name) {
            return false;
        }
        // One that came meanwhile is newer than this, and no harm is done by either.
        self.note(name, report(), |_, _| true)
    }

    /// Counts somebody's last report as a new one.
    pub fn renew(&self, name: &Name) {
        let last = &mut *self.last();
        if let Some(entry) = last.by_name.get_mut(name) {
            last.by_change.remove(&entry.change);
            last.changes += 1;
            entry.change = last.changes;
            last.by_change.insert(entry.change, name.clone());
        }
    }

    /// The last report of one.
    pub fn get(&self, name: &Name) -> Option<Report> {
        self.last()
            .by_name
            .get(name)
            .map(|entry| entry.report.clone())
    }

    /// All last reports.
    pub fn all(&self) -> BTreeMap<Name, Aged<Report>> {
        let aged = |entry: &Entry<Report>| Aged {
            report: entry.report.clone(),
            age: entry.at.elapsed(),
        };
        let last = self.last();
        last.by_name
            .iter()
            .map(|(name, entry)| (name.clone(), aged(entry)))
            .collect()
    }

    /// The number of the newest change, and the last reports of those who said something new after
    /// change `after`; all of them after 0.
    pub fn changed(&self, after: u64) -> (u64, BTreeMap<Name, Report>) {
        let last = self.last();
        let changed = last.by_change.range(after + 1..).map(|(_, name)| {
            let report = last.by_name[name].report.clone();
            (name.clone(), report)
        });
        (last.changes, changed.collect())
    }

    /// Who has not reported for longer than this.
    pub fn silent_for(&self, limit: Duration) -> BTreeSet<Name> {
        let last = self.last();
        let silent = last.by_name.iter();
        silent
            .filter(|(_, entry)| entry.at.elapsed() > limit)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Drops what one reported.
    pub fn forget(&self, name: &Name) {
        let last = &mut *self.last();
        if let Some(entry) = last.by_name.remove(name) {
            last.by_change.remove(&entry.change);
        }
    }

    fn last(&self) -> MutexGuard<'_, Last<Name, Report>> {
        self.last
            .lock()
            .expect("no code panics while it holds this lock")
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
