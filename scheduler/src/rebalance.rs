//! Which pods had better run elsewhere: few at a time, and only where something is won for certain.
//!
//! Placing decides once, with the machines of that moment. Later a machine joins and stays empty, a
//! zone comes back, a rule changes: what runs stays where it is, since moving costs starts. This
//! says which moves are worth that:
//!
//! - a pod's machine no longer is what its placement requires;
//! - its type stands less evenly than it could, by two pods or more;
//! - its machine is fuller than another by [`LOAD_GAP_PERMILLE`], with the pod counted on either.
//!
//! Each move makes the first of these better, or else the second, or else the third, and none
//! before it worse, so a sequence of moves ends. It is bounded by [`MOVES_AT_ONCE`] that are not
//! over yet, one of each process type, none of a type that is not all up or has changed lately: a
//! move starts the new pod first and ends the old one when that is up, so that no budget is touched,
//! and a type of which none may be missing is left alone all the same.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    ids::{AppId, PodId},
    names::{NodeName, ProcessType},
    placement::Expression,
};

use crate::{
    filter,
    place::{
        class::{Class, Names, Rules},
        cluster::Cluster,
        seats::{Eligible, Seats},
    },
    policy::Strategy,
    score::Score,
    snapshot::{App, NodeState, Pod, PodIntent, PodKind, Release, Snapshot},
};

/// The most moves that are under way at a time, in the whole cluster: each is a start of a pod that
/// nobody asked for.
pub const MOVES_AT_ONCE: usize = 4;
/// How long all pods of a type must have been left alone before one moves, in seconds. Long enough
/// that no measurement or deployment follows another move closely.
pub const SETTLED_SECS: i64 = 300;
/// How much fuller the pod's machine must be than the other with the pod on it, in thousandths.
pub const LOAD_GAP_PERMILLE: u32 = 200;
/// How many pods are looked at in full, each against every machine.
const LOOKS_MAX: usize = 64;

/// A pod that had better run elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub app: AppId,
    pub pod: PodId,
    pub name: String,
    pub process_type: ProcessType,
    pub from: NodeName,
    pub to: NodeName,
    pub why: Gain,
}

/// What a move makes better; the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gain {
    /// The machine no longer is what the placement requires.
    Rule,
    /// The type's pods stand more evenly over zones and machines.
    Spread,
    /// A full machine gets emptier, an empty one is used.
    Load,
}

/// A pod that may have to move.
struct Candidate<'a> {
    app: &'a App,
    pod: &'a Pod,
    node: &'a NodeName,
}

/// The moves to begin now, at most [`MOVES_AT_ONCE`] less what is under way. The new pod of each
/// must be bound to `to`.
pub fn propose(snapshot: &Snapshot, now: DateTime<Utc>) -> Vec<Move> {
    let under_way: usize = snapshot.apps.values().map(replaced).sum();
    let left = MOVES_AT_ONCE.saturating_sub(under_way);
    if left == 0 || snapshot.nodes.len() < 2 {
        return vec![];
    }
    let mut cluster = Cluster::new(&snapshot.apps, &snapshot.nodes, &snapshot.policy);
    let names = Names::default();
    let mut moved: BTreeSet<(AppId, &ProcessType)> = BTreeSet::new();
    let mut moves = vec![];
    for candidate in candidates(snapshot, &cluster, now) {
        let key = (candidate.app.id, &candidate.pod.process_type);
        if moves.len() == left {
            break;
        }
        if moved.contains(&key) {
            continue;
        }
        if let Some(found) = look(snapshot, &mut cluster, &names, &candidate) {
            moved.insert(key);
            moves.push(found);
        }
    }
    moves
}

