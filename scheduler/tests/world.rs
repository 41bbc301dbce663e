//! A world without machines: a snapshot that plans are applied to, and short names for what is in
//! it. Every plan made here is checked to be a fixpoint: planning again must add nothing.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    deployments::{Strategy, Wish, WishKind},
    ids::{AppId, DeploymentId, PodId, ReleaseId, VolumeId},
    names::{ProcessType, RouterName, SizeName},
    placement::Placement,
    pods::{CheckFailure, Exit, PodPhase, PodStatus},
    routes::CanaryTally,
    sizes::Resources,
};
use fairway_scheduler::{
    Planner,
    action::{Action, Step},
    jobs::{JobAction, Jobs},
    plan,
    policy::Policy,
    snapshot::{
        App, Deployment, DeploymentState, Facts, Node, NodeState, Pod, PodIntent, Release,
        ReleaseType, Router, Routers, Snapshot, Volume, Want,
    },
};

const MIB: u64 = 1024 * 1024;

pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) now: DateTime<Utc>,
    pub(crate) wake_at: Option<DateTime<Utc>>,
    /// The release of each deployment there ever was.
    deployments: BTreeMap<DeploymentId, ReleaseId>,
    /// What the last published route table names.
    pub(crate) table: Vec<PodId>,
    /// A planner that was never told what has not changed.
    planner: Option<Planner>,
    ids: u128,
    /// Pods have numbers of their own, so that scenarios can name them.
    pods: u128,
    /// Of the deployments that scenarios ask for.
    pub(crate) strategy: Strategy,
    /// Some apps go before others.
    pub(crate) has_priorities: bool,
    /// What releases that are made from now on mount.
    mounts: Vec<(ProcessType, VolumeId)>,
}

