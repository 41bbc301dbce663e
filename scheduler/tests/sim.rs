//! A seeded simulation: the real planner against machines, routers and people that do what real
//! ones do. Machines obey and report late, are cut off, die, come back, are drained and run out of disk; processes
//! crash or never get ready, routers fall silent, reports of both are lost, doubled and reordered, jobs
//! run by schedule and by hand, the clock jumps, deployments of every strategy overlap with scaling and restarts and are paused, aborted
//! and promoted, canaries do well and badly, and the controller is restarted between any two steps.
//! Invariants are checked after each step; a failure prints its seed, and `FAIRWAY_SIM_SEED=n` plays
//! that one again, `FAIRWAY_SIM_SEEDS=n` more of them.

mod agents;
mod edges;
mod runs;
mod served;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    deployments::{CanaryLimits, CanaryStep, Share, Strategy, WishKind},
    ids::{AppId, DeploymentId, PodId},
    names::NodeName,
};
use fairway_scheduler::{
    action::{Action, Step},
    drain::DRAIN_DEADLINE_SECS,
    rebalance,
    rollout::UNPLACED_PATIENCE_SECS,
    snapshot::{App, DeploymentState, NodeState, Pod, PodIntent, PodKind, Snapshot},
};

use self::{
    agents::{Agent, Fate, Orders},
    edges::Edge,
    runs::Runs,
};
use crate::world::{TypeOf, World, routed};

/// Seeds played in every test run; more come by the environment.
const SEEDS: u64 = 2_000;
/// Steps of a run in which things go wrong; then everything gets well and must come to rest.
const STEPS: u32 = 120;
/// The most steps from there to rest: all deadlines one after the other.
const STEPS_TO_REST_MAX: u32 = 4_000;
/// The longest step, in seconds: such as a laptop that slept, or nothing to do.
const STEP_SECS_MAX: u64 = 12;
/// The most states that one deployment may go through, pauses apart: the steps of a canary, and one
/// for each pod of a rolling one, there and back.
const STATES_MAX: u32 = 64;

#[test]
fn every_seed_keeps_the_invariants() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match (number("FAIRWAY_SIM_SEED"), number("FAIRWAY_SIM_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    };
    // Each core plays its share.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for core in 0..cores {
            let share = seeds.clone().skip(core).step_by(cores);
            scope.spawn(move || share.for_each(play));
        }
    });
}

fn play(seed: u64) {
    let played = std::panic::catch_unwind(|| Sim::new(seed, false).play());
    if played.is_err() {
        // Once more with its story, which costs too much to keep it every time.
        let again = std::panic::catch_unwind(|| Sim::new(seed, true).play());
        assert!(again.is_err(), "seed {seed} does not play the same twice");
        panic!("FAIRWAY_SIM_SEED={seed} breaks an invariant, see above");
    }
}

/// Random numbers of a seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

struct Sim {
    dice: Dice,
    world: World,
    apps: Vec<AppId>,
    agents: BTreeMap<String, Agent>,
    edges: BTreeMap<String, Edge>,
    /// What was published last for each machine.
    orders: BTreeMap<String, Orders>,
    runs: Runs,
    /// A machine that died for good.
    dead: Option<NodeName>,
    /// How many states each deployment has gone through.
    states: BTreeMap<DeploymentId, u32>,
    /// When each pod was retired.
    retired: BTreeMap<PodId, DateTime<Utc>>,
    /// What was done, for whoever looks for the cause of a failure.
    story: Vec<String>,
    tells: bool,
}

/// How many lines of its story a failed run prints.
const STORY_LINES: usize = 60;

impl Drop for Sim {
    #[expect(clippy::print_stderr, reason = "a failed test shows what led to it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = self.story.len().saturating_sub(STORY_LINES);
            eprintln!("{}", self.story[told..].join("\n"));
        }
    }
}

