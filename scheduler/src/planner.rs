//! Keeps everything known between two plans, and looks again only at the apps that something has
//! happened to.
//!
//! A plan made this way is the plan that would be made from the whole snapshot: a rule for one app
//! reads that app, the machines, the routers and the time, so an app for which none of these has
//! changed has nothing new to do. What an app waits for without being told (a time, a machine with
//! room, a router's acknowledgement) is kept in an index each. A property test holds the two ways
//! against each other.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, PodId},
    names::{NodeName, RouterName},
};

use crate::{
    action::{Action, Decision, Step},
    drain,
    failure::{self, MassFailure},
    jobs, one_off,
    pass::{Around, Pass},
    place::{self, Bound, Places},
    policy::Policy,
    rollout, slots,
    snapshot::{App, DeploymentState, Node, NodeState, Pod, PodIntent, Routers, Snapshot},
    volumes,
};

/// How often the rules run in one plan. Each round moves a deployment at least one state on and a
/// queue of deployments at least one on; what is left after that many rounds comes with the next
/// plan, so that no input can make planning endless.
const ROUNDS_MAX: usize = 64;

/// A rule adds to the pass what it wants done for one app.
type Rule = fn(&App, &mut Pass<'_>);

/// In this order, so that within one round a deployment's pods are made after it began.
const RULES: [Rule; 6] = [
    rollout::advance,
    slots::keep,
    volumes::hand_over,
    jobs::start,
    jobs::drive,
    one_off::end,
];

/// The snapshot, and what has changed in it since the last plan.
#[derive(Debug)]
pub struct Planner {
    snapshot: Snapshot,
    /// Something was heard of them.
    dirty: BTreeSet<AppId>,
    /// Machines whose state or capacity changed.
    changed_nodes: BTreeSet<NodeName>,
    /// Routers that counted as alive in the last plan.
    live_routers: BTreeSet<RouterName>,
    routers_changed: bool,
    waits: Waits,
    bound: Bound,
    places: Places,
    mass_failure: MassFailure,
    planned_at: Option<DateTime<Utc>>,
}

/// What apps wait for that nobody tells them.
#[derive(Debug, Default)]
struct Waits {
    /// A machine with room for a pod.
    room: BTreeSet<AppId>,
    /// Routers' acknowledgements and drained requests.
    routers: BTreeSet<AppId>,
    /// A time.
    at: BTreeMap<AppId, DateTime<Utc>>,
    by_time: BTreeSet<(DateTime<Utc>, AppId)>,
}

impl Planner {
    /// Begins with everything that is known; the first plan looks at all of it.
    pub fn new(snapshot: Snapshot) -> Self {
        let dirty = snapshot.apps.keys().copied().collect();
        let mut bound: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        let mut waits = Waits::default();
        for app in snapshot.apps.values() {
            waits.note(app);
            for pod in app.pods.values() {
                if let Some(node) = &pod.node {
                    bound
                        .entry(node.clone())
                        .or_default()
                        .insert(pod.id, app.id);
                }
            }
        }
        Self {
            snapshot,
            dirty,
            changed_nodes: BTreeSet::new(),
            live_routers: BTreeSet::new(),
            routers_changed: true,
            waits,
            bound,
            places: Places::default(),
            mass_failure: MassFailure::default(),
            planned_at: None,
        }
    }

    /// Everything as it is now: as told, and as the last plan left it.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The end of the planner.
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }

    /// Which pods are bound to a machine, and whose they are.
    pub fn pods_on(&self, node: &NodeName) -> impl Iterator<Item = (&App, &Pod)> {
        let bound = self.bound.get(node).into_iter().flatten();
        bound.filter_map(|(pod, app)| {
            let app = self.snapshot.apps.get(app)?;
            Some((app, app.pods.get(pod)?))
        })
    }

    /// The app of a pod that is bound to this machine.
    pub fn app_of(&self, node: &NodeName, pod: PodId) -> Option<AppId> {
        self.bound.get(node)?.get(&pod).copied()
    }

    /// Adds an app, or puts a newer version of it in the place of what was known.
    pub fn set_app(&mut self, app: App) {
        self.remove_app(app.id);
        self.dirty.insert(app.id);
        self.waits.note(&app);
        for pod in app.pods.values() {
            if let Some(node) = &pod.node {
                let pods = self.bound.entry(node.clone()).or_default();
                pods.insert(pod.id, app.id);
                if pod.holds() {
                    self.places.promise(app.id, pod);
                }
            }
        }
        self.snapshot.apps.insert(app.id, app);
    }

    /// Forgets an app.
    pub fn remove_app(&mut self, id: AppId) -> Option<App> {
        let app = self.snapshot.apps.remove(&id)?;
        for pod in app.pods.values() {
            unbind(&mut self.bound, &mut self.places, id, pod);
        }
        self.dirty.remove(&id);
        self.waits.forget(id);
        // Its pods may have left room that others wait for.
        Some(app)
    }

    /// Changes what was observed of a pod; its binding and its intent are not to be changed here.
    pub fn observe(&mut self, app: AppId, pod: PodId, observe: impl FnOnce(&mut Pod)) {
        let Some(pod) = self
            .snapshot
            .apps
            .get_mut(&app)
            .and_then(|app| app.pods.get_mut(&pod))
        else {
            return;
        };
        let held = pod.holds();
        observe(pod);
        match (held, pod.holds()) {
            (true, false) => self.places.take_back(app, pod),
            (false, true) => self.places.promise(app, pod),
            _ => {}
        }
        self.dirty.insert(app);
    }

    /// Adds a machine or changes what is known of it.
    pub fn set_node(&mut self, name: &NodeName, mut node: Node) {
        let before = self.snapshot.nodes.get(name);
        node.lost_at = before.and_then(|before| before.lost_at);
        if self.snapshot.nodes.get(name) != Some(&node) {
            self.places.set_node(name, Some(&node));
            self.snapshot.nodes.insert(name.clone(), node);
            self.changed_nodes.insert(name.clone());
        }
    }

    /// Forgets a machine.
    pub fn remove_node(&mut self, name: &NodeName) {
        if self.snapshot.nodes.remove(name).is_some() {
            self.places.set_node(name, None);
            self.changed_nodes.insert(name.clone());
        }
    }

    /// What routers reported.
    pub fn set_routers(&mut self, routers: Routers) {
        let said = |routers: &Routers| -> Vec<_> {
            let reports = routers.seen.iter();
            reports
                .map(|(name, it)| {
                    let said = (it.generation, it.draining.clone(), it.canaries.clone());
                    (name.clone(), said)
                })
                .collect()
        };
        self.routers_changed |= said(&self.snapshot.routers) != said(&routers);
        self.snapshot.routers = routers;
    }

    /// What the operator decides.
    pub fn set_policy(&mut self, policy: Policy) {
        if self.snapshot.policy != policy {
            self.snapshot.policy = policy;
            self.places.forget();
        }
    }

    /// The number of the route table that was published last.
    pub fn set_routes_generation(&mut self, generation: u64) {
        self.snapshot.routes_generation = generation;
    }

    /// Forgets deployments that have ended.
    pub fn forget_ended(&mut self, apps: &BTreeSet<AppId>) {
        for id in apps {
            if let Some(app) = self.snapshot.apps.get_mut(id) {
                app.deployments.retain(|it| !it.state.has_ended());
            }
        }
    }

    /// Decides everything that should be done now, and does it to the snapshot.
    ///
    /// `ids` gives a fresh id for each pod to make; from the same state, time and ids the plan is
    /// always the same.
    pub fn plan(&mut self, now: DateTime<Utc>, ids: &mut dyn FnMut() -> PodId) -> Decision {
        self.note_lost(now);
        let mut changed = self.due(now);
        let mut looked_at = BTreeSet::new();
        let mut steps = Vec::new();
        let Snapshot {
            apps,
            nodes,
            routers,
            routes_generation,
            policy,
        } = &mut self.snapshot;
        let held = &self.mass_failure.machines;
        let around = Around {
            nodes,
            routers,
            held,
            policy,
        };
        let mut removed = BTreeMap::new();
        let (bound, places) = (&mut self.bound, &mut self.places);
        let mut pass = Pass::new(now, &around, *routes_generation + 1, ids);
        for _ in 0..ROUNDS_MAX {
            let mut round: BTreeSet<AppId> = changed.union(&self.waits.room).copied().collect();
            let done_before = steps.len();
            // What is no more makes room first, so that no rule acts on a lack of it that has
            // ended.
            for id in &round {
                let Some(app) = apps.get_mut(id) else {
                    continue;
                };
                drain::stop(app, &mut pass);
                carry_out(app, &mut pass, bound, places, &mut steps, &mut removed);
                self.waits.set_time(*id, pass.take_wake());
            }
            places.bind(apps, &mut pass, &self.waits.room, &mut steps, bound);
            // Pods of others may have made room: their apps act in the same round, as they would
            // if all apps were looked at.
            round.extend(steps[done_before..].iter().map(|step| step.app));
            for id in &round {
                let Some(app) = apps.get_mut(id) else {
                    continue;
                };
                for rule in RULES {
                    rule(app, &mut pass);
                    carry_out(app, &mut pass, bound, places, &mut steps, &mut removed);
                }
                self.waits.advance_time(*id, pass.take_wake());
                self.waits.note(app);
            }
            looked_at.extend(round);
            changed = steps[done_before..].iter().map(|step| step.app).collect();
            if changed.is_empty() {
                break;
            }
        }
        *routes_generation += u64::from(pass.publishes());
        let moved = pass.take_moved();
        self.dirty = changed;
        Decision {
            steps,
            removed,
            moved,
            looked_at,
            wake_at: self.wake_at(now),
        }
    }

    /// When to plan again although nothing new was heard.
    fn wake_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.dirty.is_empty() {
            return Some(now);
        }
        let first = self.waits.by_time.first().map(|(at, _)| *at);
        first.into_iter().chain(self.mass_failure.until).min()
    }

    /// Machines that were lost together; their pods wait for them.
    pub fn mass_failure(&self) -> &MassFailure {
        &self.mass_failure
    }

    /// Notes since when machines are lost, and which of them the brake holds.
    fn note_lost(&mut self, now: DateTime<Utc>) {
        for node in self.snapshot.nodes.values_mut() {
            let lost = node.state == NodeState::Lost;
            node.lost_at = lost.then(|| node.lost_at.unwrap_or(now));
        }
        let failure = failure::held(&self.snapshot, now);
        let before = std::mem::replace(&mut self.mass_failure, failure);
        let (before, after) = (&before.machines, &self.mass_failure.machines);
        self.changed_nodes
            .extend(before.symmetric_difference(after).cloned());
    }

    /// The apps that something has happened to.
    fn due(&mut self, now: DateTime<Utc>) -> BTreeSet<AppId> {
        let mut due = std::mem::take(&mut self.dirty);
        let reached = self.waits.by_time.iter().take_while(|(at, _)| *at <= now);
        due.extend(reached.map(|(_, app)| *app));
        // A clock that was set back leaves times that nobody would wait for any more.
        if self
            .planned_at
            .replace(now)
            .is_some_and(|before| now < before)
        {
            due.extend(self.waits.at.keys().copied());
        }
        let live: BTreeSet<_> = self.snapshot.routers.live_names(now).cloned().collect();
        if std::mem::take(&mut self.routers_changed) || live != self.live_routers {
            due.extend(self.waits.routers.iter().copied());
            self.live_routers = live;
        }
        let changed_nodes = std::mem::take(&mut self.changed_nodes);
        if !changed_nodes.is_empty() {
            due.extend(self.apps_on(&changed_nodes));
        }
        due
    }

    /// The apps with pods on these machines, or on one that pods have to leave: where to may have
    /// changed.
    fn apps_on(&self, nodes: &BTreeSet<NodeName>) -> impl Iterator<Item = AppId> {
        let stays = |name: &NodeName| {
            let node = self.snapshot.nodes.get(name);
            node.is_some_and(|node| !node.is_left() && node.evicting().next().is_none())
        };
        let on = self
            .bound
            .iter()
            .filter(move |(name, _)| nodes.contains(*name) || !stays(name));
        on.flat_map(|(_, pods)| pods.values().copied())
    }
}

