//! What to do so that the machine matches the plan: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fairway_api::{ids::PodId, names::ContainerName, pods::PodSpec};

use crate::container::Stamp;

/// A container of this instance as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) id: String,
    pub(crate) stamp: Stamp,
    pub(crate) state: State,
    /// Whose network it has, if not its own.
    pub(crate) sandbox: Option<String>,
    /// That one does not run any more.
    pub(crate) cut_off: bool,
}

/// What the engine says about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Made but never started: the agent or the engine went away between the two.
    Created,
    Running,
    Dead,
}

/// A pod that has a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    /// The containers that the task believes are running.
    pub(crate) running: Vec<String>,
    /// It was told that it is unwanted.
    pub(crate) retiring: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begin a pod that has no container.
    Run(Arc<PodSpec>),
    /// Take up a pod of which there are containers: one of each name at most.
    Adopt(Arc<PodSpec>, Vec<Observed>),
    /// Tell a pod that the plan does not name it any more.
    Retire(PodId),
    /// A pod's container is not as its task believes: it should look.
    Look(PodId, String),
    /// Remove a container that no pod can take up, once its log is delivered.
    Bury(Observed),
}

/// Compares. `wanted` is `None` before any plan is known, when nothing may be stopped; `seen` is
/// `None` when only the plan changed.
pub(crate) fn diff(
    wanted: Option<&[Arc<PodSpec>]>,
    known: &BTreeMap<PodId, Known>,
    seen: Option<&[Observed]>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let Some(wanted) = wanted else { return steps };
    let wanted: BTreeMap<PodId, &Arc<PodSpec>> = wanted.iter().map(|s| (s.id, s)).collect();
    let latest = latest(seen.unwrap_or_default());

    for (&id, pod) in known {
        if !wanted.contains_key(&id) && !pod.retiring {
            steps.push(Step::Retire(id));
        }
    }
    for (&id, &spec) in &wanted {
        if !known.contains_key(&id) {
            steps.push(match latest.get(&id) {
                Some(containers) => Step::Adopt(spec.clone(), cloned(containers)),
                None => Step::Run(spec.clone()),
            });
        }
    }
    let Some(seen) = seen else { return steps };
    let mut stopped = BTreeSet::new();
    for container in seen.iter().filter(|c| !known.contains_key(&c.stamp.pod)) {
        let pod = container.stamp.pod;
        let latest = latest.get(&pod);
        let is_latest = latest
            .and_then(|latest| latest.get(&container.stamp.container))
            .is_some_and(|latest| latest.id == container.id);
        match (&container.stamp.spec, latest) {
            _ if is_latest && wanted.contains_key(&pod) => {}
            // It is stopped by its own policy, as a pod that is adopted and at once unwanted; all
            // its containers together, when the first of them is come to.
            (Some(spec), Some(latest)) if is_latest => {
                if stopped.insert(pod) {
                    let spec = Arc::new((**spec).clone());
                    steps.push(Step::Adopt(spec, cloned(latest)));
                    steps.push(Step::Retire(pod));
                }
            }
            _ => steps.push(Step::Bury(container.clone())),
        }
    }
    let running: BTreeSet<&str> = seen
        .iter()
        .filter(|c| c.state == State::Running && !c.cut_off)
        .map(|c| c.id.as_str())
        .collect();
    for (&id, pod) in known {
        let believed = pod.running.iter();
        let gone = believed.filter(|container| !running.contains(container.as_str()));
        steps.extend(gone.map(|container| Step::Look(id, container.clone())));
    }
    steps
}

/// One container of each name.
type Latest<'a> = BTreeMap<ContainerName, &'a Observed>;

/// The containers of each pod's latest starts, by name. One that was never started is no pod's.
fn latest(seen: &[Observed]) -> BTreeMap<PodId, Latest<'_>> {
    let mut pods: BTreeMap<PodId, Latest<'_>> = BTreeMap::new();
    for container in seen.iter().filter(|c| c.state != State::Created) {
        let latest = pods.entry(container.stamp.pod).or_default();
        let name = container.stamp.container.clone();
        let best = latest.entry(name).or_insert(container);
        let rank = |c: &Observed| (c.state == State::Running, c.stamp.run);
        if rank(container) > rank(best) {
            *best = container;
        }
    }
    pods
}

fn cloned(latest: &Latest<'_>) -> Vec<Observed> {
    latest.values().map(|&it| it.clone()).collect()
}

#[cfg(test)]
mod tests;
