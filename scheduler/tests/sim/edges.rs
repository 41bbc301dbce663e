//! Simulated routers: they fetch tables late, keep requests open, and fall silent.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    ids::{DeploymentId, PodId},
    routes::{CanaryTally, Tally},
};
use fairway_scheduler::snapshot::{ROUTER_LIVE_SECS, Router};

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
    /// Counts of the canaries in its table.
    canaries: BTreeMap<DeploymentId, CanaryTally>,
    /// Reports on their way: they come late, twice, or never.
    mail: Vec<Router>,
}

/// Reports on their way at once, at most.
const MAIL_MAX: usize = 4;

impl Edge {
    pub(super) fn step(&mut self, name: &str, world: &mut World, dice: &mut Dice) {
        if dice.chance(4) {
            self.silent = !self.silent;
        }
        if !self.silent && dice.chance(70) {
            self.generation = world.snapshot.routes_generation;
            self.table = world.table.iter().copied().collect();
            self.take_canaries(world);
        }
        self.count(dice);
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
            self.mail.push(Router {
                reported_at: world.now,
                generation: self.generation,
                draining,
                canaries: self.canaries.clone(),
            });
        }
        self.deliver(name, world, dice);
    }

    /// Canaries of the table: a step that is new begins at nothing.
    fn take_canaries(&mut self, world: &World) {
        let canaries = world.snapshot.apps.values().filter_map(|app| app.canary());
        let before = std::mem::take(&mut self.canaries);
        for canary in canaries {
            let known = before.get(&canary.deployment);
            let known = known.filter(|it| it.step == canary.step).cloned();
            let fresh = CanaryTally {
                step: canary.step,
                ..CanaryTally::default()
            };
            self.canaries
                .insert(canary.deployment, known.unwrap_or(fresh));
        }
    }

    /// Requests to both sides, of which the canary's go wrong now and then.
    fn count(&mut self, dice: &mut Dice) {
        for (deployment, tally) in &mut self.canaries {
            // Each deployment is good or bad as a whole.
            let is_bad = deployment.as_uuid().as_u128() % 3 == 0;
            for (side, may_fail) in [(&mut tally.stable, false), (&mut tally.canary, is_bad)] {
                let requests = dice.roll(40);
                let errors = if may_fail { dice.roll(requests + 1) } else { 0 };
                let mut latencies = Tally::default().latencies;
                latencies[usize::try_from(dice.roll(3)).unwrap()] = requests;
                side.add(&Tally {
                    requests,
                    errors,
                    latencies,
                });
            }
        }
    }

    /// Brings a report: mostly the newest, now and then an older one, or one once more.
    fn deliver(&mut self, name: &str, world: &mut World, dice: &mut Dice) {
        if self.mail.is_empty() || dice.chance(5) {
            return;
        }
        let newest = self.mail.len() - 1;
        let which = if dice.chance(15) {
            usize::try_from(dice.roll(self.mail.len() as u64)).unwrap()
        } else {
            newest
        };
        let mut report = self.mail[which].clone();
        // It counts from when it comes.
        report.reported_at = world.now;
        self.reported_at = Some(world.now);
        world
            .snapshot
            .routers
            .seen
            .insert(name.parse().unwrap(), report);
        if self.mail.len() >= MAIL_MAX || dice.chance(50) {
            self.mail.clear();
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
        self.silent || self.generation == generation && self.mail.is_empty()
    }
}
