//! The route table as routers fetch it: all routes, and which of them changed since when.
//!
//! What a router is told follows from the routes as they are now and from the generation that it
//! has, never from what was told before. So nothing is kept for any router, and one may miss as much
//! as it likes: what it has is too old for changes at some point, and it gets everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use fairway_api::routes::{Route, RouteKey, RoutesDigest};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::orders::{Order, Published};

/// How many routes that are no more are remembered, so that routers can be told of their end alone.
const GONE_MAX: usize = 10_000;

/// The one table for all routers.
#[derive(Debug, Default)]
pub struct Table {
    /// Which generation there is.
    pub published: Published<Stamp>,
    routes: Mutex<Routes>,
}

/// A table is there.
#[derive(Debug)]
pub struct Stamp(u64);

impl Order for Stamp {
    fn generation(&self) -> u64 {
        self.0
    }
}

/// What may have changed in the table.
#[derive(Debug, Default)]
pub struct Touched {
    /// There are no other routes than these.
    pub is_whole: bool,
    /// Each as it is now; `None` for one that is no more.
    pub routes: BTreeMap<RouteKey, Option<Route>>,
}

/// What has changed in the table, to be given out with the next generation.
#[derive(Debug)]
pub struct Changed(BTreeMap<RouteKey, Option<Box<RawValue>>>);

impl Changed {
    /// True if it would be the same table.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Default)]
struct Routes {
    generation: u64,
    /// Whoever has one that is older than this gets everything.
    oldest: u64,
    digest: RoutesDigest,
    by_key: BTreeMap<RouteKey, Entry>,
    /// Each route once, by the generation that changed it last.
    by_change: BTreeMap<u64, BTreeSet<RouteKey>>,
    gone: usize,
}

#[derive(Debug)]
struct Entry {
    changed_in: u64,
    /// `None` for a route that is no more.
    text: Option<(Box<RawValue>, RoutesDigest)>,
}

/// An answer, borrowed.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    routes: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<&'a RouteKey>,
    digest: RoutesDigest,
}

impl Table {
    /// What is different from the newest table.
    pub fn changed(&self, touched: Touched) -> serde_json::Result<Changed> {
        let routes = self.routes();
        let mut changed = BTreeMap::new();
        if touched.is_whole {
            let known = routes.by_key.iter().filter(|(_, it)| it.text.is_some());
            let gone = known.filter(|(key, _)| !touched.routes.contains_key(*key));
            changed.extend(gone.map(|(key, _)| (key.clone(), None)));
        }
        for (key, route) in touched.routes {
            let text = (route.as_ref().map(serde_json::value::to_raw_value)).transpose()?;
            let known = routes.by_key.get(&key).and_then(|it| it.text.as_ref());
            if known.map(|(known, _)| known.get()) != text.as_ref().map(|text| text.get()) {
                changed.insert(key, text);
            }
        }
        Ok(Changed(changed))
    }

    /// Gives out the next table. Routers that have one of another history, as after a database was
    /// put back from a backup, are told everything.
    pub fn publish(&self, generation: u64, changed: Changed) {
        let mut routes = self.routes();
        if self.published.newest().is_none() || self.published.is_behind() {
            routes.oldest = generation;
        }
        routes.generation = generation;
        for (key, text) in changed.0 {
            routes.set(key, text);
        }
        routes.forget_gone();
        drop(routes);
        self.published.publish(Stamp(generation).into());
    }

    /// The newest table for a router that has generation `after`, as JSON: what has changed since,
    /// if it asks for `changes` and they are known, else everything.
    pub fn answer(&self, after: u64, changes: bool) -> serde_json::Result<Vec<u8>> {
        let routes = self.routes();
        let generation = routes.generation;
        let is_known = changes && (routes.oldest..=generation).contains(&after);
        let since = is_known.then_some(after);
        let mut answer = Answer {
            generation,
            since,
            routes: vec![],
            gone: vec![],
            digest: routes.digest,
        };
        let from = since.map_or(0, |since| since + 1);
        for key in routes.by_change.range(from..).flat_map(|(_, keys)| keys) {
            match routes.by_key.get(key).and_then(|it| it.text.as_ref()) {
                Some((text, _)) => answer.routes.push(text),
                None if is_known => answer.gone.push(key),
                None => {}
            }
        }
        serde_json::to_vec(&answer)
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl Routes {
    fn set(&mut self, key: RouteKey, text: Option<Box<RawValue>>) {
        let text = text.map(|text| {
            let digest = RoutesDigest::of(&text);
            (text, digest)
        });
        self.gone += usize::from(text.is_none());
        if let Some((_, digest)) = &text {
            self.digest.toggle(*digest);
        }
        let entry = Entry {
            changed_in: self.generation,
            text,
        };
        if let Some(before) = self.by_key.insert(key.clone(), entry) {
            self.unlist(before.changed_in, &key);
            self.gone -= usize::from(before.text.is_none());
            if let Some((_, digest)) = before.text {
                self.digest.toggle(digest);
            }
        }
        let listed = self.by_change.entry(self.generation).or_default();
        listed.insert(key);
    }

    /// Drops the oldest of the routes that are no more, if there are too many.
    fn forget_gone(&mut self) {
        if self.gone <= GONE_MAX {
            return;
        }
        let surplus = self.gone - GONE_MAX / 2;
        let is_gone = |key: &RouteKey| self.by_key.get(key).is_some_and(|it| it.text.is_none());
        let listed = self.by_change.iter();
        let listed =
            listed.flat_map(|(changed_in, keys)| keys.iter().map(|key| (*changed_in, key)));
        let gone = listed.filter(|(_, key)| is_gone(key)).take(surplus);
        let gone: Vec<_> = gone
            .map(|(changed_in, key)| (changed_in, key.clone()))
            .collect();
        for (changed_in, key) in gone {
            self.oldest = self.oldest.max(changed_in);
            self.by_key.remove(&key);
            self.unlist(changed_in, &key);
            self.gone -= 1;
        }
    }

    fn unlist(&mut self, changed_in: u64, key: &RouteKey) {
        if let Some(listed) = self.by_change.get_mut(&changed_in) {
            listed.remove(key);
            if listed.is_empty() {
                self.by_change.remove(&changed_in);
            }
        }
    }
}

#[cfg(test)]
mod tests;