/// All moves until nothing is better anywhere, as if each were over at once; at most `most`.
pub fn plan_all(mut snapshot: Snapshot, now: DateTime<Utc>, most: usize) -> Vec<Move> {
    let mut all: Vec<Move> = vec![];
    while all.len() < most {
        let moves = propose(&snapshot, now);
        if moves.is_empty() {
            break;
        }
        for it in &moves {
            let app = snapshot.apps.get_mut(&it.app);
            if let Some(pod) = app.and_then(|app| app.pods.get_mut(&it.pod)) {
                pod.node = Some(it.to.clone());
            }
        }
        all.extend(moves);
    }
    all.truncate(most);
    all
}

/// Slots of which a pod is being replaced.
fn replaced(app: &App) -> usize {
    let mut slots: BTreeMap<_, usize> = BTreeMap::new();
    for pod in services(app) {
        *slots.entry((&pod.process_type, pod.ordinal)).or_default() += 1;
    }
    slots.values().filter(|pods| **pods > 1).count()
}

fn services(app: &App) -> impl Iterator<Item = &Pod> {
    let pods = app.pods.values();
    pods.filter(move |pod| pod.kind == PodKind::Service && Some(pod.release) == app.current)
}

/// Pods worth a full look, the likeliest first, one per type and machine.
fn candidates<'a>(
    snapshot: &'a Snapshot,
    cluster: &Cluster,
    now: DateTime<Utc>,
) -> Vec<Candidate<'a>> {
    let load = |node: &NodeName| {
        let index = cluster.index(node);
        index.map_or(0, |index| cluster.rooms[index as usize].load_permille)
    };
    let mut found = vec![];
    for app in snapshot.apps.values() {
        for (process_type, pods) in calm(app, now) {
            let crowds = crowds(&pods);
            let required = required(app, pods[0]);
            let seen = &mut BTreeSet::new();
            for pod in pods {
                let Some(node) = pod.node.as_ref().filter(|node| seen.insert(*node)) else {
                    continue;
                };
                let broken = breaks_rule(snapshot, app, pod, node, &required);
                let crowd = crowds.get(node).copied().unwrap_or_default();
                let rank = (Reverse(broken), Reverse(crowd), Reverse(load(node)));
                found.push((rank, app.id, process_type, Candidate { app, pod, node }));
            }
        }
    }
    found.sort_by(|one, other| (one.0, one.1, one.2).cmp(&(other.0, other.1, other.2)));
    let first = found.into_iter().take(LOOKS_MAX);
    first.map(|(_, _, _, candidate)| candidate).collect()
}

/// How many pods of a type each machine has.
fn crowds<'a>(pods: &[&'a Pod]) -> BTreeMap<&'a NodeName, usize> {
    let mut crowds = BTreeMap::new();
    for node in pods.iter().filter_map(|pod| pod.node.as_ref()) {
        *crowds.entry(node).or_default() += 1;
    }
    crowds
}

/// The types of the release that serves of which all is as it should be, and has been for a while.
fn calm(app: &App, now: DateTime<Utc>) -> BTreeMap<&ProcessType, Vec<&Pod>> {
    let Some(release) = app.current_release() else {
        return BTreeMap::new();
    };
    if app.deployments.iter().any(|it| !it.state.has_ended()) {
        return BTreeMap::new();
    }
    let mut types: BTreeMap<&ProcessType, Vec<&Pod>> = BTreeMap::new();
    for pod in services(app) {
        types.entry(&pod.process_type).or_default().push(pod);
    }
    types.retain(|process_type, pods| is_calm(app, release, process_type, pods, now));
    types
}

fn is_calm(
    app: &App,
    release: &Release,
    process_type: &ProcessType,
    pods: &[&Pod],
    now: DateTime<Utc>,
) -> bool {
    let wanted = app.wanted(release);
    let Some(want) = wanted.get(process_type) else {
        return false;
    };
    let settled = now - Duration::seconds(SETTLED_SECS);
    let slots: BTreeSet<u32> = pods.iter().map(|pod| pod.ordinal).collect();
    let is_at_rest =
        |pod: &&Pod| pod.intent == PodIntent::Wanted && pod.is_up() && pod.created_at <= settled;
    let of_release = release.types.get(process_type);
    slots.len() == pods.len()
        && u32::try_from(slots.len()) == Ok(want.quantity)
        && pods.iter().all(is_at_rest)
        && of_release.is_some_and(|it| it.volumes.is_empty())
        && pods[0].size == want.size
        && app.placement(pods[0]).max_unavailable != Some(0)
}