/// A process type of a release to deploy.
pub(crate) struct TypeOf {
    pub(crate) name: String,
    pub(crate) quantity: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = DateTime::UNIX_EPOCH + Duration::days(20_000);
        let routers = Routers {
            observing_since: now - Duration::hours(1),
            seen: BTreeMap::default(),
        };
        let (apps, nodes) = (BTreeMap::new(), BTreeMap::new());
        let snapshot = Snapshot {
            apps,
            nodes,
            routers,
            routes_generation: 0,
            policy: Policy::default(),
        };
        Self {
            snapshot,
            now,
            wake_at: None,
            deployments: BTreeMap::new(),
            table: vec![],
            planner: None,
            ids: 0,
            pods: 0,
            strategy: Strategy::default(),
            has_priorities: false,
            mounts: vec![],
        }
    }

    pub(crate) fn id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn pod_id(&mut self) -> PodId {
        self.pods += 1;
        PodId::from_u128(self.pods)
    }

    pub(crate) fn add_app(&mut self, name: &str) -> AppId {
        let id = AppId::from_u128(self.id());
        let app = App {
            id,
            name: name.parse().unwrap(),
            current: None,
            releases: BTreeMap::new(),
            formation: BTreeMap::new(),
            placements: BTreeMap::new(),
            deployments: vec![],
            pods: BTreeMap::new(),
            jobs: Jobs::default(),
            volumes: BTreeMap::new(),
        };
        self.snapshot.apps.insert(id, app);
        id
    }

    pub(crate) fn app(&mut self, id: AppId) -> &mut App {
        self.snapshot.apps.get_mut(&id).unwrap()
    }

    pub(crate) fn set_node(&mut self, name: &str, memory_mib: u64, cpu_millis: u32) {
        let capacity = Resources {
            memory_bytes: memory_mib * MIB,
            cpu_millis,
            pids: 1 << 15,
        };
        let node = Node {
            state: NodeState::Ready,
            capacity: Some(capacity),
            facts: Arc::default(),
            lost_at: None,
        };
        self.snapshot.nodes.insert(name.parse().unwrap(), node);
    }

    /// What the machine is: `zone=a`, and taints as `dedicated=db:no-schedule`.
    pub(crate) fn set_facts(&mut self, name: &str, labels: &[&str], taints: &[&str]) {
        let label = |text: &&str| {
            let (key, value) = text.split_once('=').unwrap();
            (key.parse().unwrap(), value.parse().unwrap())
        };
        let facts = Facts {
            labels: labels.iter().map(label).collect(),
            taints: taints.iter().map(|text| text.parse().unwrap()).collect(),
            ..Facts::default()
        };
        self.snapshot.nodes.get_mut::<str>(name).unwrap().facts = Arc::new(facts);
    }

    /// Every machine's disk.
    pub(crate) fn set_disks(&mut self, mib: u64) {
        for node in self.snapshot.nodes.values_mut() {
            Arc::make_mut(&mut node.facts).disk_bytes = mib * MIB;
        }
    }

    /// What a machine says of its disk.
    pub(crate) fn set_disk_pressure(&mut self, name: &str, pressure: bool) {
        let node = self.snapshot.nodes.get_mut::<str>(name).unwrap();
        Arc::make_mut(&mut node.facts).disk_pressure = pressure;
    }

    /// What `placement:set` does.
    pub(crate) fn set_placement(&mut self, app: AppId, process_type: &str, json: &str) {
        let placement: Placement = serde_json::from_str(json).unwrap();
        placement.check().unwrap();
        self.app(app)
            .placements
            .insert(self::process_type(process_type), Arc::new(placement));
    }

    /// Gives some apps a high priority, and lets some of them bear taints.
    pub(crate) fn prioritise(&mut self, dice: &mut crate::sim::Dice) {
        let apps: Vec<AppId> = self.snapshot.apps.keys().copied().collect();
        for app in apps {
            if dice.chance(20) {
                self.has_priorities = true;
                let json = r#"{ "priority": "high", "tolerate": ["special=yes:no-schedule"] }"#;
                self.set_placement(app, "web", json);
            }
        }
    }

    /// The controller restarts: what it writes down it reads again, and of the rest it knows
    /// nothing.
    pub(crate) fn restart_controller(&mut self) {
        for app in self.snapshot.apps.values_mut() {
            for deployment in &mut app.deployments {
                let state = serde_json::to_string(&deployment.state).unwrap();
                deployment.state = serde_json::from_str(&state).unwrap();
                let strategy = serde_json::to_string(&deployment.strategy).unwrap();
                deployment.strategy = serde_json::from_str(&strategy).unwrap();
                let wish = serde_json::to_string(&deployment.wish).unwrap();
                deployment.wish = serde_json::from_str(&wish).unwrap();
            }
        }
        self.snapshot.routers.seen.clear();
        self.snapshot.routers.observing_since = self.now;
        self.planner = None;
    }

    pub(crate) fn set_node_state(&mut self, name: &str, state: NodeState) {
        self.snapshot.nodes.get_mut::<str>(name).unwrap().state = state;
    }

    /// What `nodes:remove` does: its pods are no more.
    pub(crate) fn remove_node(&mut self, name: &str) {
        self.snapshot.nodes.remove::<str>(name).unwrap();
        let pods = self
            .snapshot
            .apps
            .values_mut()
            .flat_map(|app| app.pods.values_mut());
        for pod in pods {
            pod.gone |= pod.node.as_ref().is_some_and(|node| node.as_str() == name);
        }
    }

    pub(crate) fn report_router(
        &mut self,
        name: &str,
        generation: u64,
        draining: BTreeMap<PodId, u32>,
    ) {
        let router = Router {
            reported_at: self.now,
            generation,
            draining,
            canaries: BTreeMap::new(),
        };
        let name: RouterName = name.parse().unwrap();
        self.snapshot.routers.seen.insert(name, router);
    }

    /// What a router counted of a canary.
    pub(crate) fn report_canary(&mut self, name: &str, of: DeploymentId, tally: CanaryTally) {
        let router = self.snapshot.routers.seen.get_mut::<str>(name).unwrap();
        router.canaries.insert(of, tally);
    }

    /// What `deploy:pause` and the like do: to the active deployment, else to the first one.
    pub(crate) fn wish(&mut self, app: AppId, kind: WishKind) {
        let app = self.app(app);
        let active = app.deployments.iter().position(|it| it.state.is_active());
        if let Some(open) = app.deployments.get_mut(active.unwrap_or_default())
            && open.actions().contains(&kind)
        {
            open.wish = (kind != WishKind::Resume).then(|| Wish {
                kind,
                by: "ana".into(),
            });
        }
    }

    /// Queues a deployment of a new release, all at once.
    pub(crate) fn deploy(&mut self, app: AppId, types: &[TypeOf], from_push: bool) -> ReleaseId {
        self.deploy_by(app, types, from_push, Strategy::default())
    }

    pub(crate) fn deploy_by(
        &mut self,
        app: AppId,
        types: &[TypeOf],
        from_push: bool,
        strategy: Strategy,
    ) -> ReleaseId {
        let id = ReleaseId::from_u128(self.id());
        let deployment = DeploymentId::from_u128(self.id());
        self.deployments.insert(deployment, id);
        let mounts = self.mounts.clone();
        let app = self.app(app);
        let version = app
            .releases
            .values()
            .map(|release| release.version)
            .max()
            .unwrap_or(0)
            + 1;
        let types = types.iter().map(|of| {
            let name = process_type(&of.name);
            let mounts = mounts.iter().filter(|(mounting, _)| *mounting == name);
            let volumes = mounts.map(|(_, volume)| *volume).collect();
            let release_type = ReleaseType {
                volumes,
                ..release_type(of.quantity)
            };
            (name, release_type)
        });
        app.releases.insert(
            id,
            Release {
                id,
                version,
                types: types.collect(),
                cron: Arc::default(),
                one_off_sidecars: Default::default(),
            },
        );
        app.deployments.push(Deployment {
            id: deployment,
            release: id,
            from_push,
            strategy,
            wish: None,
            state: DeploymentState::Queued,
            deadline_at: None,
        });
        id
    }

    /// What `volumes:create` and `volumes:mount` do; the next release mounts it.
    pub(crate) fn mount(&mut self, app: AppId, volume: Volume, process_type: &str) -> VolumeId {
        let id = VolumeId::from_u128(self.id());
        self.app(app).volumes.insert(id, volume);
        self.mounts.push((self::process_type(process_type), id));
        id
    }

    /// What `ps:scale` does.
    pub(crate) fn scale(&mut self, app: AppId, process_type: &str, quantity: u32, size: &str) {
        let want = Want {
            quantity,
            size: self::size(size),
        };
        self.app(app)
            .formation
            .insert(self::process_type(process_type), want);
    }

    /// What `ps:restart` does: a newer pod for the slot of this one.
    pub(crate) fn restart(&mut self, app: AppId, pod: PodId) {
        self.replace(app, pod, None);
    }

    /// What rebalancing does: the same on another machine.
    pub(crate) fn restart_at(
        &mut self,
        app: AppId,
        pod: PodId,
        node: &fairway_api::names::NodeName,
    ) {
        self.replace(app, pod, Some(node.clone()));
    }

    fn replace(&mut self, app: AppId, pod: PodId, node: Option<fairway_api::names::NodeName>) {
        let (id, now) = (self.pod_id(), self.now);
        let app = self.app(app);
        let mut fresh = app.pods[&pod].clone();
        fresh = Pod {
            id,
            node,
            unplaced: None,
            intent: PodIntent::Wanted,
            status: None,
            gone: false,
            created_at: now,
            ..fresh
        };
        app.pods.insert(id, fresh);
    }

    /// Plans, carries the plan out and publishes the route table, as the controller does.
    pub(crate) fn plan(&mut self) -> Vec<Step> {
        let remembered = self.plan_from_memory();
        let Self {
            snapshot,
            now,
            pods,
            ..
        } = self;
        let mut fresh = || {
            *pods += 1;
            PodId::from_u128(*pods)
        };
        let made = plan(snapshot.clone(), *now, &mut fresh);
        let again = plan(made.after.clone(), *now, &mut fresh);
        assert!(
            again.steps.is_empty(),
            "planning again adds {:#?}",
            again.steps
        );
        assert_eq!(
            made.wake_at, again.wake_at,
            "planning again wakes at another time"
        );
        assert!(
            made.wake_at.is_none_or(|at| at > self.now),
            "a plan that wakes at once"
        );
        assert_eq!(
            remembered, made.steps,
            "a planner with a memory decides otherwise"
        );
        let published_by_plan = made.after.routes_generation > self.snapshot.routes_generation;
        self.snapshot = made.after;
        self.wake_at = made.wake_at;
        self.forget_ended();
        self.publish(published_by_plan);
        made.steps
    }

    /// Plans with the planner that has seen all earlier plans and is told only what is new.
    fn plan_from_memory(&mut self) -> Vec<Step> {
        let snapshot = &self.snapshot;
        let planner = self
            .planner
            .get_or_insert_with(|| Planner::new(snapshot.clone()));
        let known = planner.snapshot();
        let gone: Vec<AppId> = (known.apps.keys().copied())
            .filter(|id| !snapshot.apps.contains_key(id))
            .collect();
        let other: Vec<App> = (snapshot.apps.values())
            .filter(|app| known.apps.get(&app.id) != Some(app))
            .cloned()
            .collect();
        gone.into_iter().for_each(|id| drop(planner.remove_app(id)));
        other.into_iter().for_each(|app| planner.set_app(app));
        let known = planner.snapshot().nodes.keys();
        let removed: Vec<_> = known
            .filter(|name| !snapshot.nodes.contains_key(*name))
            .cloned()
            .collect();
        for name in removed {
            planner.remove_node(&name);
        }
        for (name, node) in &snapshot.nodes {
            planner.set_node(name, node.clone());
        }
        planner.set_routers(snapshot.routers.clone());
        planner.set_routes_generation(snapshot.routes_generation);
        let mut pods = self.pods;
        let mut fresh = || {
            pods += 1;
            PodId::from_u128(pods)
        };
        planner.plan(self.now, &mut fresh).steps
    }

    /// The controller loads open deployments only.
    fn forget_ended(&mut self) {
        for app in self.snapshot.apps.values_mut() {
            app.deployments
                .retain(|deployment| !deployment.state.has_ended());
        }
    }

    fn publish(&mut self, published_by_plan: bool) {
        let table: Vec<PodId> = routed(&self.snapshot).map(|(_, pod)| pod.id).collect();
        if table != self.table {
            self.table = table;
            // One number per table: the plan's own if it asked for one.
            self.snapshot.routes_generation += u64::from(!published_by_plan);
        }
    }

    /// `web.1/v2#7`: name, version of the release, number of the pod's id.
    pub(crate) fn label(&self, app: AppId, pod: PodId) -> String {
        let app = &self.snapshot.apps[&app];
        let Some(pod) = app.pods.get(&pod) else {
            return format!("#{}", number(pod));
        };
        label(app, pod)
    }

    pub(crate) fn render(&self, labels: &BTreeMap<PodId, String>, step: &Step) -> String {
        let app = &self.snapshot.apps[&step.app];
        let pod = |id: &PodId| match app.pods.get(id) {
            Some(pod) => label(app, pod),
            None => labels
                .get(id)
                .cloned()
                .unwrap_or_else(|| format!("#{}", number(*id))),
        };
        let release = |id: &ReleaseId| format!("v{}", app.releases[id].version);
        let of = |id: &DeploymentId| {
            let release = self
                .deployments
                .get(id)
                .expect("a deployment of this world");
            format!(
                "deployment of {}",
                app.releases
                    .get(release)
                    .map_or("?".into(), |r| format!("v{}", r.version))
            )
        };
        match &step.action {
            Action::Create(new) => format!("create {} {}", pod(&new.id), new.size),
            Action::Bind { pod: id, node } => format!("bind {} to {node}", pod(id)),
            Action::Unplaced { pod: id, why } => {
                format!("unplaced {}: {}", pod(id), why.replace('\n', "; "))
            }
            Action::Retire {
                pod: id,
                unrouted_in,
            } => {
                format!("retire {} in table {unrouted_in}", pod(id))
            }
            Action::Stop { pod: id } => format!("stop {}", pod(id)),
            Action::Remove { pod: id } => format!("remove {}", pod(id)),
            Action::Job(action) => job(action),
            Action::Advance {
                deployment,
                to,
                deadline_at,
            } => {
                format!("{}: {}", of(deployment), self.state(to, *deadline_at, &pod))
            }
            Action::Switch {
                deployment,
                release: to,
                retire,
                generation,
                to: state,
                ..
            } => {
                let mut text = format!("{}: switch to {}", of(deployment), release(to));
                if let Some(generation) = generation {
                    write!(text, " in table {generation}").unwrap();
                }
                if !retire.is_empty() {
                    let retired: Vec<_> = retire.iter().map(pod).collect();
                    write!(text, ", retire {}", retired.join(" ")).unwrap();
                }
                if let DeploymentState::Reverted { to } = state {
                    write!(text, ", reverted to v{to}").unwrap();
                } else if let Some(warm) = state.warm() {
                    write!(text, ", {} stays warm", release(&warm)).unwrap();
                }
                text
            }
        }
    }

    fn state(
        &self,
        state: &DeploymentState,
        deadline_at: Option<DateTime<Utc>>,
        pod: &impl Fn(&PodId) -> String,
    ) -> String {
        let mut text = match state {
            DeploymentState::ReleasePhase { pod: id } => format!("release phase {}", pod(id)),
            DeploymentState::Failed { failure } if failure.lines.is_empty() => {
                format!("failed: {}", failure.reason)
            }
            DeploymentState::Failed { failure } => {
                format!("failed: {} [{}]", failure.reason, failure.lines.join(" | "))
            }
            DeploymentState::Superseded { by } => format!("superseded by v{by}"),
            DeploymentState::Rolling { replaced } => format!("rolling, {replaced} replaced"),
            DeploymentState::RollingBack { failure, restored } => {
                format!("rolling back, {restored} restored: {}", failure.reason)
            }
            DeploymentState::CanaryStarting { step, .. } => format!("canary {step} starts"),
            DeploymentState::Canary { step } => format!("canary {step}"),
            DeploymentState::Paused { resumes, left_secs } => {
                format!("paused in {} with {left_secs} s left,", resumes.word())
            }
            other => other.word().into(),
        };
        if let Some(deadline) = deadline_at {
            write!(
                text,
                " for at most {} s",
                (deadline - self.now).num_seconds()
            )
            .unwrap();
        }
        text
    }
}

