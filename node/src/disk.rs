//! Keeps the machine's disk from filling up: looks how much is free, says so, and has what goes.
//!
//! ```text
//! statvfs ──> level ──> images (removes), report (tells), keep (below) ──> pods
//!                                                           ^
//!                                   written (what pods wrote)
//! ```
//!
//! Watched are the file system of the engine's data, where images, pods' own files and their logs
//! are, and that of the agent's own directory. Only on the first can anything be won here; on the
//! second the machine can but say that it takes no new pods. What is another machine's, as when
//! the engine runs elsewhere, is not watched.

mod level;
mod victim;
mod written;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use fairway_api::{
    disk::{DiskReserve, DiskStatus},
    ids::PodId,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};

pub(crate) use self::level::Level;
use self::{
    level::{Gauge, Space},
    victim::Candidate,
};
use crate::{board::Board, facts::Facts, plans::Orders, pod::DiskOrder};

/// How often it is looked, in seconds. A disk takes some gigabytes in that time at most.
const LOOK_SECS: u64 = 5;
/// How long a full disk waits for what images and dead containers leave before a pod goes, in
/// seconds.
const EVICT_AFTER_SECS: u64 = 20;
/// How long after a pod has gone the disk is believed to be as full as it looks, in seconds: the
/// engine removes files in the background.
const SETTLE_SECS: u64 = 10;
/// The longest that it is waited for a pod to go before another is looked for, in seconds.
const GOING_SECS_MAX: u64 = 120;
/// Orders that wait to be passed on; what does not fit is said again with the next look.
const ORDERS_MAX: usize = 64;

/// An order for one pod, or for all of them.
pub(crate) type ForPods = (Option<PodId>, DiskOrder);

/// What pods wrote when they were last measured, in bytes.
type Written = BTreeMap<PodId, u64>;

/// How full the machine's file systems are.
#[derive(Debug)]
pub(crate) struct Disk {
    facts: Arc<Facts>,
    data_dir: PathBuf,
    reserve: DiskReserve,
    gauges: Mutex<Gauges>,
    level: watch::Sender<Level>,
    status: watch::Sender<DiskStatus>,
}

#[derive(Debug, Default)]
struct Gauges {
    engine: Gauge,
    own: Gauge,
}

impl Disk {
    pub(crate) fn new(facts: Arc<Facts>, data_dir: PathBuf, reserve: DiskReserve) -> Self {
        Self {
            facts,
            data_dir,
            reserve,
            gauges: Mutex::default(),
            level: watch::Sender::new(Level::Roomy),
            status: watch::Sender::default(),
        }
    }

    /// For the report.
    pub(crate) fn status(&self) -> watch::Receiver<DiskStatus> {
        self.status.subscribe()
    }

    /// That of the engine's file system, on which something can be won.
    pub(crate) fn level(&self) -> watch::Receiver<Level> {
        self.level.subscribe()
    }

    /// Looks now. The level of the engine's file system.
    pub(crate) async fn look(&self) -> Level {
        if !self.reserve.is_on() {
            return Level::Roomy;
        }
        let root = self.facts.engine_root().await;
        let engine = root.as_deref().and_then(space);
        let own = space(&self.data_dir);
        let mut gauges = self.gauges.lock().expect("nothing panics with this lock");
        let (level, engine) = match (engine, root) {
            (Some(space), Some(root)) => {
                let level = gauges.engine.note(&space, self.reserve);
                (level, gauges.engine.pressure(&root))
            }
            // The engine is away: what was seen last still holds.
            _ => (gauges.engine.level(), None),
        };
        let own = own.and_then(|space| {
            gauges.own.note(&space, self.reserve);
            gauges.own.pressure(&self.data_dir)
        });
        drop(gauges);
        self.level.send_if_modified(|old| {
            let differs = *old != level;
            *old = level;
            differs
        });
        let status = DiskStatus {
            pressure: engine.or(own),
        };
        self.status.send_if_modified(|old| {
            let differs = *old != status;
            *old = status;
            differs
        });
        level
    }
}

/// `None` for what is not on this machine.
fn space(path: &Path) -> Option<Space> {
    let seen = rustix::fs::statvfs(path).ok()?;
    Some(Space {
        total: seen.f_blocks * seen.f_frsize,
        // What is left for ordinary users: the rest is the superuser's reserve.
        free: seen.f_bavail * seen.f_frsize,
        files: seen.f_files,
        files_free: seen.f_favail,
    })
}

/// The way of orders to the pods.
pub(crate) fn orders() -> (mpsc::Sender<ForPods>, mpsc::Receiver<ForPods>) {
    mpsc::channel(ORDERS_MAX)
}

