//! The route table as it travels: whole, or what has changed since a generation that the receiver
//! has, with the digest that all routes must have afterwards.
//!
//! A message tells what *is* (each route that was touched since, as it is now), not what was done,
//! so that one that is lost, doubled or overtaken does no harm. What a receiver makes of it is held
//! against the digest; whoever does not arrive there takes nothing of it and asks for everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{Route, RouteTable};
use crate::names::Hostname;

/// Bytes of a [`RoutesDigest`].
const DIGEST_BYTES: usize = 32;

/// What a route is found by; there is one route with each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKey {
    pub hostname: Hostname,
    pub path: String,
}

/// The answer to `GET /internal/routers/{router}/table?after=GENERATION&changes=true`. Without
/// `changes` it is a whole [`RouteTable`], which reads as one of these.
#[derive(Debug, Clone, Deserialize)]
pub struct RouteUpdate {
    pub generation: u64,
    /// Of the table that this adds to, or of any later one; 0: these are all routes.
    #[serde(default)]
    pub since: u64,
    /// Each a [`Route`] as JSON. The digest is about these very bytes, so that a receiver need not
    /// know every field to check it.
    pub routes: Vec<Box<RawValue>>,
    /// Routes that are no more.
    #[serde(default)]
    pub gone: Vec<RouteKey>,
    /// Of all routes afterwards; `None` from a controller that tells none.
    #[serde(default)]
    pub digest: Option<RoutesDigest>,
}

/// A set of routes in 32 bytes: the SHA-256 of each route's text, all combined by exclusive or, so
/// that a change costs what has changed. It finds mistakes; who sends is known by other means.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct RoutesDigest([u8; DIGEST_BYTES]);

/// All routes of one generation, as texts.
#[derive(Debug, Clone, Default)]
pub struct RouteBook {
    generation: u64,
    routes: BTreeMap<RouteKey, Text>,
    digest: RoutesDigest,
}

#[derive(Debug, Clone)]
struct Text {
    json: Arc<RawValue>,
    digest: RoutesDigest,
}

/// What an update changed; a route that is no more is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteChanges {
    pub generation: u64,
    pub routes: BTreeMap<RouteKey, Option<Route>>,
}

/// Why an update was not taken. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error("route table {offered} is older than {current}, which is in use")]
    Older { offered: u64, current: u64 },
    #[error("route table {0} is in use already")]
    Same(u64),
    /// Ask for everything.
    #[error("the changes begin at route table {since}, and {current} is in use")]
    Gap { since: u64, current: u64 },
    /// Ask for everything.
    #[error("with the changes of route table {0} the routes are not what they should be")]
    Digest(u64),
    #[error("route table {generation} has a route that cannot be read")]
    Route {
        generation: u64,
        #[source]
        source: serde_json::Error,
    },
}

impl NotTaken {
    /// True if only all routes help.
    pub fn needs_everything(&self) -> bool {
        matches!(self, Self::Gap { .. } | Self::Digest(_))
    }
}

impl Route {
    /// What it is found by.
    pub fn key(&self) -> RouteKey {
        RouteKey {
            hostname: self.hostname.clone(),
            path: self.path.clone(),
        }
    }
}

impl RoutesDigest {
    /// Of one route.
    pub fn of(text: &RawValue) -> Self {
        Self(Sha256::digest(text.get()).into())
    }

    /// Adds the digest of a route that is not in it, or takes out one that is.
    pub fn toggle(&mut self, route: Self) {
        for (mine, other) in self.0.iter_mut().zip(route.0) {
            *mine ^= other;
        }
    }
}

impl RouteBook {
    /// 0 for one that has taken nothing yet.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Everything, as it is sent and kept on disk.
    pub fn whole(&self) -> Whole {
        let texts = self.routes.values();
        Whole {
            generation: self.generation,
            routes: texts.map(|text| Arc::clone(&text.json)).collect(),
        }
    }

    /// Takes a newer table; gives what is different in it.
    pub fn take(&mut self, update: RouteUpdate) -> Result<RouteChanges, NotTaken> {
        let (generation, current) = (update.generation, self.generation);
        if generation < current {
            return Err(NotTaken::Older {
                offered: generation,
                current,
            });
        }
        if generation == current {
            return Err(NotTaken::Same(current));
        }
        let (since, wanted) = (update.since, update.digest);
        if since > current {
            return Err(NotTaken::Gap { since, current });
        }
        let (texts, changes) =
            (self.compare(update)).map_err(|source| NotTaken::Route { generation, source })?;
        let mut digest = self.digest;
        for (key, text) in &texts {
            let before = self.routes.get(key).map(|text| text.digest);
            let after = text.as_ref().map(|text| text.digest);
            before
                .into_iter()
                .chain(after)
                .for_each(|it| digest.toggle(it));
        }
        // All routes are right by themselves, whatever stands beside them.
        if since > 0 && wanted.is_some_and(|wanted| wanted != digest) {
            return Err(NotTaken::Digest(generation));
        }
        for (key, text) in texts {
            match text {
                Some(text) => self.routes.insert(key, text),
                None => self.routes.remove(&key),
            };
        }
        self.generation = generation;
        self.digest = digest;
        Ok(changes)
    }

    /// What an update would change here: the texts, and what they say.
    fn compare(
        &self,
        update: RouteUpdate,
    ) -> Result<(BTreeMap<RouteKey, Option<Text>>, RouteChanges), serde_json::Error> {
        let mut changes = RouteChanges {
            generation: update.generation,
            routes: BTreeMap::new(),
        };
        let mut texts = BTreeMap::new();
        let mut told = BTreeSet::new();
        for json in update.routes {
            let digest = RoutesDigest::of(&json);
            let route: Route = serde_json::from_str(json.get())?;
            let key = route.key();
            // Of two with the same key the first counts.
            if told.insert(key.clone()) && self.digest_of(&key) != Some(digest) {
                let json = json.into();
                texts.insert(key.clone(), Some(Text { json, digest }));
                changes.routes.insert(key, Some(route));
            }
        }
        let untold = self.routes.keys().filter(|_| update.since == 0).cloned();
        for key in update.gone.into_iter().chain(untold) {
            if !told.contains(&key) && self.routes.contains_key(&key) {
                texts.insert(key.clone(), None);
                changes.routes.insert(key, None);
            }
        }
        Ok((texts, changes))
    }

    fn digest_of(&self, key: &RouteKey) -> Option<RoutesDigest> {
        self.routes.get(key).map(|text| text.digest)
    }
}

/// All routes, to be written as a [`RouteTable`].
#[derive(Debug, Serialize)]
pub struct Whole {
    generation: u64,
    routes: Vec<Arc<RawValue>>,
}

impl TryFrom<&RouteTable> for RouteUpdate {
    type Error = serde_json::Error;

    fn try_from(table: &RouteTable) -> Result<Self, Self::Error> {
        let routes = table.routes.iter().map(serde_json::value::to_raw_value);
        Ok(Self {
            generation: table.generation,
            since: 0,
            routes: routes.collect::<Result<_, _>>()?,
            gone: vec![],
            digest: None,
        })
    }
}

impl fmt::Display for RoutesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RoutesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RoutesDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RoutesDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; DIGEST_BYTES];
        let pairs = text.as_bytes().chunks_exact(2);
        if pairs.len() != DIGEST_BYTES || text.len() != 2 * DIGEST_BYTES {
            return Err(serde::de::Error::custom("a digest has 64 digits"));
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digits = std::str::from_utf8(pair).map_err(serde::de::Error::custom)?;
            *byte = u8::from_str_radix(digits, 16).map_err(serde::de::Error::custom)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests;
