//! Room for a pod of higher priority at the cost of pods of strictly lower priority.
//!
//! Nothing is taken away from a pod that could have been placed otherwise, from one-off commands
//! (pods of jobs are made again), or from a process type that has as many pods missing already as
//! its disruption budget allows.
//! A pod for which others leave keeps its claim on the machine: it is worked out again in each
//! plan from who is leaving, so nothing has to be remembered.

use std::{cmp::Reverse, collections::BTreeMap};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, PodId},
    names::ProcessType,
    placement::Priority,
    sizes::Resources,
};

use super::{Bound, cluster::Cluster, cluster::Index};
use crate::snapshot::{App, Pod, PodIntent, PodKind};

/// A machine for a pod, and who goes for it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    /// Of the victims; the least important go.
    highest: Priority,
    /// The fewest go.
    count: usize,
    /// The youngest go: when the oldest of them was made.
    oldest: Reverse<Option<DateTime<Utc>>>,
    pub(crate) machine: Index,
    /// Empty when it is enough to wait for those who leave anyway.
    pub(crate) victims: Vec<(AppId, PodId)>,
}

/// The lowest priority that any pod may have; nothing is taken from anybody above it.
pub(crate) fn lowest(apps: &BTreeMap<AppId, App>) -> Priority {
    let of_app = |app: &App| {
        let said = app.placements.values();
        let types = app.releases.values().flat_map(|it| it.types.values());
        let said = said.map(|it| it.priority).min();
        let jobs = (!app.jobs.runs.is_empty()).then_some(Priority::Low);
        said.into_iter()
            .chain(jobs)
            .chain(types.map(|it| it.placement.priority))
            .min()
    };
    let all = apps.values().filter_map(of_app).min();
    all.unwrap_or_default()
}

/// The least harmful way to make room on one of these machines.
pub(crate) fn find(
    apps: &BTreeMap<AppId, App>,
    bound: &Bound,
    cluster: &Cluster,
    among: impl Iterator<Item = Index>,
    need: Resources,
    priority: Priority,
) -> Option<Way> {
    among
        .filter_map(|machine| way(apps, bound, cluster, machine, need, priority))
        .min()
}

fn way(
    apps: &BTreeMap<AppId, App>,
    bound: &Bound,
    cluster: &Cluster,
    machine: Index,
    need: Resources,
    priority: Priority,
) -> Option<Way> {
    let name = &cluster.machines[machine as usize].name;
    let mut room = cluster.rooms[machine as usize];
    let mut candidates: Vec<(Priority, Reverse<DateTime<Utc>>, &App, &Pod)> = vec![];
    for (pod, app) in bound.get(name)? {
        let Some((app, pod)) = apps.get(app).and_then(|it| Some((it, it.pods.get(pod)?))) else {
            continue;
        };
        let of = app.placement(pod).priority;
        if of >= priority || !pod.holds() {
            continue;
        }
        if pod.intent != PodIntent::Wanted {
            room.give_back(pod.need());
        } else if matches!(pod.kind, PodKind::Service | PodKind::Job) {
            candidates.push((of, Reverse(pod.created_at), app, pod));
        }
    }
    candidates.sort_by_key(|(of, made, _, pod)| (*of, *made, Reverse(pod.id)));
    let mut budgets = Budgets::default();
    let mut victims: Vec<(Priority, &App, &Pod)> = vec![];
    for (of, _, app, pod) in candidates {
        if room.fits(need) {
            break;
        }
        if budgets.allow(app, pod) {
            room.give_back(pod.need());
            victims.push((of, app, pod));
        }
    }
    if !room.fits(need) {
        return None;
    }
    // A small one may have been taken before a large one that is enough alone.
    for index in (0..victims.len()).rev() {
        let size = victims[index].2.need();
        let mut without = room;
        without.take_again(size);
        if without.fits(need) {
            room = without;
            victims.remove(index);
        }
    }
    let highest = victims.iter().map(|(of, _, _)| *of).max();
    Some(Way {
        highest: highest.unwrap_or(Priority::Low),
        count: victims.len(),
        oldest: Reverse(victims.iter().map(|(_, _, pod)| pod.created_at).min()),
        machine,
        victims: victims
            .iter()
            .map(|(_, app, pod)| (app.id, pod.id))
            .collect(),
    })
}

/// How many pods of each process type may still go missing.
#[derive(Default)]
struct Budgets<'a>(BTreeMap<(AppId, &'a ProcessType), u32>);

impl<'a> Budgets<'a> {
    /// True if the pod may go; it counts as gone from then on.
    fn allow(&mut self, app: &'a App, pod: &'a Pod) -> bool {
        // Nobody misses a pod that does not serve, and a job's comes again.
        if pod.kind == PodKind::Job || Some(pod.release) != app.current || !pod.is_up() {
            return true;
        }
        let left = self
            .0
            .entry((app.id, &pod.process_type))
            .or_insert_with(|| spare(app, &pod.process_type));
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }
}

/// How many pods of a type may go missing now.
fn spare(app: &App, process_type: &ProcessType) -> u32 {
    let Some(release) = app.current_release() else {
        return 0;
    };
    let quantity = app
        .wanted(release)
        .get(process_type)
        .map_or(0, |want| want.quantity);
    let serving = app.pods.values().filter(|pod| {
        pod.process_type == *process_type
            && pod.release == release.id
            && pod.intent == PodIntent::Wanted
            && pod.kind == PodKind::Service
            && pod.is_up()
    });
    let slots: std::collections::BTreeSet<u32> = serving.map(|pod| pod.ordinal).collect();
    let up = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    let of_release = release.types.get(process_type).map(|it| &it.placement);
    let placement = app.placements.get(process_type).or(of_release);
    let said = placement.and_then(|placement| placement.max_unavailable);
    let most = said.unwrap_or_else(|| (quantity / 4).max(1));
    most.saturating_sub(quantity.saturating_sub(up))
}
