//! The brake on mass failure.
//!
//! One silent machine is lost, and its pods are replaced elsewhere. When a large share of all
//! machines fall silent together, the more likely cause is a cut network, or the controller's own
//! machine: replacing everything would crush the machines that are left, and all of it would be in
//! vain. So the planner waits then, for a bounded time, and says so. An operator who knows better
//! removes the machines.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use fairway_api::names::NodeName;

use crate::{policy::Policy, snapshot::Snapshot};

/// Machines that were lost together, too many to replace their pods at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MassFailure {
    /// Whose pods stay bound to them for now.
    pub machines: BTreeSet<NodeName>,
    /// When the first of them counts as lost all the same.
    pub until: Option<DateTime<Utc>>,
}

/// Which lost machines the brake holds now.
pub fn held(snapshot: &Snapshot, now: DateTime<Utc>) -> MassFailure {
    let Policy {
        brake_percent,
        brake_window_secs,
        brake_wait_secs,
        ..
    } = snapshot.policy;
    let mut lost: Vec<(DateTime<Utc>, &NodeName)> = snapshot
        .nodes
        .iter()
        .filter_map(|(name, node)| Some((node.lost_at?, name)))
        .collect();
    lost.sort_unstable();
    let window = Duration::seconds(brake_window_secs.into());
    let wait = Duration::seconds(brake_wait_secs.into());
    let mut failure = MassFailure::default();
    for (first, (began, _)) in lost.iter().enumerate() {
        let together = lost[first..]
            .iter()
            .take_while(|(at, _)| *at <= *began + window);
        let together: Vec<_> = together.collect();
        // One machine alone is never a mass failure, however small the cluster.
        let many = together.len() >= 2
            && together.len() * 100 > snapshot.nodes.len() * brake_percent as usize;
        for (at, name) in together.into_iter().filter(|_| many) {
            let until = *at + wait;
            if now < until {
                failure.machines.insert((*name).clone());
                failure.until = Some(failure.until.map_or(until, |other| other.min(until)));
            }
        }
    }
    failure
}
