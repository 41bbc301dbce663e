//! Which sandboxes to keep ready, whose they are and which to take away: pure.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::network::Joined;

/// Sandboxes kept ready whatever happens: as many as a small app has process types.
pub(crate) const SPARES: usize = 2;
/// The most that are kept ready, on a machine with room.
pub(crate) const SPARES_MAX: usize = 20;
/// What the engine's supervisor process of one takes, in bytes.
const SPARE_BYTES: u64 = 13 << 20;
/// Spares take no more than one part in so many of the memory that is free.
const SPARES_SHARE: u64 = 20;
/// For how long after its start a pod has a spare for the next like it beyond the first
/// [`SPARES`]: who has just scaled or deployed often does so again.
const RECENT: Duration = Duration::from_secs(10 * 60);

/// How many spares a machine keeps at most that has `available` bytes of memory besides what its
/// `spares` take.
pub(crate) fn room(available: u64, spares: usize) -> usize {
    let free = available.saturating_add(SPARE_BYTES * spares as u64);
    let room = free / SPARES_SHARE / SPARE_BYTES;
    usize::try_from(room).map_or(SPARES_MAX, |room| room.clamp(SPARES, SPARES_MAX))
}

/// What a sandbox holds for the pod that takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Containers that share a network namespace have its host name, too.
    pub(crate) hostname: String,
    pub(crate) joined: Joined,
}

impl Kind {
    /// The same as text, for the sandbox's label.
    pub(crate) fn mark(&self) -> String {
        let Joined {
            network,
            name_servers,
            search,
        } = &self.joined;
        let servers: Vec<String> = name_servers.iter().map(ToString::to_string).collect();
        format!(
            "{} {network} {} {}",
            self.hostname,
            servers.join(","),
            search.join(",")
        )
    }
}

/// A sandbox of this instance as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) running: bool,
}

/// What to do next so that there are the right spares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Make(Kind),
    Remove(String),
}

/// All sandboxes that this agent knows of.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Host names of the pods that started last and when, the latest first: a machine mostly starts
    /// again what it started before, since a release replaces one.
    recent: VecDeque<(String, Instant)>,
    spares: Vec<(String, Kind)>,
    /// Taken by pods, until they give them back.
    lent: BTreeSet<String>,
    /// How many are being made for pods that wait.
    making: usize,
}

impl Pool {
    /// A pod with this host name runs here since `now`.
    pub(crate) fn note(&mut self, hostname: String, now: Instant) {
        self.recent.push_front((hostname, now));
        self.recent.truncate(SPARES_MAX);
    }

    /// How many are in nobody's hands.
    pub(crate) fn spares(&self) -> usize {
        self.spares.len()
    }

    pub(crate) fn add(&mut self, id: String, kind: Kind) {
        self.spares.push((id, kind));
    }

    /// Gives a spare of this kind to a pod.
    pub(crate) fn claim(&mut self, kind: &Kind) -> Option<String> {
        let found = self.spares.iter().position(|(_, spare)| spare == kind)?;
        let (id, _) = self.spares.swap_remove(found);
        self.lent.insert(id.clone());
        Some(id)
    }

    /// A pod has this one from before.
    pub(crate) fn lend(&mut self, id: &str) {
        self.lent.insert(id.to_owned());
    }

    /// One is being made for a pod; until [`Pool::end_making`] nothing counts as an orphan.
    pub(crate) fn begin_making(&mut self) {
        self.making += 1;
    }

    pub(crate) fn end_making(&mut self) {
        self.making = self.making.saturating_sub(1);
    }

    /// It is nobody's any more.
    pub(crate) fn forget(&mut self, id: &str) {
        self.lent.remove(id);
        self.spares.retain(|(spare, _)| spare != id);
    }

    /// All spares, which are none any more.
    pub(crate) fn give_up(&mut self) -> Vec<String> {
        self.spares.drain(..).map(|(id, _)| id).collect()
    }

    /// One step towards a spare for each of the pods that started last, `room` at most.
    pub(crate) fn next(&self, joined: &Joined, now: Instant, room: usize) -> Option<Next> {
        let recent = self.recent.iter().take(room).enumerate();
        let is_wanted = |(index, (_, at)): &(usize, &(String, Instant))| {
            *index < SPARES || now.saturating_duration_since(*at) < RECENT
        };
        let wanted = recent.filter(is_wanted).map(|(_, (name, _))| name);
        let mut missing: Vec<&String> = wanted.collect();
        for (id, kind) in &self.spares {
            let wanted = missing.iter().position(|name| **name == kind.hostname);
            match wanted.filter(|_| kind.joined == *joined) {
                Some(wanted) => drop(missing.remove(wanted)),
                None => return Some(Next::Remove(id.clone())),
            }
        }
        let hostname = missing.first()?.to_string();
        let joined = joined.clone();
        Some(Next::Make(Kind { hostname, joined }))
    }

