//! Simulated routers: they fetch tables late, keep requests open, and fall silent.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use fairway_api::ids::PodId;
use fairway_scheduler::snapshot::ROUTER_LIVE_SECS;

use super::Dice;
use crate::world::World;

/// One router.
#[derive(Debug, Default)]
pub(super) struct Edge {
    generation: u64,
    table: BTreeSet<PodId>,
    /// Open requests by pod.
    open: BTreeMap<PodId, u32>,
    reported_at: Option<DateTime<Utc>>,
    /// Cut off from the controller: it serves what it has and hears nothing.
    silent: bool,
}

impl Edge {
    pub(super) fn step(&mut self, name: &str, world: &mut World, dice: &mut Dice) {
        if dice.chance(4) {
            self.silent = !self.silent;
        }
        if !self.silent && dice.chance(70) {
            self.generation = world.snapshot.routes_generation;
            self.table = world.table.iter().copied().collect();
        }
        for pod in &self.table {
            if dice.chance(40) {
                *self.open.entry(*pod).or_default() += 1;
            }
        }
        for open in self.open.values_mut() {
            *open -= u32::try_from(dice.roll(u64::from(*open) + 1)).unwrap();
        }
        self.open.retain(|_, open| *open > 0);
        // Every heartbeat comes within the longest step.
        if !self.silent {
            let left = self
                .open
                .iter()
                .filter(|(pod, _)| !self.table.contains(pod));
            let draining = left.map(|(pod, open)| (*pod, *open)).collect();
            world.report_router(name, self.generation, draining);
            self.reported_at = Some(world.now);
        }
    }

    pub(super) fn wake_up(&mut self) {
        self.silent = false;
    }

    /// True when it may have a request open to the pod, or send it the next one.
    pub(super) fn uses(&self, pod: PodId) -> bool {
        self.table.contains(&pod) || self.open.contains_key(&pod)
    }

    pub(super) fn is_live(&self, now: DateTime<Utc>) -> bool {
        let live_for = Duration::seconds(ROUTER_LIVE_SECS);
        self.reported_at.is_some_and(|at| at > now - live_for)
    }

    /// True when it has the newest table, or will never say.
    pub(super) fn is_idle(&self, generation: u64) -> bool {
        self.silent || self.generation == generation
    }
}