impl Sim {
    fn new(seed: u64, tells: bool) -> Self {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let apps = (0..=dice.roll(2))
            .map(|n| world.add_app(&format!("app{n}")))
            .collect();
        world.prioritise(&mut dice);
        let mut agents = BTreeMap::new();
        for n in 0..=dice.roll(3) {
            // Some machines are too small for the surge of a deployment.
            let (name, zone) = (format!("n{n}"), format!("zone=z{}", n % 2));
            world.set_node(&name, 600 + dice.roll(4) * 1000, 4000);
            let taints = ["special=yes:no-schedule"];
            let taints = &taints[..usize::from(n > 0 && dice.chance(15))];
            world.set_facts(&name, &[&zone], taints);
            agents.insert(format!("n{n}"), Agent::default());
        }
        let edges = (0..=dice.roll(2))
            .map(|n| (format!("r{n}"), Edge::default()))
            .collect();
        let (states, retired, story) = (BTreeMap::new(), BTreeMap::new(), vec![]);
        Self {
            dice,
            world,
            apps,
            agents,
            edges,
            orders: BTreeMap::new(),
            runs: Runs::default(),
            dead: None,
            states,
            retired,
            story,
            tells,
        }
    }

    fn play(mut self) {
        for _ in 0..STEPS {
            self.people();
            self.accidents();
            self.step(Fate::any);
        }
        self.agents.values_mut().for_each(Agent::recover);
        runs::suspend(&mut self.world, &self.apps);
        for &app in &self.apps {
            for open in &mut self.world.app(app).deployments {
                open.wish = None;
            }
        }
        if self.agents.len() > 1 && self.dice.chance(40) {
            // One machine of several is no mass failure: its pods have to be replaced.
            let (name, agent) = self
                .agents
                .first_entry()
                .map(|it| it.remove_entry())
                .unwrap();
            let mut agent = agent;
            agent.die(self.world.now);
            self.dead = Some(name.parse().unwrap());
            self.agents.insert(name, agent);
        }
        for edge in self.edges.values_mut() {
            edge.wake_up();
        }
        for _ in 0..STEPS_TO_REST_MAX {
            let moved = self.step(|_| Fate::Ready);
            if !moved && self.is_at_rest() {
                return self.check_rest();
            }
        }
        panic!(
            "no rest after {STEPS_TO_REST_MAX} steps: {:#?}",
            self.world.snapshot.apps
        );
    }

    /// Somebody wants something.
    fn people(&mut self) {
        let app = self.apps[usize::try_from(self.dice.roll(self.apps.len() as u64)).unwrap()];
        match self.dice.roll(30) {
            0..=2 => {
                let types = self.some_types();
                let from_push = self.dice.chance(60);
                let strategy = self.some_strategy();
                let release = self.world.deploy_by(app, &types, from_push, strategy);
                if self.dice.chance(60) {
                    runs::put_on_schedule(&mut self.world, app, release, &mut self.dice);
                }
            }
            3..=4 => {
                let name = ["web", "worker"][usize::from(self.dice.chance(40))];
                let size = ["standard-1x", "nano"][usize::from(self.dice.chance(20))];
                let quantity = u32::try_from(self.dice.roll(4)).unwrap();
                self.world.scale(app, name, quantity, size);
            }
            5 => self.restart_one(app),
            6 => {
                // The controller restarts: it knows what is in the database, and nobody's reports.
                self.world.restart_controller();
            }
            7..=9 => {
                let kinds = [
                    WishKind::Pause,
                    WishKind::Resume,
                    WishKind::Promote,
                    WishKind::Abort,
                ];
                let kind = kinds[usize::try_from(self.dice.roll(4)).unwrap()];
                self.world.wish(app, kind);
            }
            10..=11 => runs::people(&mut self.world, app, &mut self.dice),
            12..=15 => {
                for it in rebalance::propose(&self.world.snapshot, self.world.now) {
                    self.world.restart_at(it.app, it.pod, &it.to);
                }
            }
            _ => {}
        }
    }

    /// What nobody wants: machines die and come back, links are cut, the clock jumps.
    fn accidents(&mut self) {
        for agent in self.agents.values_mut() {
            agent.suffer(self.world.now, &mut self.dice);
        }
        if self.dice.chance(1) {
            let jump = Duration::seconds(i64::try_from(self.dice.roll(3600)).unwrap());
            self.world.now += jump;
        }
    }