fn job(action: &JobAction) -> String {
    match action {
        JobAction::Decide { job, decided } => match decided {
            Some(decided) => format!("job {job}: decided until {}", decided.until),
            None => format!("job {job}: no schedule"),
        },
        JobAction::Start(new) => {
            let (name, at) = (new.name(), new.scheduled_at.format("%H:%M"));
            format!("run {name} of {at} begins, {} missed", new.missed)
        }
        JobAction::Miss(new, why) => format!("run {} is missed: {why}", new.name()),
        JobAction::InTheWay { times, .. } => format!("a run is in the way {times} times"),
        JobAction::Progress { progress, .. } => {
            format!(
                "a run goes on: {} succeeded, {} failed",
                progress.succeeded, progress.failed
            )
        }
        JobAction::End { end, .. } => format!("a run ends: {:?}", end.outcome),
    }
}

/// The pods that a route table of this snapshot names.
pub(crate) fn routed(snapshot: &Snapshot) -> impl Iterator<Item = (&App, &Pod)> {
    snapshot.apps.values().flat_map(|app| {
        app.pods
            .values()
            .filter(|pod| app.routes_to(pod))
            .map(move |pod| (app, pod))
    })
}

pub(crate) fn process_type(name: &str) -> ProcessType {
    name.parse().unwrap()
}

