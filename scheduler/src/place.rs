//! Binds pods to machines: filter, then the best score. A pod that fits nowhere keeps one reason
//! per machine.
//!
//! ```text
//! waiting pods ──> classes of equal needs ──> machines filtered once ──> heaps ──> one by one
//!   (by priority,       (class)                  (filter, seats)         (score)
//!    then by age)
//! ```
//!
//! A binding never changes; a pod that has to move is replaced by a new one ([`crate::slots`]).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, PodId},
    names::{NodeName, SizeName},
    placement::{Expression, Placement},
};

use self::{
    class::{Class, Names, Rules},
    cluster::Cluster,
    reasons::Reasons,
    seats::{Eligible, Seats},
};
use crate::{
    action::{Action, Step},
    filter,
    policy::Policy,
    snapshot::{App, Node, Pod, PodIntent, resources},
};

pub(crate) mod cluster;

mod class;
mod reasons;
mod seats;

/// Which pods are bound to each machine, and whose they are.
pub(crate) type Bound = BTreeMap<NodeName, BTreeMap<PodId, AppId>>;

/// What placing looks at besides the apps.
pub(crate) struct Surroundings<'a> {
    pub(crate) nodes: &'a BTreeMap<NodeName, Node>,
    pub(crate) policy: &'a Policy,
    pub(crate) now: DateTime<Utc>,
}

/// What is promised where: counted when it is first needed, and kept up to date from then on.
#[derive(Debug, Default)]
pub(crate) struct Places {
    cluster: Option<Cluster>,
    eligible: HashMap<Arc<Placement>, Arc<Eligible>>,
}

impl Places {
    /// A pod takes part of its machine from now on.
    pub(crate) fn promise(&mut self, app: AppId, pod: &Pod) {
        if let Some(cluster) = &mut self.cluster
            && let Some(index) = pod.node.as_ref().and_then(|node| cluster.index(node))
        {
            cluster.add(app, pod, index);
        }
    }

    /// A pod that held part of its machine does so no longer.
    pub(crate) fn take_back(&mut self, app: AppId, pod: &Pod) {
        if let Some(cluster) = &mut self.cluster {
            cluster.remove(app, pod);
        }
    }

    /// A machine came, went, or is another than it was.
    pub(crate) fn set_node(&mut self, name: &NodeName, node: Option<&Node>) {
        self.eligible.clear();
        let updated = match (&mut self.cluster, node) {
            (Some(cluster), Some(node)) => cluster.update(name, node),
            _ => false,
        };
        if !updated {
            self.forget();
        }
    }

    /// Everything is to be counted anew.
    pub(crate) fn forget(&mut self) {
        self.cluster = None;
        self.eligible.clear();
    }

    /// Binds every pod of these apps that waits for a machine: those of the highest priority
    /// first, then the class that waits longest.
    pub(crate) fn bind(
        &mut self,
        apps: &mut BTreeMap<AppId, App>,
        around: &Surroundings<'_>,
        of_apps: &BTreeSet<AppId>,
        steps: &mut Vec<Step>,
        bound: &mut Bound,
    ) {
        let now = around.now;
        let classes = waiting(apps, of_apps);
        if classes.is_empty() {
            return;
        }
        let cluster = self
            .cluster
            .get_or_insert_with(|| Cluster::new(apps, around.nodes, around.policy));
        let names = Names::default();
        // Nothing is given back while pods are bound: what found no room finds none later.
        let mut full: HashMap<(Arc<Placement>, SizeName), Arc<str>> = HashMap::new();
        for (class, pods) in classes {
            let eligible = self
                .eligible
                .entry(Arc::clone(&class.placement))
                .or_insert_with(|| Arc::new(Eligible::new(cluster, &class.placement)));
            let shape = (Arc::clone(&class.placement), class.size.clone());
            if let Some(why) = full.get(&shape) {
                for pod in pods {
                    unplaced(apps, class.app, pod, why, now, steps);
                }
                continue;
            }
            let rules = Rules::new(&class, cluster, &eligible.machines, apps, &names);
            let mut seats = Seats::new(cluster, &class, rules, eligible, pods.len());
            let mut why: Option<Arc<str>> = None;
            for pod in pods {
                let seat = match why {
                    None => seats.take(cluster),
                    Some(_) => None,
                };
                if let Some(seat) = seat {
                    let node = cluster.machines[seat.machine as usize].name.clone();
                    bound
                        .entry(node.clone())
                        .or_default()
                        .insert(pod, class.app);
                    act(apps, class.app, Action::Bind { pod, node }, now, steps);
                    if let Some(bound) = apps.get(&class.app).and_then(|app| app.pods.get(&pod)) {
                        cluster.add(class.app, bound, seat.machine);
                    }
                    seats.placed(cluster, seat);
                    continue;
                }
                let why = why.get_or_insert_with(|| explain(&seats.reasons(cluster)));
                unplaced(apps, class.app, pod, why, now, steps);
            }
            if let (Some(why), true) = (why, seats.is_plain()) {
                full.insert(shape, why);
            }
        }
    }
}

