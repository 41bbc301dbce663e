//! The machines that can take pods of one class, best first.
//!
//! One heap per zone. Within a zone, placing a pod changes only the score of the machine that got
//! it; what changes for a zone as a whole (how many pods of the type it has) is compared between
//! the heaps. So a class of k pods costs one look at each machine and then k times (zones + log
//! machines).

use std::{cmp::Reverse, collections::BinaryHeap};

use fairway_api::placement::{Expression, Placement, TaintEffect};

use super::{
    class::{Class, Rules},
    cluster::{Cluster, Index},
    reasons::Reasons,
};
use crate::{
    filter::{self, Why},
    policy::Strategy,
    score::Score,
};

/// What holds for all pods with the same placement, whatever runs where.
#[derive(Debug)]
pub(crate) struct Eligible {
    pub(crate) machines: Vec<Index>,
    /// Of each of `machines`: taints that ask to be avoided, and preferences not met.
    wishes: Vec<(u32, u32)>,
    refused: Vec<(Index, Why)>,
}

impl Eligible {
    pub(crate) fn new(cluster: &Cluster, placement: &Placement) -> Self {
        let required: Vec<Expression> = placement.required().collect();
        let mut eligible = Self {
            machines: vec![],
            wishes: vec![],
            refused: vec![],
        };
        for (index, machine) in (0..).zip(&cluster.machines) {
            match filter::standing(&machine.node, placement, &required) {
                Some(why) => eligible.refused.push((index, why)),
                None => {
                    let facts = &machine.node.facts;
                    let avoids = facts.taints.iter().filter(|taint| {
                        taint.effect == TaintEffect::PreferNoSchedule
                            && !filter::bears(placement, taint)
                    });
                    let unmet = placement
                        .prefer
                        .iter()
                        .filter(|it| !it.matches(&facts.labels));
                    eligible.machines.push(index);
                    eligible
                        .wishes
                        .push((few(avoids.count()), few(unmet.count())));
                }
            }
        }
        eligible
    }
}

fn few(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The machines that can take pods of a class.
pub(crate) struct Seats<'a> {
    class: &'a Class,
    rules: &'a Rules<'a>,
    eligible: &'a Eligible,
    /// By zone; the numbers of pods by zone are left out of the scores.
    heaps: Vec<BinaryHeap<Reverse<Entry>>>,
}

/// A machine's score without what its zone adds, and its place in the list of eligible ones.
type Entry = (Score, u32);

impl<'a> Seats<'a> {
    pub(crate) fn new(
        cluster: &Cluster,
        class: &'a Class,
        rules: &'a Rules<'a>,
        eligible: &'a Eligible,
    ) -> Self {
        let mut heaps: Vec<Vec<Reverse<Entry>>> = vec![vec![]; cluster.zones as usize];
        let mut seats = Self {
            class,
            rules,
            eligible,
            heaps: vec![],
        };
        for (position, &index) in (0..).zip(&eligible.machines) {
            if seats.takes(cluster, index) {
                let zone = cluster.machine(index).zone as usize;
                heaps[zone].push(Reverse((seats.score(cluster, position), position)));
            }
        }
        seats.heaps = heaps.into_iter().map(BinaryHeap::from).collect();
        seats
    }

    /// The best machine; it is put back with [`Self::put_back`] once the pod is counted.
    pub(crate) fn take(&mut self, cluster: &Cluster) -> Option<Seat> {
        let skew = if self.rules.hard {
            self.rules.skew(cluster, &self.eligible.machines)
        } else {
            (u32::MAX, u32::MAX)
        };
        let mut best: Option<(Score, usize)> = None;
        for zone in 0..self.heaps.len() {
            let Some(position) = self.top(cluster, zone) else {
                continue;
            };
            let index = self.eligible.machines[position as usize];
            if self.rules.skewed(cluster, index, skew).is_some() {
                continue; // Until others have caught up.
            }
            let score = (self.score(cluster, position), zone);
            best = Some(best.map_or(score, |best| best.min(score)));
        }
        let (score, zone) = best?;
        let Reverse((_, position)) = self.heaps[zone].pop()?;
        Some(Seat {
            machine: score.machine,
            position,
        })
    }

    /// The best of a zone. Machines that a pod of the class itself made impossible are dropped.
    fn top(&mut self, cluster: &Cluster, zone: usize) -> Option<u32> {
        loop {
            let Reverse((score, position)) = self.heaps[zone].peek()?;
            if !self.rules.hard || self.rules.company(cluster, score.machine).is_none() {
                return Some(*position);
            }
            self.heaps[zone].pop();
        }
    }

    pub(crate) fn put_back(&mut self, cluster: &Cluster, seat: Seat) {
        if self.takes(cluster, seat.machine) {
            let zone = cluster.machine(seat.machine).zone as usize;
            let score = self.score(cluster, seat.position);
            self.heaps[zone].push(Reverse((score, seat.position)));
        }
    }

    fn takes(&self, cluster: &Cluster, index: Index) -> bool {
        self.rules.room(cluster, index).is_none()
            && (!self.rules.hard || self.rules.company(cluster, index).is_none())
    }

    fn score(&self, cluster: &Cluster, position: u32) -> Score {
        let index = self.eligible.machines[position as usize];
        let (avoided, unmet) = self.eligible.wishes[position as usize];
        let (must_spread, spread) = self.rules.crowd(cluster, index);
        let load = cluster.machine(index).load_permille();
        Score {
            must_spread,
            avoided,
            unmet: unmet + self.rules.unmet(cluster, index),
            spread,
            pulls: !cluster.has_app(self.class.app, index),
            load_permille: match cluster.policy.strategy {
                Strategy::Spread => load,
                Strategy::Pack => 1000_u32.saturating_sub(load),
            },
            machine: index,
        }
    }

    /// Why each machine says no now.
    pub(crate) fn reasons<'c>(&self, cluster: &'c Cluster) -> Reasons<'c> {
        let mut reasons = Reasons::default();
        for (index, why) in &self.eligible.refused {
            reasons.add(&cluster.machine(*index).name, why.clone());
        }
        let skew = self.rules.skew(cluster, &self.eligible.machines);
        for &index in &self.eligible.machines {
            let why = self
                .rules
                .room(cluster, index)
                .or_else(|| self.rules.company(cluster, index))
                .or_else(|| self.rules.skewed(cluster, index, skew));
            if let Some(why) = why {
                reasons.add(&cluster.machine(index).name, why);
            }
        }
        reasons
    }
}

/// A machine that was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) machine: Index,
    position: u32,
}