    fn some_strategy(&mut self) -> Strategy {
        let bake_secs = u32::try_from(self.dice.roll(2) * self.dice.roll(200)).unwrap();
        match self.dice.roll(4) {
            0 => Strategy::AllAtOnce { bake_secs },
            1 => {
                let counts = [
                    Share::Count(0),
                    Share::Count(1),
                    Share::Count(2),
                    Share::Percent(50),
                ];
                let mut some = || counts[usize::try_from(self.dice.roll(4)).unwrap()];
                Strategy::Rolling {
                    surge: some(),
                    unavailable: some(),
                }
            }
            _ => {
                let steps = (1..=self.dice.roll(3) + 1).map(|n| CanaryStep {
                    percent: u8::try_from(n * 20).unwrap(),
                    secs: 10 + u32::try_from(self.dice.roll(60)).unwrap(),
                });
                Strategy::Canary {
                    steps: steps.collect(),
                    limits: CanaryLimits::default(),
                    bake_secs,
                }
            }
        }
    }

    fn some_types(&mut self) -> Vec<TypeOf> {
        let mut types = vec![TypeOf {
            name: "web".into(),
            quantity: 1,
        }];
        if self.dice.chance(50) {
            let quantity = u32::try_from(self.dice.roll(3)).unwrap();
            types.push(TypeOf {
                name: "worker".into(),
                quantity,
            });
        }
        if self.dice.chance(30) {
            types.push(TypeOf {
                name: "release".into(),
                quantity: 0,
            });
        }
        types
    }

    fn restart_one(&mut self, app: AppId) {
        let app_now = &self.world.snapshot.apps[&app];
        let serving = app_now.pods.values().find(|pod| {
            pod.kind == PodKind::Service
                && pod.intent == PodIntent::Wanted
                && Some(pod.release) == app_now.current
        });
        if let Some(id) = serving.map(|pod| pod.id) {
            self.world.restart(app, id);
        }
    }

    /// Time passes, everybody acts a bit, the planner plans. True if it did something.
    fn step(&mut self, fate: fn(&mut Dice) -> Fate) -> bool {
        self.world.now +=
            Duration::milliseconds(i64::try_from(self.dice.roll(STEP_SECS_MAX * 1000)).unwrap());
        for (name, agent) in &mut self.agents {
            let orders = self.orders.entry(name.clone()).or_default();
            agent.step(name, &mut self.world, (orders, &mut self.dice), fate);
        }
        for (name, edge) in &mut self.edges {
            edge.step(name, &mut self.world, &mut self.dice);
        }
        let before = self.world.snapshot.clone();
        let steps = self.world.plan();
        for name in self.agents.keys() {
            let orders = self.orders.entry(name.clone()).or_default();
            orders.publish(name, &self.world);
        }
        self.tell(&steps);
        self.check(&before, &steps);
        !steps.is_empty()
    }

    fn tell(&mut self, steps: &[Step]) {
        if steps.is_empty() || !self.tells {
            return;
        }
        let lines = steps
            .iter()
            .map(|step| self.world.render(&BTreeMap::new(), step));
        let mut lines: Vec<String> = lines.map(|line| format!("  {line}")).collect();
        for app in self.world.snapshot.apps.values() {
            let pods = app.pods.values().map(|pod| {
                let up = if pod.is_up() { "+" } else { "" };
                format!("{}{up}", self.world.label(app.id, pod.id))
            });
            lines.push(format!(
                "{}: {}",
                app.name,
                pods.collect::<Vec<_>>().join(" ")
            ));
        }
        self.story.push(format!("{}", self.world.now));
        self.story.extend(lines);
    }

    /// What must hold after every step.
    fn check(&mut self, before: &Snapshot, steps: &[Step]) {
        for step in steps {
            self.check_step(before, step);
        }
        self.check_releases_per_table();
        self.check_capacity();
        self.runs.check(&self.world, steps);
        served::check(before, &self.world, steps);
        let now = self.world.now;
        for app in self.world.snapshot.apps.values() {
            let active = app.deployments.iter().filter(|open| open.state.is_active());
            let mut active = active.peekable();
            for deployment in active.by_ref().take(1) {
                let in_time = deployment.deadline_at.is_some_and(|at| at > now);
                assert!(in_time, "{deployment:?} is over its time");
            }
            assert!(active.next().is_none(), "two active ones of {}", app.name);
        }
    }