/// Pods without a machine by class, in the order in which they are placed.
fn waiting(apps: &BTreeMap<AppId, App>, of_apps: &BTreeSet<AppId>) -> Vec<(Class, Vec<PodId>)> {
    let mut classes: BTreeMap<Class, Vec<PodId>> = BTreeMap::new();
    for app in of_apps.iter().filter_map(|id| apps.get(id)) {
        for pod in app.pods.values().filter(|pod| waits(pod)) {
            classes.entry(Class::of(app, pod)).or_default().push(pod.id);
        }
    }
    let mut classes: Vec<_> = classes.into_iter().collect();
    classes.sort_by_key(|(class, pods)| (Reverse(class.placement.priority), pods.first().copied()));
    classes
}

fn explain(reasons: &Reasons<'_>) -> Arc<str> {
    let text = reasons.text();
    text.map_or("no machine has joined yet".into(), Into::into)
}

/// True for a pod that is to run and has no machine yet.
pub(crate) fn waits(pod: &Pod) -> bool {
    pod.node.is_none() && pod.intent == PodIntent::Wanted
}

fn unplaced(
    apps: &mut BTreeMap<AppId, App>,
    app: AppId,
    pod: PodId,
    why: &str,
    now: DateTime<Utc>,
    steps: &mut Vec<Step>,
) {
    let known = apps
        .get(&app)
        .and_then(|app| app.pods.get(&pod)?.unplaced.as_deref());
    if known != Some(why) {
        let why = why.to_owned();
        act(apps, app, Action::Unplaced { pod, why }, now, steps);
    }
}

fn act(
    apps: &mut BTreeMap<AppId, App>,
    app: AppId,
    action: Action,
    now: DateTime<Utc>,
    steps: &mut Vec<Step>,
) {
    if let Some(app) = apps.get_mut(&app) {
        app.apply(&action, now);
        steps.push(Step {
            app: app.id,
            action,
        });
    }
}

/// Why no machine of the cluster could run such a pod even if nothing else ran: one line per
/// machine or reason. `None` if one could, or if nothing is known of the machines yet.
pub fn never_fits(
    nodes: &BTreeMap<NodeName, Node>,
    placement: &Placement,
    size: &SizeName,
) -> Option<String> {
    let required: Vec<Expression> = placement.required().collect();
    let need = resources(size);
    let why = |node: &Node| {
        filter::facts(node, placement, &required).or_else(|| filter::size(node, need))
    };
    let mut known = nodes.values().filter(|node| node.capacity.is_some());
    if known.all(|node| why(node).is_some()) {
        let known = nodes.iter().filter(|(_, node)| node.capacity.is_some());
        let mut reasons = Reasons::default();
        for (name, node) in known {
            if let Some(why) = why(node) {
                reasons.add(name, why);
            }
        }
        return reasons.text();
    }
    None
}
