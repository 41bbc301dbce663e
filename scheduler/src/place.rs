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

use fairway_api::{
    ids::{AppId, PodId},
    names::NodeName,
    placement::{Expression, Placement, Priority},
    sizes::Resources,
};

use self::{
    class::{Class, Names, Rules},
    cluster::{Cluster, Index},
    reasons::Reasons,
    seats::{Eligible, Seats},
};
use crate::{
    action::{Action, MoveReason, Step},
    drain, filter,
    pass::Pass,
    snapshot::{App, Node, Pod, PodIntent},
    volumes::{self, Needs},
};

pub(crate) mod cluster;

pub(crate) mod class;
pub(crate) mod seats;

mod preempt;
mod reasons;

/// Which pods are bound to each machine, and whose they are.
pub(crate) type Bound = BTreeMap<NodeName, BTreeMap<PodId, AppId>>;

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
        pass: &mut Pass<'_>,
        of_apps: &BTreeSet<AppId>,
        steps: &mut Vec<Step>,
        bound: &mut Bound,
    ) {
        let classes = waiting(apps, of_apps);
        if classes.is_empty() {
            return;
        }
        let cluster = self
            .cluster
            .get_or_insert_with(|| Cluster::new(apps, pass.nodes, pass.policy));
        let mut binding = Binding {
            cluster,
            apps,
            pass,
            steps,
            bound,
            names: Names::default(),
            full: HashMap::new(),
            claims: vec![],
            lowest: None,
        };
        for (class, pods) in classes {
            if binding.has_volumes(&class, &pods) {
                for pod in pods {
                    binding.with_volumes(&class, pod);
                }
                continue;
            }
            let eligible = self
                .eligible
                .entry(Arc::clone(&class.placement))
                .or_insert_with(|| {
                    Arc::new(Eligible::new(binding.cluster, &class.placement, None))
                });
            binding.class(&class, pods, eligible);
        }
        binding.end();
    }
}

/// How many pods of higher priority make room, or keep their claim to it, in one round: each looks
/// at every pod of the cluster. The others do so in the next.
const CLAIMS_MAX: usize = 16;

/// One round of binding.
struct Binding<'a, 'p> {
    cluster: &'a mut Cluster,
    apps: &'a mut BTreeMap<AppId, App>,
    pass: &'a mut Pass<'p>,
    steps: &'a mut Vec<Step>,
    bound: &'a mut Bound,
    names: Names,
    /// Nothing is given back while pods are bound: what found no room finds none later.
    full: HashMap<(Arc<Placement>, Resources), Arc<str>>,
    /// Room that others leave for a pod of higher priority; until they have left, no other pod
    /// gets it.
    claims: Vec<(Index, Resources)>,
    lowest: Option<Priority>,
}

impl Binding<'_, '_> {
    fn has_volumes(&self, class: &Class, pods: &[PodId]) -> bool {
        let app = self
            .apps
            .get(&class.app)
            .filter(|app| !app.volumes.is_empty());
        app.zip(pods.first()).is_some_and(|(app, pod)| {
            let pod = app.pods.get(pod);
            pod.is_some_and(|pod| app.volumes_of(pod).next().is_some())
        })
    }

    /// One by one: the first may be where the others have to follow, or hold what they need.
    fn with_volumes(&mut self, class: &Class, id: PodId) {
        let Some(app) = self.apps.get(&class.app) else {
            return;
        };
        let Some(pod) = app.pods.get(&id) else { return };
        if let Some(why) = volumes::hindrance(app, pod, self.pass) {
            return self.unplaced(class.app, id, &why);
        }
        let mut needs = Needs::of(app, pod);
        let cluster = &*self.cluster;
        let index = |node: &NodeName| cluster.index(node);
        needs.count(self.apps.values(), index, cluster.machines.len());
        let eligible = Eligible::new(cluster, &class.placement, Some(&needs));
        // What such a pod finds full says nothing of others.
        let full = std::mem::take(&mut self.full);
        self.class(class, vec![id], &eligible);
        self.full = full;
    }