    /// The order rule: nothing is stopped while a router that lives may send requests to it.
    fn check_step(&mut self, before: &Snapshot, step: &Step) {
        let now = self.world.now;
        match &step.action {
            Action::Retire { pod, .. } => drop(self.retired.insert(*pod, now)),
            Action::Switch {
                retire,
                release,
                deployment,
                to,
                ..
            } => {
                self.retired.extend(retire.iter().map(|pod| (*pod, now)));
                if !matches!(to, DeploymentState::Reverted { .. }) {
                    self.check_all_up(step.app, *release, *deployment);
                }
            }
            Action::Advance { deployment, to, .. } => {
                let states = self.states.entry(*deployment).or_default();
                // Whoever is paused again and again has themselves to blame.
                *states += u32::from(!matches!(to, DeploymentState::Paused { .. }));
                let pauses = u32::from(to.is_active()) * STEPS;
                assert!(
                    *states <= STATES_MAX + pauses,
                    "{to:?} goes round in circles"
                );
            }
            Action::Stop { pod } => {
                let retired = self.retired.get(pod).copied().unwrap_or(now);
                let late = now >= retired + Duration::seconds(DRAIN_DEADLINE_SECS);
                for (name, edge) in &self.edges {
                    let used = edge.uses(*pod) && edge.is_live(now);
                    assert!(!used || late, "{pod:?} is stopped and {name} still uses it");
                }
            }
            Action::Remove { pod } => {
                let bound = before.apps[&step.app]
                    .pods
                    .get(pod)
                    .and_then(|it| it.node.clone());
                if let Some(node) = bound {
                    let runs = self.agents[node.as_str()].runs(*pod);
                    assert!(!runs, "{pod:?} is forgotten and still runs");
                }
            }
            Action::Bind { node, .. } => {
                let node = &before.nodes[node];
                assert!(node.takes_pods(), "a pod for a machine that takes none");
            }
            Action::Create(_) | Action::Unplaced { .. } | Action::Job(_) => {}
        }
    }

    /// At the flip every wanted pod of the new release is up.
    fn check_all_up(
        &self,
        app: AppId,
        release: fairway_api::ids::ReleaseId,
        deployment: DeploymentId,
    ) {
        let app = &self.world.snapshot.apps[&app];
        for (process_type, want) in app.wanted(&app.releases[&release]) {
            let up = app.pods.values().filter(|pod| {
                pod.release == release && pod.process_type == *process_type && pod.is_up()
            });
            let (up, wanted) = (up.count(), want.quantity as usize);
            assert!(
                up >= wanted,
                "{deployment:?} flips with {up} of {wanted} {process_type}"
            );
        }
    }

    /// Two releases share the requests only while a deployment means them to.
    fn check_releases_per_table(&self) {
        let mut releases: BTreeMap<AppId, BTreeSet<_>> = BTreeMap::new();
        for (app, pod) in routed(&self.world.snapshot) {
            releases.entry(app.id).or_default().insert(pod.release);
        }
        for (id, releases) in releases {
            let app = &self.world.snapshot.apps[&id];
            let active = app.active_deployment().map(|it| it.state.beneath_pause());
            let mixes = matches!(
                active,
                Some(
                    DeploymentState::Rolling { .. }
                        | DeploymentState::RollingBack { .. }
                        | DeploymentState::Canary { .. }
                        | DeploymentState::CanaryStarting { share: Some(_), .. }
                )
            );
            let most = 1 + usize::from(mixes);
            assert!(
                releases.len() <= most,
                "{releases:?} in one table in {active:?}"
            );
        }
    }

    fn check_capacity(&self) {
        for (name, node) in &self.world.snapshot.nodes {
            let pods = self
                .world
                .snapshot
                .apps
                .values()
                .flat_map(|app| app.pods.values());
            let promised: u64 = pods
                .filter(|pod| pod.node.as_ref() == Some(name))
                .filter_map(|pod| pod.resources())
                .map(|resources| resources.memory_bytes)
                .sum();
            let has = node.capacity.unwrap().memory_bytes;
            assert!(
                promised <= has * u64::from(self.world.snapshot.policy.memory_percent) / 100,
                "{name} promises more than it may"
            );
        }
    }

