//! A few at a time: two releases share the places of a process type, and one leaves them to the
//! other.
//!
//! Of `wanted` pods at most `surge` more exist, and at least `wanted - unavailable` are up; what
//! the world takes away meanwhile is made up for before anything else leaves. A pod that leaves is
//! not counted any more, though it drains for a while.

use std::collections::BTreeSet;

use fairway_api::{deployments::Strategy, ids::ReleaseId, names::ProcessType};

use super::{Targets, by_slot};
use crate::snapshot::{App, DeploymentState, Pod, Release};

/// How one process type of a release stands.
#[derive(Debug, Default)]
struct Standing {
    /// Slots that have a pod.
    all: BTreeSet<u32>,
    /// Of these, slots of which a pod is up.
    up: BTreeSet<u32>,
}

/// How many pods there may be, and how many must be up.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    wanted: u32,
    most: u32,
    least_up: u32,
}

/// The slots that one of the two releases should have now.
pub(super) fn targets<'a>(
    app: &'a App,
    release: &'a Release,
    from: ReleaseId,
    to: ReleaseId,
) -> Targets<'a> {
    let wanted = app.wanted(release);
    let types = wanted.into_iter().map(|(process_type, want)| {
        let mine = standing(app, release.id, process_type);
        let slots = match (app.releases.get(&from), app.releases.get(&to)) {
            (Some(from), Some(to)) => {
                let bounds = bounds(app, want.quantity);
                let moves = Moves::new(app, from, to, process_type, bounds);
                moves.of(release.id == to.id, mine.all)
            }
            _ => mine.all,
        };
        (process_type, slots)
    });
    types.collect()
}

/// What a strategy says for so many wanted pods.
fn bounds(app: &App, wanted: u32) -> Bounds {
    let strategy = app.active_deployment().map(|it| &it.strategy);
    let (surge, unavailable) = match strategy {
        Some(Strategy::Rolling { surge, unavailable }) => (
            surge.of_rounded_up(wanted),
            unavailable.of_rounded_down(wanted),
        ),
        _ => (1, 0),
    };
    let paused = (app.active_deployment())
        .is_some_and(|it| matches!(it.state, DeploymentState::Paused { .. }));
    if paused {
        // What has begun is finished, and what is lost or scaled is made good; nothing else moves.
        return Bounds {
            wanted,
            most: wanted,
            least_up: wanted,
        };
    }
    // A percentage of few may be none at all; then one more is the careful way.
    let surge = if surge == 0 && unavailable == 0 {
        1
    } else {
        surge
    };
    Bounds {
        wanted,
        most: wanted.saturating_add(surge),
        least_up: wanted.saturating_sub(unavailable),
    }
}

fn standing(app: &App, release: ReleaseId, process_type: &ProcessType) -> Standing {
    let mut standing = Standing::default();
    let Some(release) = app.releases.get(&release) else {
        return standing;
    };
    for ((name, ordinal), pods) in by_slot(app, release) {
        if name == process_type {
            standing.all.insert(ordinal);
            if pods.iter().any(|pod: &&Pod| pod.is_up()) {
                standing.up.insert(ordinal);
            }
        }
    }
    standing
}

/// What should change for a process type that both releases have.
#[derive(Debug, Default)]
struct Moves {
    /// Slots that the old release leaves.
    left: BTreeSet<u32>,
    /// Slots that the new one takes, and those that it has too many.
    taken: BTreeSet<u32>,
    surplus: BTreeSet<u32>,
}

impl Moves {
    fn new(
        app: &App,
        from: &Release,
        to: &Release,
        process_type: &ProcessType,
        bounds: Bounds,
    ) -> Self {
        let is_in = |release: &Release| release.types.contains_key(process_type);
        if !is_in(from) && !is_in(to) {
            return Self::default();
        }
        if !is_in(to) {
            // It goes with the last of the old pods.
            return Self::default();
        }
        let old = standing(app, from.id, process_type);
        let new = standing(app, to.id, process_type);
        Self::between(&old, &new, bounds)
    }

    fn between(old: &Standing, new: &Standing, bounds: Bounds) -> Self {
        let mut moves = Self::default();
        let surplus = new.all.iter().copied().filter(|it| *it > bounds.wanted);
        let surplus: BTreeSet<u32> = surplus.collect();
        let count = |slots: &BTreeSet<u32>| u32::try_from(slots.len()).unwrap_or(u32::MAX);
        // How many may go at all, so that those that are not up yet are waited for; and of those
        // that are up.
        let mut may_go = (count(&old.all) + count(&new.up)).saturating_sub(bounds.least_up);
        let mut up_may_go = (count(&old.up) + count(&new.up)).saturating_sub(bounds.least_up);
        let leavers = (surplus.iter().map(|it| (false, *it, new.up.contains(it))))
            .chain(old.all.iter().map(|it| (true, *it, old.up.contains(it))));
        let mut leavers: Vec<_> = leavers.collect();
        // Whoever is not up is missed by nobody.
        leavers.sort_by_key(|(is_old, _, is_up)| (*is_up, *is_old));
        for (is_old, ordinal, is_up) in leavers {
            if is_up && up_may_go == 0 || (is_old || is_up) && may_go == 0 {
                continue;
            }
            up_may_go -= u32::from(is_up);
            may_go = may_go.saturating_sub(u32::from(is_old || is_up));
            let leaves = if is_old {
                &mut moves.left
            } else {
                &mut moves.surplus
            };
            leaves.insert(ordinal);
        }
        let stay = count(&old.all) + count(&new.all) - count(&moves.left) - count(&moves.surplus);
        let room = bounds.most.saturating_sub(stay);
        moves.taken = (1..=bounds.wanted)
            .filter(|ordinal| !new.all.contains(ordinal))
            .take(usize::try_from(room).unwrap_or(usize::MAX))
            .collect();
        moves
    }

    /// The slots that a release should have, of those that it has.
    fn of(self, is_new: bool, mut slots: BTreeSet<u32>) -> BTreeSet<u32> {
        if is_new {
            slots.retain(|slot| !self.surplus.contains(slot));
            slots.extend(self.taken);
        } else {
            slots.retain(|slot| !self.left.contains(slot));
        }
        slots
    }
}

#[cfg(test)]
mod tests;