pub(crate) fn size(name: &str) -> SizeName {
    name.parse().unwrap()
}

fn release_type(quantity: u32) -> ReleaseType {
    ReleaseType {
        initial: Want {
            quantity,
            size: size("standard-1x"),
        },
        startup_deadline_secs: 60,
        placement: Arc::default(),
        volumes: vec![],
        sidecars: Default::default(),
    }
}

fn label(app: &App, pod: &Pod) -> String {
    let version = app
        .releases
        .get(&pod.release)
        .map_or(0, |release| release.version);
    format!("{}/v{version}#{}", pod.name, number(pod.id))
}

fn number(id: impl ToString) -> u128 {
    let hex = id.to_string().replace('-', "");
    u128::from_str_radix(&hex, 16).unwrap()
}

/// A status as an agent would report it, from a word: `ready`, `crash`, `exit:0` ...
pub(crate) fn status(id: PodId, word: &str, now: DateTime<Utc>) -> PodStatus {
    let exit = |code: i64| Exit {
        code,
        out_of_memory: false,
        stopped_because: None,
        at: now,
        last_lines: vec!["the last line".into()],
    };
    let (word, argument) = word.split_once(':').unwrap_or((word, ""));
    let code = argument.parse().unwrap_or(1);
    let refused = format!("pull image: {argument}");
    let (phase, last_exit) = match word {
        "pending" => (PodPhase::Pending, None),
        "starting" => (PodPhase::Starting, None),
        "ready" => (PodPhase::Running { ready: true }, None),
        "unready" => (PodPhase::Running { ready: false }, None),
        "crash" => (PodPhase::BackOff { until: now }, Some(exit(code))),
        "exit" => (PodPhase::Exited, Some(exit(code))),
        "evicted" => {
            let stopped_because = Some("evicted, since its disk is full".into());
            let exit = Exit {
                stopped_because,
                ..exit(143)
            };
            (PodPhase::Exited, Some(exit))
        }
        "never-ready" => (PodPhase::NeverReady, None),
        "refused" => (PodPhase::Refused { reason: refused }, None),
        "stopping" => (PodPhase::Stopping, None),
        other => panic!("no status is called {other}"),
    };
    let check_failure = (phase == PodPhase::NeverReady).then(|| CheckFailure {
        kind: None,
        check: "GET /health on port 8080".into(),
        why: "answered 500 Internal Server Error".into(),
        response: Some("no database".into()),
    });
    PodStatus {
        id,
        restarts: u32::from(word == "crash"),
        address: matches!(phase, PodPhase::Running { .. })
            .then(|| std::net::IpAddr::from([10, 0, 0, 1])),
        started_at: None,
        phase,
        last_exit,
        check_failure,
        containers: vec![],
    }
}