    fn is_at_rest(&self) -> bool {
        let snapshot = &self.world.snapshot;
        let pods = || snapshot.apps.values().flat_map(|app| app.pods.values());
        let settled = pods()
            .filter(|pod| pod.intent == PodIntent::Wanted || !self.is_on_dead(pod))
            .all(|pod| pod.intent == PodIntent::Wanted && (pod.is_up() || pod.unplaced.is_some()));
        let mut dead = self.dead.iter();
        settled
            && dead.all(|name| snapshot.nodes[name].state == NodeState::Lost)
            && snapshot.apps.values().all(|app| app.deployments.is_empty())
            && snapshot.apps.values().all(|app| app.jobs.runs.is_empty())
            && self
                .edges
                .values()
                .all(|edge| edge.is_idle(snapshot.routes_generation))
            && !self.is_waiting_for_room()
    }

    fn is_on_dead(&self, pod: &Pod) -> bool {
        self.dead.is_some() && pod.node == self.dead
    }

    /// True for a pod on the dead machine that need not be there any more; one that is wanted must
    /// have a newer pod in its slot, which waits for room.
    fn is_replaced(&self, app: &App, pod: &Pod) -> bool {
        let newer = |other: &&Pod| {
            other.id > pod.id
                && (&other.process_type, other.ordinal) == (&pod.process_type, pod.ordinal)
        };
        self.is_on_dead(pod)
            && (pod.intent != PodIntent::Wanted || app.pods.values().any(|it| newer(&it)))
    }

    /// A replacement that found no room makes the old pod give way after a while.
    fn is_waiting_for_room(&self) -> bool {
        let patience = Duration::seconds(UNPLACED_PATIENCE_SECS);
        let apps = self.world.snapshot.apps.values();
        apps.flat_map(|app| app.pods.values())
            .any(|pod| pod.unplaced.is_some() && self.world.now < pod.created_at + patience)
    }

    /// No pod waits though a machine that it may run on has room.
    fn check_no_starvation(&self) {
        let apps = || self.world.snapshot.apps.values();
        let pods = || apps().flat_map(|app| app.pods.values());
        let memory = |pod: &Pod| pod.resources().map_or(0, |it| it.memory_bytes);
        let waiting = pods().filter(|pod| pod.intent == PodIntent::Wanted && pod.node.is_none());
        for pod in waiting {
            for (name, node) in &self.world.snapshot.nodes {
                let takes = node.takes_pods() && node.facts.taints.is_empty();
                let has = node.capacity.unwrap().memory_bytes;
                let on = pods().filter(|it| it.node.as_ref() == Some(name));
                let promised: u64 = on.map(memory).sum();
                let percent = u64::from(self.world.snapshot.policy.memory_percent);
                let room = has >= memory(pod) && promised + memory(pod) <= has * percent / 100;
                assert!(
                    !(takes && room),
                    "{} waits though {name} has room",
                    pod.name
                );
            }
        }
    }

    /// At rest there is exactly what people asked for, and nothing else runs anywhere.
    fn check_rest(&self) {
        self.check_no_starvation();
        for app in self.world.snapshot.apps.values() {
            let mut wanted = BTreeMap::new();
            if let Some(release) = app.current_release() {
                for (process_type, want) in app.wanted(release) {
                    wanted.insert(process_type.to_string(), want.quantity as usize);
                }
            }
            wanted.retain(|_, quantity| *quantity > 0);
            let mut have: BTreeMap<String, usize> = BTreeMap::new();
            let services = app.pods.values().filter(|pod| pod.kind == PodKind::Service);
            for pod in services.filter(|pod| !self.is_replaced(app, pod)) {
                assert_eq!(
                    Some(pod.release),
                    app.current,
                    "a leftover of another release"
                );
                *have.entry(pod.process_type.to_string()).or_default() += 1;
            }
            assert_eq!(have, wanted, "{}", app.name);
            let left = app.pods.values().filter(|pod| self.is_on_dead(pod));
            for pod in left.filter(|pod| pod.kind == PodKind::Service) {
                assert!(
                    self.is_replaced(app, pod),
                    "{} is left on a dead machine",
                    pod.name
                );
            }
        }
        let known = |id| {
            self.world
                .snapshot
                .apps
                .values()
                .any(|app| app.pods.contains_key(&id))
        };
        for agent in self.agents.values() {
            assert!(agent.pods().all(known), "something runs that nobody wants");
        }
    }
}
