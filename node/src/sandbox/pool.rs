//! Which sandboxes to keep ready, whose they are and which to take away: pure.

use std::collections::{BTreeSet, VecDeque};

use crate::network::Joined;

/// Sandboxes kept ready: as many as a small app has process types. Each costs the engine's
/// supervisor process, about 10 MB.
pub(crate) const SPARES: usize = 2;

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
    /// Host names of the pods that started last, the latest first: a machine mostly starts again
    /// what it started before, since a release replaces one.
    recent: VecDeque<String>,
    spares: Vec<(String, Kind)>,
    /// Taken by pods, until they give them back.
    lent: BTreeSet<String>,
    /// How many are being made for pods that wait.
    making: usize,
}

impl Pool {
    /// A pod with this host name runs here.
    pub(crate) fn note(&mut self, hostname: String) {
        self.recent.push_front(hostname);
        self.recent.truncate(SPARES);
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

    /// One step towards a spare for each of the pods that started last.
    pub(crate) fn next(&self, joined: &Joined) -> Option<Next> {
        let mut missing: Vec<&String> = self.recent.iter().collect();
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
    fn settle(pool: &mut Pool, joined: &Joined) -> Vec<String> {
        for number in 0.. {
            match pool.next(joined) {
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
        assert_eq!(settle(&mut pool, &joined), [""; 0]);
        let table: [(&str, &[&str]); 4] = [
            ("web-1", &["web-1"]),
            ("worker-1", &["web-1", "worker-1"]),
            ("web-1", &["web-1", "worker-1"]),
            ("web-1", &["web-1", "web-1"]),
        ];
        for (started, wanted) in table {
            pool.note(started.into());
            assert_eq!(settle(&mut pool, &joined), wanted, "{started}");
        }
        // A spare of another network is none.
        let moved = Joined::plain("a2");
        assert!(matches!(pool.next(&moved), Some(Next::Remove(_))));
        assert_eq!(settle(&mut pool, &moved), ["web-1", "web-1"]);
        assert_eq!(pool.claim(&kind("web-1")), None);
    }

    #[test]
    fn a_claimed_spare_is_the_pods_and_is_made_again() {
        let (mut pool, joined) = (Pool::default(), Joined::plain("a1"));
        pool.note("web-1".into());
        settle(&mut pool, &joined);
        assert_eq!(pool.claim(&kind("web-2")), None);
        let claimed = pool.claim(&kind("web-1")).unwrap();
        assert_eq!(pool.claim(&kind("web-1")), None);
        assert_eq!(pool.next(&joined), Some(Next::Make(kind("web-1"))));
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
