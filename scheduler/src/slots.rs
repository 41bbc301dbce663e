//! The pods that a release should have: a slot for each (process type, 1 to quantity), one pod in
//! each slot.
//!
//! Scaling, restart, another size and a lost or drained machine are all the same move: the newest
//! pod of a slot is the wanted one, and an older one serves on until the newest is up. A pod in a
//! slot that stays is never touched.

mod exchange;

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use fairway_api::{ids::PodId, names::ProcessType};

use crate::{
    action::{Action, NewPod},
    beside::Beside,
    drain,
    pass::Pass,
    snapshot::{App, NodeState, Pod, PodIntent, PodKind, Release, Want},
    volumes,
};

/// How long a pod that is to be replaced holds its place on a full machine, in seconds, before it
/// makes room for the pod that replaces it: a gap is better than a restart that never happens.
pub const REPLACE_IN_PLACE_AFTER_SECS: i64 = 30;

/// How long a pod that has found room counts as about to be up, in seconds since it was made: until
/// then no other makes room.
const STARTS_WITHIN_SECS: i64 = 2 * REPLACE_IN_PLACE_AFTER_SECS;

/// The slots that a release should have now, by process type.
pub(crate) type Targets<'a> = BTreeMap<&'a ProcessType, BTreeSet<u32>>;

/// Keeps the pods of the serving release and of the one that a deployment wants beside it, and
/// ends all others.
pub(crate) fn keep(app: &App, pass: &mut Pass<'_>) {
    let beside = app.beside();
    let other = beside.release(app.current);
    let releases = [app.current, other];
    for release in releases.iter().flatten() {
        if let Some(release) = app.releases.get(release) {
            let targets = targets(app, release, beside);
            let exchange = matches!(beside, Beside::Exchange { .. });
            fill(app, release, &targets, exchange, pass);
        }
    }
    for pod in wanted_replicas(app).filter(|pod| !releases.contains(&Some(pod.release))) {
        drain::retire(pod, pass);
    }
}

fn targets<'a>(app: &'a App, release: &'a Release, beside: Beside) -> Targets<'a> {
    if let Beside::Exchange { from, to } = beside {
        return exchange::targets(app, release, from, to);
    }
    let wanted = app.wanted(release).into_iter();
    wanted
        .map(|(process_type, want)| {
            let quantity = beside.quantity(release, process_type, want);
            (process_type, (1..=quantity).collect())
        })
        .collect()
}

fn wanted_replicas(app: &App) -> impl Iterator<Item = &Pod> {
    app.pods
        .values()
        .filter(|pod| pod.kind == PodKind::Service && pod.intent == PodIntent::Wanted)
}

/// The wanted pods of a release by slot, oldest first.
pub(crate) fn by_slot<'a>(
    app: &'a App,
    release: &Release,
) -> BTreeMap<(&'a ProcessType, u32), Vec<&'a Pod>> {
    let mut slots: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for pod in wanted_replicas(app).filter(|pod| pod.release == release.id) {
        slots
            .entry((&pod.process_type, pod.ordinal))
            .or_default()
            .push(pod);
    }
    slots
}

/// Gives each of these slots its pod, and ends what is in no such slot. In an exchange no pod makes
/// room before the one that replaces it is up: how many may be missing is the deployment's to say.
fn fill(app: &App, release: &Release, targets: &Targets<'_>, exchange: bool, pass: &mut Pass<'_>) {
    let mut slots = by_slot(app, release);
    let mut room_made = exchange;
    let wanted = app.wanted(release);
    for (&process_type, ordinals) in targets {
        for &ordinal in ordinals {
            let pods = slots.remove(&(process_type, ordinal)).unwrap_or_default();
            let Some(want) = wanted.get(process_type) else {
                continue;
            };
            let mut moved = None;
            let needed = match pods.split_last() {
                None => true,
                Some((newest, older)) => {
                    for pod in older {
                        if newest.is_up() || !pod.is_up() {
                            leave(app, pod, pass);
                        } else if !room_made && makes_room(app, pod, newest, pass) {
                            room_made = true;
                            leave(app, pod, pass);
                        }
                    }
                    moved = pass.why_move(app, newest).map(|why| (*newest, why));
                    newest.size != want.size || newest.was_evicted() || moved.is_some()
                }
            };
            let serves = Some(release.id) == app.current;
            if needed && !(serves && volumes::yields(app, release, process_type)) {
                if let Some((pod, why)) = moved {
                    pass.tell_move(app, pod, why);
                }
                pass.create(|id| replica(id, release, process_type, ordinal, want));
            }
        }
    }
    // What is left is in no wanted slot: scaled down, replaced, or a type that is no more.
    for pod in slots.into_values().flatten() {
        leave(app, pod, pass);
    }
}

fn replica(
    id: PodId,
    release: &Release,
    process_type: &ProcessType,
    ordinal: u32,
    want: &Want,
) -> NewPod {
    NewPod {
        id,
        release: release.id,
        kind: PodKind::Service,
        process_type: process_type.clone(),
        ordinal,
        name: format!("{process_type}.{ordinal}"),
        size: want.size.clone(),
    }
}

/// True when a pod should go although the one that replaces it is not up, since that one finds no
/// room. One at a time: a full machine is no reason to take a whole app down.
fn makes_room(app: &App, older: &Pod, newest: &Pod, pass: &mut Pass<'_>) -> bool {
    let lost = |pod: &Pod| {
        let node = pod.node.as_ref().and_then(|node| pass.nodes.get(node));
        node.is_some_and(|node| node.state == NodeState::Lost)
    };
    // Its end makes room only where it is; on a machine that takes no pods it would be in vain.
    if newest.unplaced.is_none() || lost(older) || pass.must_move(app, older) {
        return false;
    }
    // What ends on a lost machine ends whenever that comes back, and makes no room here.
    let services = app.pods.values().filter(|pod| pod.kind == PodKind::Service);
    let services: Vec<&Pod> = services.filter(|pod| !lost(pod)).collect();
    let others_move = services.into_iter().any(|pod| match pod.intent {
        PodIntent::Retired { .. } | PodIntent::Stopping => true,
        PodIntent::Wanted => {
            let is_new = pod.node.is_some() && !pod.is_up();
            is_new && !pass.reached(pod.created_at + Duration::seconds(STARTS_WITHIN_SECS))
        }
    });
    !others_move && pass.reached(newest.created_at + Duration::seconds(REPLACE_IN_PLACE_AFTER_SECS))
}

/// Ends a pod; one of a release that never served is in no table and just stops.
pub(crate) fn leave(app: &App, pod: &Pod, pass: &mut Pass<'_>) {
    let starting = app.active_deployment().filter(|it| !it.state.is_live());
    if starting.is_some_and(|it| it.release == pod.release) && !app.serves(pod.release) {
        pass.act(Action::Stop { pod: pod.id });
    } else {
        drain::retire(pod, pass);
    }
}
