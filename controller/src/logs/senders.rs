//! Whose log lines a machine may hand in: those of the apps that have pods on it. A machine that was
//! taken over shall not be able to write into everybody's log.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fairway_api::{ids::AppId, names::NodeName};
use tokio::time::Instant;

/// For how long lines of an app are taken after its last pod has left the machine: the last words of
/// a pod may wait for the controller to come back.
const AFTERWARDS: Duration = Duration::from_secs(10 * 60);

/// When which app was last seen on which machine. In memory only.
#[derive(Debug, Default)]
pub struct Senders {
    seen: Mutex<HashMap<NodeName, HashMap<AppId, Instant>>>,
}

impl Senders {
    /// The apps whose lines `node` may hand in, of which `there` have pods on it now.
    pub fn allowed(&self, node: &NodeName, there: BTreeSet<AppId>, now: Instant) -> HashSet<AppId> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let on_node = seen.entry(node.clone()).or_default();
        on_node.retain(|_, at| now.duration_since(*at) < AFTERWARDS);
        on_node.extend(there.into_iter().map(|app| (app, now)));
        on_node.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_taken_for_a_while_and_strangers_never() {
        let senders = Senders::default();
        let [one, two] = ["one", "two"].map(|name| name.parse::<NodeName>().unwrap());
        let shop = AppId::from_u128(1);
        let began = Instant::now();
        for (node, there, after_secs, allowed) in [
            (&one, true, 0, true),
            (&one, false, 599, true),
            (&two, false, 599, false),
            (&one, false, 601, false),
        ] {
            let there = there.then_some(shop).into_iter().collect();
            let now = began + Duration::from_secs(after_secs);
            let found = senders.allowed(node, there, now).contains(&shop);
            assert_eq!(found, allowed, "{node} after {after_secs} s");
        }
    }
}
