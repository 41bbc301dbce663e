//! The machines that can take pods of one class, best first.
//!
//! One heap per zone. Within a zone, placing a pod changes only the score of the machine that got
//! it; what changes for a zone as a whole (how many pods of the type it has) is compared between
//! the heaps. So a class of k pods costs one look at each machine and then k times (zones + log k).

use std::{cmp::Reverse, collections::BinaryHeap};

use fairway_api::{
    placement::{Expression, Placement, TaintEffect},
    sizes::Resources,
};

use super::{
    class::{Class, Rules},
    cluster::{Cluster, Index},
    reasons::Reasons,
};
use crate::{
    filter::{self, Why},
    policy::Strategy,
    score::Score,
    volumes::Needs,
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
    pub(crate) fn new(cluster: &Cluster, placement: &Placement, needs: Option<&Needs>) -> Self {
        let required: Vec<Expression> = placement.required().collect();
        let mut eligible = Self {
            machines: vec![],
            wishes: vec![],
            refused: vec![],
        };
        for (index, machine) in (0..).zip(&cluster.machines) {
            let standing = filter::standing(&machine.node, placement, &required);
            match standing.or_else(|| needs?.refuses(index, machine)) {
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
    need: Resources,
    rules: Rules<'a>,
    eligible: &'a Eligible,
    /// Machines on which something of the app runs.
    with_app: Vec<bool>,
    /// By zone. Only as many machines as there are pods to place: each pod takes one at most.
    heaps: Vec<BinaryHeap<Reverse<Entry>>>,
}

/// A machine's score when it was looked at last, and its place in the list of eligible ones.
type Entry = (Score, u32);

impl<'a> Seats<'a> {
    /// For so many pods of a class.
    pub(crate) fn new(
        cluster: &Cluster,
        class: &Class,
        rules: Rules<'a>,
        eligible: &'a Eligible,
        pods: usize,
    ) -> Self {
        let mut seats = Self {
            need: class.need(),
            rules,
            eligible,
            with_app: cluster.with_app(class.app),
            heaps: vec![],
        };
        // The worst of the best on top.
        let mut best: Vec<BinaryHeap<Entry>> = vec![BinaryHeap::new(); cluster.zones as usize];
        for (position, &index) in (0..).zip(&eligible.machines) {
            if !seats.takes(cluster, index) {
                continue;
            }
            let entry = (seats.score(cluster, position), position);
            let best = &mut best[cluster.rooms[index as usize].zone as usize];
            if best.len() < pods {
                best.push(entry);
            } else if let Some(mut worst) = best.peek_mut()
                && entry < *worst
            {
                *worst = entry;
            }
        }
        let heaps = best.into_iter().map(|best| best.into_iter().map(Reverse));
        seats.heaps = heaps.map(BinaryHeap::from_iter).collect();
        seats
    }

    /// The best machine; tell with [`Self::placed`] when the pod is counted on it.
    pub(crate) fn take(&mut self, cluster: &Cluster) -> Option<Seat> {
        let skew = self.rules.skew();
        let mut best: Option<(Score, u32)> = None;
        for zone in (0..).take(self.heaps.len()) {
            let Some(position) = self.top(zone) else {
                continue;
            };
            let index = self.eligible.machines[position as usize];
            if self.rules.hard && self.rules.skewed(zone, index, skew).is_some() {
                continue; // Until others have caught up.
            }
            let score = (self.score(cluster, position), zone);
            best = Some(best.map_or(score, |best| best.min(score)));
        }
        let (score, zone) = best?;
        let Reverse((_, position)) = self.heaps[zone as usize].pop()?;
        Some(Seat {
            machine: score.machine,
            position,
        })
    }

    /// The best of a zone. Machines that a pod of the class itself made impossible are dropped.
    fn top(&mut self, zone: u32) -> Option<u32> {
        loop {
            let Reverse((score, position)) = self.heaps[zone as usize].peek()?;
            if !self.rules.hard || self.rules.company(zone, score.machine).is_none() {
                return Some(*position);
            }
            self.heaps[zone as usize].pop();
        }
    }

    /// The pod is on the machine now, which may take more.
    pub(crate) fn placed(&mut self, cluster: &Cluster, seat: Seat) {
        let zone = cluster.rooms[seat.machine as usize].zone;
        self.rules.placed(zone, seat.machine);
        self.with_app[seat.machine as usize] = true;
        if self.takes(cluster, seat.machine) {
            let score = self.score(cluster, seat.position);
            self.heaps[zone as usize].push(Reverse((score, seat.position)));
        }
    }

    /// True if what found no room now was refused for reasons that hold for other classes too.
    pub(crate) fn is_plain(&self) -> bool {
        !self.rules.hard
    }

    fn takes(&self, cluster: &Cluster, index: Index) -> bool {
        let room = &cluster.rooms[index as usize];
        room.fits(self.need) && (!self.rules.hard || self.rules.company(room.zone, index).is_none())
    }

    /// Within a zone the order of two machines changes only when one of them gets a pod.
    fn score(&self, cluster: &Cluster, position: u32) -> Score {
        let index = self.eligible.machines[position as usize];
        let room = &cluster.rooms[index as usize];
        let (avoided, unmet) = self.eligible.wishes[position as usize];
        let (must_spread, spread) = self.rules.crowd(room.zone, index);
        Score {
            must_spread,
            avoided,
            unmet: unmet + self.rules.unmet(room.zone, index),
            spread,
            pulls: !self.with_app[index as usize],
            load_permille: match cluster.policy.strategy {
                Strategy::Spread => room.load_permille,
                Strategy::Pack => 1000_u32.saturating_sub(room.load_permille),
            },
            machine: index,
        }
    }

    /// The scores of all eligible machines, and whether each could take a pod now.
    pub(crate) fn scores(&self, cluster: &Cluster) -> Vec<(Score, bool)> {
        let skew = self.rules.skew();
        let positions = (0..).zip(&self.eligible.machines);
        let score = |(position, &index): (u32, &Index)| {
            let zone = cluster.rooms[index as usize].zone;
            let free = self.takes(cluster, index) && self.rules.skewed(zone, index, skew).is_none();
            (self.score(cluster, position), free)
        };
        positions.map(score).collect()
    }

    /// Machines that could take a pod if they had room.
    pub(crate) fn without_room(&self, cluster: &Cluster) -> impl Iterator<Item = Index> {
        let skew = self.rules.skew();
        let machines = self.eligible.machines.iter().copied();
        machines.filter(move |&index| {
            let zone = cluster.rooms[index as usize].zone;
            let node = &cluster.machines[index as usize].node;
            filter::size(node, self.need).is_none()
                && self.rules.company(zone, index).is_none()
                && self.rules.skewed(zone, index, skew).is_none()
        })
    }

    /// Why each machine says no now.
    pub(crate) fn reasons<'c>(&self, cluster: &'c Cluster) -> Reasons<'c> {
        let mut reasons = Reasons::default();
        for (index, why) in &self.eligible.refused {
            reasons.add(&cluster.machines[*index as usize].name, why.clone());
        }
        let skew = self.rules.skew();
        for &index in &self.eligible.machines {
            let machine = &cluster.machines[index as usize];
            let room = &cluster.rooms[index as usize];
            let why = filter::size(&machine.node, self.need)
                .or_else(|| filter::room(room, self.need))
                .or_else(|| self.rules.company(room.zone, index))
                .or_else(|| self.rules.skewed(room.zone, index, skew));
            if let Some(why) = why {
                reasons.add(&machine.name, why);
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