    /// Sandboxes that are in nobody's hands: spares that ended, and what an agent before this one
    /// left. `used` are those that containers or pods name.
    pub(crate) fn orphans(&self, listed: &[Listed], used: &BTreeSet<String>) -> Vec<String> {
        if self.making > 0 {
            return vec![];
        }
        let spare = |id: &str| self.spares.iter().any(|(spare, _)| spare == id);
        let orphan = |it: &&Listed| {
            let held = self.lent.contains(&it.id) || used.contains(&it.id);
            !held && (!it.running || !spare(&it.id))
        };
        let orphans = listed.iter().filter(orphan);
        orphans.map(|it| it.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(hostname: &str) -> Kind {
        Kind {
            hostname: hostname.into(),
            joined: Joined::plain("a1"),
        }
    }

    /// Does what it says until it says no more; the host names of the spares.
    fn settle(pool: &mut Pool, joined: &Joined, now: Instant, room: usize) -> Vec<String> {
        for number in 0.. {
            match pool.next(joined, now, room) {
                Some(Next::Make(kind)) => pool.add(format!("s{number}"), kind),
                Some(Next::Remove(id)) => pool.forget(&id),
                None => break,
            }
            assert!(number < 100, "it comes to rest");
        }
        let mut names: Vec<String> = pool
            .spares
            .iter()
            .map(|(_, k)| k.hostname.clone())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn spares_are_for_the_pods_that_started_last() {
        let (mut pool, joined) = (Pool::default(), Joined::plain("a1"));
        let now = Instant::now();
        assert_eq!(settle(&mut pool, &joined, now, SPARES), [""; 0]);
        let table: [(&str, &[&str]); 4] = [
            ("web-1", &["web-1"]),
            ("worker-1", &["web-1", "worker-1"]),
            ("web-1", &["web-1", "worker-1"]),
            ("web-1", &["web-1", "web-1"]),
        ];
        for (started, wanted) in table {
            pool.note(started.into(), now);
            let spares = settle(&mut pool, &joined, now, SPARES);
            assert_eq!(spares, wanted, "{started}");
        }
        // A spare of another network is none.
        let moved = Joined::plain("a2");
        let next = pool.next(&moved, now, SPARES);
        assert!(matches!(next, Some(Next::Remove(_))));
        let spares = settle(&mut pool, &moved, now, SPARES);
        assert_eq!(spares, ["web-1", "web-1"]);
        assert_eq!(pool.claim(&kind("web-1")), None);
    }

    #[test]
    fn a_claimed_spare_is_the_pods_and_is_made_again() {
        let (mut pool, joined) = (Pool::default(), Joined::plain("a1"));
        let now = Instant::now();
        pool.note("web-1".into(), now);
        settle(&mut pool, &joined, now, SPARES);
        assert_eq!(pool.claim(&kind("web-2")), None);
        let claimed = pool.claim(&kind("web-1")).unwrap();
        assert_eq!(pool.claim(&kind("web-1")), None);
        let next = pool.next(&joined, now, SPARES);
        assert_eq!(next, Some(Next::Make(kind("web-1"))));
        let listed = |id: &str, running| Listed {
            id: id.into(),
            running,
        };
        let all = [
            listed(&claimed, false),
            listed("used", true),
            listed("left", true),
        ];
        let used = BTreeSet::from(["used".to_owned()]);
        assert_eq!(pool.orphans(&all, &used), ["left"]);
        pool.forget(&claimed);
        assert_eq!(pool.orphans(&all, &used), [claimed.as_str(), "left"]);
    }

    #[test]
    fn pods_that_started_lately_have_spares_while_there_is_room() {
        let (mut pool, joined) = (Pool::default(), Joined::plain("a1"));
        let begun = Instant::now();
        for number in 1..=SPARES_MAX + 3 {
            pool.note(format!("web-{number}"), begun);
        }
        let mut count = |after, room| settle(&mut pool, &joined, begun + after, room).len();
        assert_eq!(count(Duration::ZERO, 5), 5);
        assert_eq!(count(Duration::ZERO, SPARES_MAX), SPARES_MAX);
        assert_eq!(count(RECENT / 2, 7), 7, "less room");
        assert_eq!(count(RECENT, SPARES_MAX), SPARES);
        assert!(pool.claim(&kind("web-23")).is_some(), "the last one");
        assert!(pool.claim(&kind("web-4")).is_none());
    }

    #[test]
    fn spares_take_a_small_part_of_free_memory() {
        assert_eq!(room(0, 0), SPARES);
        assert_eq!(room(u64::MAX, 0), SPARES_MAX);
        let some = room(2 << 30, 0);
        assert!(SPARES < some && some < SPARES_MAX, "{some}");
        // Making them leaves the room as it is.
        assert_eq!(room((2 << 30) - some as u64 * SPARE_BYTES, some), some);
    }

    #[test]
    fn a_spare_that_ended_is_an_orphan() {
        let mut pool = Pool::default();
        pool.add("s".into(), kind("web-1"));
        let listed = |running| {
            [Listed {
                id: "s".into(),
                running,
            }]
        };
        let none = BTreeSet::new();
        assert_eq!(pool.orphans(&listed(true), &none), [""; 0]);
        assert_eq!(pool.orphans(&listed(false), &none), ["s"]);
    }
}