/// Does the actions of a rule to the app.
fn carry_out(
    app: &mut App,
    pass: &mut Pass<'_>,
    bound: &mut Bound,
    places: &mut Places,
    steps: &mut Vec<Step>,
    removed: &mut BTreeMap<PodId, Pod>,
) {
    for action in pass.take_actions() {
        if let Action::Remove { pod } = &action
            && let Some(pod) = app.pods.get(pod)
        {
            unbind(bound, places, app.id, pod);
            removed.insert(pod.id, pod.clone());
        }
        app.apply(&action, pass.now);
        steps.push(Step {
            app: app.id,
            action,
        });
    }
}

fn unbind(bound: &mut Bound, places: &mut Places, app: AppId, pod: &Pod) {
    let Some(node) = &pod.node else { return };
    if pod.holds() {
        places.take_back(app, pod);
    }
    if let Some(pods) = bound.get_mut(node) {
        pods.remove(&pod.id);
        if pods.is_empty() {
            bound.remove(node);
        }
    }
}

impl Waits {
    /// Notes what an app waits for besides a time.
    fn note(&mut self, app: &App) {
        let keep = |set: &mut BTreeSet<AppId>, waits: bool| {
            if waits {
                set.insert(app.id);
            } else {
                set.remove(&app.id);
            }
        };
        keep(&mut self.room, app.pods.values().any(place::waits));
        let retired = |pod: &Pod| matches!(pod.intent, PodIntent::Retired { .. });
        let asks_routers = app.canary().is_some()
            || app
                .active_deployment()
                .is_some_and(|it| matches!(it.state, DeploymentState::Switching { .. }));
        keep(
            &mut self.routers,
            asks_routers || app.pods.values().any(retired),
        );
    }

    fn set_time(&mut self, app: AppId, at: Option<DateTime<Utc>>) {
        if let Some(before) = self.at.remove(&app) {
            self.by_time.remove(&(before, app));
        }
        if let Some(at) = at {
            self.at.insert(app, at);
            self.by_time.insert((at, app));
        }
    }

    /// Adds a time that may come before the one that is noted.
    fn advance_time(&mut self, app: AppId, at: Option<DateTime<Utc>>) {
        let earliest = self.at.get(&app).copied().into_iter().chain(at).min();
        self.set_time(app, earliest);
    }

    fn forget(&mut self, app: AppId) {
        self.room.remove(&app);
        self.routers.remove(&app);
        self.set_time(app, None);
    }
}