    fn class(&mut self, class: &Class, pods: Vec<PodId>, eligible: &Eligible) {
        let shape = (Arc::clone(&class.placement), class.need());
        if let Some(why) = self.full.get(&shape).map(Arc::clone) {
            for pod in pods {
                self.unplaced(class.app, pod, &why);
            }
            return;
        }
        let (cluster, among) = (&*self.cluster, &eligible.machines);
        let rules = Rules::new(class, cluster, among, self.apps, &self.names);
        let mut seats = Seats::new(cluster, class, rules, eligible, pods.len());
        let mut why: Option<Arc<str>> = None;
        for pod in pods {
            let seat = match why {
                None => seats.take(self.cluster),
                Some(_) => None,
            };
            if let Some(seat) = seat {
                self.bind(class.app, pod, seat.machine);
                seats.placed(self.cluster, seat);
                continue;
            }
            let why = why.get_or_insert_with(|| explain(&seats.reasons(self.cluster)));
            self.unplaced(class.app, pod, why);
            self.make_room(class, pod, &seats);
        }
        let plain = seats.is_plain() && class.placement.priority <= self.lowest();
        if let (Some(why), true) = (why, plain) {
            self.full.insert(shape, why);
        }
    }

    fn bind(&mut self, app: AppId, pod: PodId, machine: Index) {
        let node = self.cluster.machines[machine as usize].name.clone();
        let on_node = self.bound.entry(node.clone()).or_default();
        on_node.insert(pod, app);
        self.act(app, Action::Bind { pod, node });
        if let Some(pod) = self.apps.get(&app).and_then(|app| app.pods.get(&pod)) {
            self.cluster.add(app, pod, machine);
        }
    }

    /// Takes pods of lower priority out of service for one of this class, or waits for those that
    /// leave already.
    fn make_room(&mut self, class: &Class, for_pod: PodId, seats: &Seats<'_>) {
        let priority = class.placement.priority;
        if priority <= self.lowest() || self.claims.len() >= CLAIMS_MAX {
            return;
        }
        let (cluster, need) = (&*self.cluster, class.need());
        let among = seats.without_room(cluster);
        let way = preempt::find(self.apps, self.bound, cluster, among, need, priority);
        let Some(way) = way else { return };
        let by = MoveReason::Preempted {
            app: class.app,
            pod: for_pod,
        };
        for (app, pod) in way.victims {
            let of = self.apps.get(&app);
            let Some((of, victim)) = of.and_then(|of| Some((of, of.pods.get(&pod)?))) else {
                continue;
            };
            self.pass.tell_move(of, victim, by.clone());
            drain::retire(victim, self.pass);
            for action in self.pass.take_actions() {
                self.act(app, action);
            }
        }
        self.cluster.rooms[way.machine as usize].take_again(need);
        self.claims.push((way.machine, need));
    }

    fn lowest(&mut self) -> Priority {
        let apps = &*self.apps;
        *self.lowest.get_or_insert_with(|| preempt::lowest(apps))
    }

    fn unplaced(&mut self, app: AppId, pod: PodId, why: &str) {
        let known = self.apps.get(&app).and_then(|app| app.pods.get(&pod));
        if known.and_then(|pod| pod.unplaced.as_deref()) != Some(why) {
            let why = why.to_owned();
            self.act(app, Action::Unplaced { pod, why });
        }
    }

    fn act(&mut self, app: AppId, action: Action) {
        if let Some(app) = self.apps.get_mut(&app) {
            app.apply(&action, self.pass.now);
            self.steps.push(Step {
                app: app.id,
                action,
            });
        }
    }

    /// Claims are worked out again next time.
    fn end(self) {
        for (machine, need) in self.claims {
            self.cluster.rooms[machine as usize].give_back(need);
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

/// Why no machine of the cluster could run a pod that needs so much, all containers together, even
/// if nothing else ran: one line per machine or reason. `None` if one could, or if nothing is known of the machines yet.
pub fn never_fits(
    nodes: &BTreeMap<NodeName, Node>,
    placement: &Placement,
    need: Resources,
) -> Option<String> {
    let required: Vec<Expression> = placement.required().collect();
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