/// Looks for ever, has dead containers removed while the disk is short, and ends pods before it is
/// full.
pub(crate) async fn keep(
    disk: Arc<Disk>,
    board: watch::Receiver<Board>,
    orders: watch::Receiver<Option<Arc<Orders>>>,
    pods: mpsc::Sender<ForPods>,
) {
    let (measured, written) = watch::channel(Written::new());
    let measuring = written::measure(
        disk.facts.engine(),
        disk.level(),
        (board.clone(), orders.clone()),
        measured,
        pods.clone(),
    );
    let keeping = async {
        let mut timer = interval(Duration::from_secs(LOOK_SECS));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut evictions = Evictions::default();
        loop {
            timer.tick().await;
            let level = disk.look().await;
            if level >= Level::Short {
                let _ = pods.try_send((None, DiskOrder::Tidy));
            }
            if evictions.is_time(level, &board.borrow(), Instant::now()) {
                let victim = choose(
                    &board.borrow(),
                    orders.borrow().as_deref(),
                    &written.borrow(),
                );
                evictions.begin(victim.map(|it| it.pod), Instant::now());
                if let Some(victim) = victim {
                    tracing::warn!(pod = %victim.pod, "the disk is nearly full: ending a pod");
                    let written = victim.written;
                    let _ = pods.try_send((Some(victim.pod), DiskOrder::Evict { written }));
                }
            }
        }
    };
    tokio::select! {
        () = measuring => {}
        () = keeping => {}
    }
}

/// When pods are ended: one at a time.
#[derive(Debug, Default)]
struct Evictions {
    full_since: Option<Instant>,
    /// The pod that goes now.
    going: Option<(PodId, Instant)>,
    gone_at: Option<Instant>,
    /// It was said that no pod is worth ending.
    told: bool,
}

impl Evictions {
    /// True when another pod should go.
    fn is_time(&mut self, level: Level, board: &Board, now: Instant) -> bool {
        if level < Level::Full {
            *self = Self::default();
            return false;
        }
        let since = *self.full_since.get_or_insert(now);
        if let Some((pod, at)) = self.going {
            let there = board
                .pods
                .get(&pod)
                .is_some_and(|it| it.container.is_some());
            if there && now - at < Duration::from_secs(GOING_SECS_MAX) {
                return false;
            }
            self.going = None;
            self.gone_at = Some(now);
        }
        let waited = |since: Instant, secs| now - since >= Duration::from_secs(secs);
        waited(since, EVICT_AFTER_SECS) && self.gone_at.is_none_or(|at| waited(at, SETTLE_SECS))
    }

    fn begin(&mut self, pod: Option<PodId>, now: Instant) {
        self.going = pod.map(|pod| (pod, now));
        if pod.is_none() && !self.told {
            tracing::error!(
                "the disk is nearly full, and no pod wrote enough to be worth ending: look what \
                 else is on it"
            );
        }
        self.told = pod.is_none();
    }
}

/// The pod that goes next.
fn choose(board: &Board, orders: Option<&Orders>, written: &Written) -> Option<Candidate> {
    let pods = orders.map_or(&[][..], |orders| &orders.pods);
    let candidates = pods.iter().filter_map(|spec| {
        let record = board.pods.get(&spec.id)?;
        record.is_running().then(|| Candidate {
            pod: spec.id,
            written: written.get(&spec.id).copied().unwrap_or_default(),
            budget: spec.disk_bytes,
            priority: spec.priority,
        })
    });
    victim::choose(candidates)
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roomy => "roomy",
            Self::Short => "short",
            Self::Pressed => "pressed",
            Self::Full => "full",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Record;

    #[test]
    fn pods_go_one_at_a_time_and_only_while_the_disk_stays_full() {
        let pod = PodId::from_u128(1);
        let mut board = Board::default();
        board.pods.insert(pod, Record::new(pod));
        let mut evictions = Evictions::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        assert!(
            !evictions.is_time(Level::Full, &board, at(0)),
            "images go first"
        );
        assert!(!evictions.is_time(Level::Pressed, &board, at(19)));
        assert!(
            !evictions.is_time(Level::Full, &board, at(20)),
            "it begins anew"
        );
        assert!(evictions.is_time(Level::Full, &board, at(40)));
        evictions.begin(Some(pod), at(40));
        board.pods.get_mut(&pod).unwrap().container = Some("c1".into());
        assert!(
            !evictions.is_time(Level::Full, &board, at(60)),
            "it is still going"
        );
        board.pods.clear();
        assert!(
            !evictions.is_time(Level::Full, &board, at(61)),
            "it has just gone"
        );
        assert!(evictions.is_time(Level::Full, &board, at(71)));
    }
}