fn required(app: &App, pod: &Pod) -> Vec<Expression> {
    app.placement(pod).required().collect()
}

/// True if the machine is not what the pod's placement requires.
fn breaks_rule(
    snapshot: &Snapshot,
    app: &App,
    pod: &Pod,
    node: &NodeName,
    required: &[Expression],
) -> bool {
    let node = snapshot.nodes.get(node);
    node.is_some_and(|node| filter::facts(node, &app.placement(pod), required).is_some())
}

/// Compares the pod's machine with all others, as if the pod had none.
fn look(
    snapshot: &Snapshot,
    cluster: &mut Cluster,
    names: &Names,
    candidate: &Candidate<'_>,
) -> Option<Move> {
    let Candidate { app, pod, node } = *candidate;
    let here = cluster.index(node)?;
    // What drains or is lost is the planner's to empty.
    let ours = [NodeState::Ready, NodeState::Cordoned];
    if !ours.contains(&snapshot.nodes.get(node)?.state) {
        return None;
    }
    cluster.remove(app.id, pod);
    let found = better(snapshot, cluster, names, candidate);
    let to = found.map_or(here, |(to, _)| to);
    cluster.add(app.id, pod, to);
    let (to, why) = found?;
    Some(Move {
        app: app.id,
        pod: pod.id,
        name: pod.name.clone(),
        process_type: pod.process_type.clone(),
        from: node.clone(),
        to: cluster.machines[to as usize].name.clone(),
        why,
    })
}

fn better(
    snapshot: &Snapshot,
    cluster: &Cluster,
    names: &Names,
    candidate: &Candidate<'_>,
) -> Option<(u32, Gain)> {
    let Candidate { app, pod, node } = *candidate;
    let here = cluster.index(node)?;
    let class = Class::of(app, pod);
    let eligible = Eligible::new(cluster, &class.placement, None);
    let rules = Rules::new(&class, cluster, &eligible.machines, &snapshot.apps, names);
    let seats = Seats::new(cluster, &class, rules, &eligible, 1);
    let with_pod = |score: &Score| {
        let mut room = cluster.rooms[score.machine as usize];
        room.take_again(class.need());
        room.load_permille
    };
    let scores = seats.scores(cluster);
    let rank = |score: &Score| {
        let Score {
            must_spread,
            spread,
            avoided,
            unmet,
            ..
        } = *score;
        (
            must_spread,
            spread,
            avoided,
            unmet,
            with_pod(score),
            score.machine,
        )
    };
    let others = scores
        .iter()
        .filter(|(score, free)| *free && score.machine != here);
    let best = others
        .map(|(score, _)| score)
        .min_by_key(|score| rank(score))?;
    if breaks_rule(snapshot, app, pod, node, &required(app, pod)) {
        return Some((best.machine, Gain::Rule));
    }
    let (now, _) = scores.iter().find(|(score, _)| score.machine == here)?;
    if best.avoided > now.avoided || best.unmet > now.unmet {
        return None;
    }
    let (hard, soft) = (
        best.must_spread.cmp(&now.must_spread),
        best.spread.cmp(&now.spread),
    );
    if hard.is_gt() || soft.is_gt() {
        return None;
    }
    if hard.is_lt() || soft.is_lt() {
        return Some((best.machine, Gain::Spread));
    }
    let is_even = snapshot.policy.strategy == Strategy::Spread;
    let gap = with_pod(now).saturating_sub(with_pod(best));
    (is_even && gap >= LOAD_GAP_PERMILLE).then_some((best.machine, Gain::Load))
}
