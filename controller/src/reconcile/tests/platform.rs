//! A controller whose loop runs, with an agent and a router that do what the test says.

use std::{collections::BTreeMap, time::Duration};

use fairway_api::{
    build_orders::{BuildResult, BuiltImage, PushVerdict},
    ids::{BuildId, DeploymentId, NodeId, PodId},
    names::NodeName,
    network::NetworkStatus,
    nodes::{Capacity, NodePlan, NodeStatus},
    pods::{Exit, PodPhase, PodStatus},
    routes::{Canary, CanaryTally, Endpoint, RouteBook, RouteTable, RouterStatus},
    sizes::Resources,
    volumes::VolumeStatus,
};
use fairway_scheduler::snapshot::DeploymentState;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    orders::Order as _,
    reconcile,
    store::{columns::now, deployments, nodes},
    testing::{BUILDER, NODE, ROUTER, Reply, Rig, built},
};

/// How long anything may take that the loop does at once.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Platform {
    pub(super) rig: Rig,
    task: Option<JoinHandle<()>>,
    generation: u64,
    plan: Option<NodePlan>,
    /// What the agent reports.
    pub(super) pods: BTreeMap<PodId, PodStatus>,
    pub(super) network: NetworkStatus,
    pub(super) volumes: Option<Vec<VolumeStatus>>,
    /// The last number of an address that was given to a pod.
    addresses: u8,
    book: RouteBook,
    /// What is in `book`.
    table: RouteTable,
    /// What the router reports.
    pub(super) draining: BTreeMap<PodId, u32>,
    pub(super) canaries: BTreeMap<DeploymentId, CanaryTally>,
    host: String,
}

impl Platform {
    pub(super) async fn start() -> Self {
        let rig = Rig::new().await;
        let mut platform = Self {
            rig,
            task: None,
            generation: 0,
            plan: None,
            pods: BTreeMap::new(),
            network: NetworkStatus::default(),
            volumes: None,
            addresses: 0,
            book: RouteBook::default(),
            table: RouteTable::default(),
            draining: BTreeMap::new(),
            canaries: BTreeMap::new(),
            host: "shop.apps.test".into(),
        };
        platform.run();
        platform.report().await;
        platform.acknowledge().await;
        platform
    }

    /// A platform on which release v1 of the app serves with one web pod.
    pub(super) async fn with_live_app(app: &str) -> Self {
        let mut platform = Self::start().await;
        platform.rig.app(app).await;
        let build = platform.push(app).await;
        platform.orders(|plan| plan.pods.len() == 1).await;
        platform.say("web.1", "ready").await;
        platform.table(|endpoints| endpoints.len() == 1).await;
        let verdict = platform.verdict(build).await;
        assert!(
            matches!(verdict, PushVerdict::Released { .. }),
            "{verdict:?}"
        );
        platform
    }

    fn run(&mut self) {
        let state = self.rig.state().clone();
        self.task = Some(tokio::spawn(async move {
            reconcile::run(&state, &CancellationToken::new()).await;
        }));
    }

    /// Ends the loop wherever it is.
    pub(super) fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Kills the controller and starts another one on the same files.
    pub(super) async fn crash_and_start(&mut self) {
        self.kill();
        self.rig.restart().await;
        self.run();
        self.report().await;
    }

    /// The end of a deployment as a controller leaves it that dies before it tells the pusher.
    pub(super) async fn end_untold(&mut self) {
        let mut tx = self.rig.state().store.write().await.unwrap();
        for deployment in deployments::open(&mut tx).await.unwrap() {
            let ended = DeploymentState::Succeeded;
            deployments::advance(&mut tx, deployment.id, &ended, None, now())
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub(super) async fn push(&self, app: &str) -> BuildId {
        self.push_with(app, &["web", "worker"]).await
    }

    /// A push whose build has just succeeded.
    pub(super) async fn push_with(&self, app: &str, types: &[&str]) -> BuildId {
        self.rig.queue(app).await;
        let order = self.rig.claim().await;
        let mut image: BuiltImage = built(&order);
        let process = image.processes.values().next().unwrap().clone();
        image.processes = types
            .iter()
            .map(|name| (name.parse().unwrap(), process.clone()))
            .collect();
        self.rig
            .finish(&order, &BuildResult::Succeeded(image))
            .await
            .expect(204);
        order.id
    }

    /// Fetches orders until they are as wanted, obeying and reporting each time.
    #[track_caller]
    pub(super) fn orders(
        &mut self,
        wanted: impl Fn(&NodePlan) -> bool,
    ) -> impl Future<Output = NodePlan> {
        let caller = std::panic::Location::caller();
        async move {
            let fetched = tokio::time::timeout(PATIENCE, async {
                while !self.plan.as_ref().is_some_and(&wanted) {
                    self.fetch_plan().await;
                }
            });
            let done = fetched.await.is_ok();
            assert!(
                done,
                "{caller}: orders are {:?}",
                self.plan.as_ref().map(names)
            );
            self.newest_plan().clone()
        }
    }

    async fn fetch_plan(&mut self) {
        let path = format!("/internal/nodes/one/plan?after={}", self.generation);
        let reply = self.rig.get(NODE, &path).await;
        if reply.status == 204 {
            return;
        }
        let plan: NodePlan = serde_json::from_value(reply.expect(200)).unwrap();
        assert!(
            plan.generation > self.generation,
            "not newer than what the agent has"
        );
        self.generation = plan.generation;
        self.pods
            .retain(|id, _| plan.pods.iter().any(|pod| pod.id == *id));
        for pod in &plan.pods {
            self.pods
                .entry(pod.id)
                .or_insert_with(|| status_of(pod.id, "pending", 0));
        }
        self.plan = Some(plan);
        self.report().await;
    }

    pub(super) fn newest_plan(&self) -> &NodePlan {
        self.plan.as_ref().expect("orders were fetched")
    }

    pub(super) fn pretend_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// The pod of the newest orders with this name, or name and release: `web.1 v2`.
    pub(super) fn pod(&self, name: &str) -> PodId {
        let mut pods = self.newest_plan().pods.iter();
        let found =
            pods.find(|pod| pod.name == name || format!("{} v{}", pod.name, pod.release) == name);
        found
            .unwrap_or_else(|| panic!("no pod {name} in {:?}", names(self.newest_plan())))
            .id
    }

    /// The agent sees something new of a pod.
    pub(super) async fn say(&mut self, name: &str, word: &str) {
        self.say_id(self.pod(name), word).await;
    }

    pub(super) async fn say_id(&mut self, pod: PodId, word: &str) {
        let known = self.pods.get(&pod).and_then(|it| it.address);
        let address = known.unwrap_or_else(|| {
            self.addresses += 1;
            [10, 9, 0, self.addresses].into()
        });
        let mut status = status_of(pod, word, 0);
        status.address = status.address.map(|_| address);
        self.pods.insert(pod, status);
        self.report().await;
    }

    /// Another machine of the cluster says something of a pod, and the loop has heard it.
    pub(super) async fn forge(&self, machine: &str, pod: PodId, word: &str) {
        let state = self.rig.state();
        let name: NodeName = machine.parse().unwrap();
        let mut tx = state.store.write().await.unwrap();
        nodes::insert(&mut tx, NodeId::generate(), &name, now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        state.wake.nodes();
        let status = NodeStatus {
            node: name,
            pods: vec![status_of(pod, word, 0)],
            ..self.status()
        };
        assert!(state.cluster.report(status, now()));
        state.wake.reported();
        let heard = async {
            let mut known = false;
            while !known {
                tokio::task::yield_now().await;
                let mut tx = state.store.read().await.unwrap();
                known = nodes::find(&mut tx, machine)
                    .await
                    .unwrap()
                    .capacity
                    .is_some();
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap();
    }

    pub(super) fn status(&self) -> NodeStatus {
        let resources = Resources {
            memory_bytes: 8 << 30,
            cpu_millis: 4000,
            pids: 1 << 15,
        };
        NodeStatus {
            node: "one".parse().unwrap(),
            generation: self.generation,
            capacity: Capacity {
                resources,
                disk_bytes: 1 << 40,
                disk_free_bytes: 1 << 39,
                architecture: "x86_64".into(),
                engine: "none".into(),
            },
            facts: None,
            pods: self.pods.values().cloned().collect(),
            network: self.network.clone(),
            disk: Default::default(),
            usage: vec![],
            volumes: self.volumes.clone(),
        }
    }

    pub(super) async fn report(&self) {
        let status = serde_json::to_value(self.status()).unwrap();
        self.rig
            .call(NODE, "POST", "/internal/nodes/one/status", status)
            .await
            .expect(200);
    }

    /// The router reports the table that it has.
    pub(super) async fn acknowledge(&self) {
        let status = RouterStatus {
            router: "one".parse().unwrap(),
            generation: self.table.generation,
            draining: self.draining.clone(),
            canaries: self.canaries.clone(),
            traffic: BTreeMap::new(),
        };
        let status = serde_json::to_value(status).unwrap();
        self.rig
            .call(ROUTER, "POST", "/internal/routers/one/status", status)
            .await
            .expect(200);
    }

    /// Fetches and acknowledges tables until the app's endpoints are as wanted.
    #[track_caller]
    pub(super) fn table(
        &mut self,
        wanted: impl Fn(&[Endpoint]) -> bool,
    ) -> impl Future<Output = Vec<Endpoint>> {
        let caller = std::panic::Location::caller();
        async move {
            let fetched = tokio::time::timeout(PATIENCE, async {
                self.acknowledge().await;
                while !wanted(&self.endpoints()) {
                    self.fetch_table().await;
                    self.acknowledge().await;
                }
            });
            assert!(
                fetched.await.is_ok(),
                "{caller}: endpoints are {:?}",
                self.endpoints()
            );
            self.endpoints()
        }
    }

    /// The same without an acknowledgement; gives the generation.
    pub(super) async fn table_until(&mut self, wanted: impl Fn(&[Endpoint]) -> bool) -> u64 {
        let fetched = tokio::time::timeout(PATIENCE, async {
            while !wanted(&self.endpoints()) {
                self.fetch_table().await;
            }
        });
        assert!(
            fetched.await.is_ok(),
            "endpoints are {:?}",
            self.endpoints()
        );
        self.table.generation
    }

    async fn fetch_table(&mut self) {
        let path = "/internal/routers/one/table";
        let newer = format!("{path}?after={}&changes=true", self.table.generation);
        let reply = self.rig.get(ROUTER, &newer).await;
        if reply.status == 200 {
            let update = serde_json::from_str(&reply.text).unwrap();
            self.book.take(update).unwrap();
            self.table = table(&self.book);
            // What changed leads to the same as everything, which older routers ask for.
            let whole = self.rig.get(ROUTER, &format!("{path}?after=0")).await;
            let mut other = RouteBook::default();
            let whole = serde_json::from_str(&whole.text).unwrap();
            other.take(whole).unwrap();
            if other.generation() == self.book.generation() {
                assert_eq!(table(&other), self.table);
            }
        }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let route = self
            .table
            .routes
            .iter()
            .find(|route| route.hostname.as_str() == self.host);
        route
            .map(|route| route.service.endpoints.clone())
            .unwrap_or_default()
    }

    /// True when the table says that requests bring pods back.
    pub(super) fn is_on_demand(&self) -> bool {
        let mut routes = self.table.routes.iter();
        routes.any(|route| route.hostname.as_str() == self.host && route.service.on_demand)
    }

    /// Fetches and acknowledges tables until the app has a canary, or has none any more.
    pub(super) async fn canary(&mut self, wanted: bool) -> Option<Canary> {
        let fetched = tokio::time::timeout(PATIENCE, async {
            while self.newest_canary().is_some() != wanted {
                self.fetch_table().await;
                self.acknowledge().await;
            }
        });
        assert!(
            fetched.await.is_ok(),
            "a canary: {:?}",
            self.newest_canary()
        );
        self.newest_canary()
    }

    fn newest_canary(&self) -> Option<Canary> {
        let mut routes = self.table.routes.iter();
        let route = routes.find(|route| route.hostname.as_str() == self.host)?;
        route.service.canary.clone()
    }

    /// Waits until the newest deployment of the app is in this state, and gives it.
    #[track_caller]
    pub(super) fn deployment(&self, app: &str, state: &str) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        let path = format!("/apps/{app}/deployments");
        async move {
            let mut newest = Value::Null;
            let seen = tokio::time::timeout(PATIENCE, async {
                while newest["state"] != state {
                    newest = self.get(&path).await[0].take();
                    tokio::task::yield_now().await;
                }
            });
            let done = seen.await.is_ok();
            assert!(done, "{caller}: {newest:#}");
            newest
        }
    }

    /// Asks something of the app's deployment.
    pub(super) async fn ask(&self, app: &str, action: &str) -> Reply {
        let path = format!("/apps/{app}/deployments/current/actions/{action}");
        self.rig
            .call(&self.rig.alice, "POST", &path, json!({}))
            .await
    }

    pub(super) async fn strategy(&self, app: &str, strategy: Value) {
        let path = format!("/apps/{app}/deploy-strategy");
        let reply = self
            .rig
            .call(&self.rig.alice, "PUT", &path, strategy.clone());
        reply.await.expect(200);
    }

    /// The addresses behind a hostname, in the newest table there is now.
    pub(super) async fn routed(&mut self, hostname: &str) -> Vec<String> {
        self.host = hostname.into();
        let newest = self.rig.state().routers.table.published.newest();
        if newest.is_some_and(|newest| newest.generation() > self.table.generation) {
            self.fetch_table().await;
            self.acknowledge().await;
        }
        self.endpoints()
            .iter()
            .map(|it| it.address.ip().to_string())
            .collect()
    }

    pub(super) async fn no_route(&mut self, hostname: &str) {
        let fetched = tokio::time::timeout(PATIENCE, async {
            while self
                .table
                .routes
                .iter()
                .any(|route| route.hostname.as_str() == hostname)
            {
                self.fetch_table().await;
            }
        });
        assert!(fetched.await.is_ok(), "{hostname} is still routed");
    }

    #[track_caller]
    pub(super) fn verdict(&self, build: BuildId) -> impl Future<Output = PushVerdict> {
        let caller = std::panic::Location::caller();
        async move {
            let path = format!("/internal/builds/{build}/verdict");
            let reply = tokio::time::timeout(PATIENCE, self.rig.get(BUILDER, &path)).await;
            let reply = reply.unwrap_or_else(|_| panic!("{caller}: the push does not end"));
            serde_json::from_value(reply.expect(200)).unwrap()
        }
    }

    pub(super) async fn output(&self, build: BuildId) -> String {
        let path = format!("/internal/builds/{build}/output?offset=0");
        self.rig.get(BUILDER, &path).await.text
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.rig.get(&self.rig.alice, path).await.expect(200)
    }

    pub(super) async fn scale(&self, app: &str, process_type: &str, quantity: u32) {
        let body = json!({ "updates": [{ "type": process_type, "quantity": quantity }] });
        let path = format!("/apps/{app}/formation");
        self.rig
            .call(&self.rig.alice, "PATCH", &path, body)
            .await
            .expect(200);
    }

    /// Waits until the app's pods, as users see them, are as wanted.
    #[track_caller]
    pub(super) fn settled(
        &mut self,
        app: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let path = format!("/apps/{app}/dynos");
        async move {
            let mut dynos = Value::Null;
            let seen = tokio::time::timeout(PATIENCE, async {
                loop {
                    let newest = self.rig.state().cluster.plan(&self.status().node).newest();
                    if newest.is_some_and(|newest| newest.generation() > self.generation) {
                        self.fetch_plan().await;
                    }
                    dynos = self.get(&path).await;
                    if wanted(dynos.as_array().unwrap()) {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            });
            assert!(seen.await.is_ok(), "{caller}: {dynos:#}");
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.kill();
    }
}

fn table(book: &RouteBook) -> RouteTable {
    let text = serde_json::to_string(&book.whole()).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// `web.1 v1` of each pod, sorted.
pub(super) fn names(plan: &NodePlan) -> Vec<String> {
    let mut names: Vec<_> = plan
        .pods
        .iter()
        .map(|pod| format!("{} v{}", pod.name, pod.release))
        .collect();
    names.sort();
    names
}

/// A status from a word.
pub(super) fn status_of(id: PodId, word: &str, address: u8) -> PodStatus {
    let (word, code) = word.split_once(':').unwrap_or((word, "3"));
    let exit = Exit {
        code: code.parse().unwrap(),
        out_of_memory: false,
        stopped_because: None,
        at: now(),
        last_lines: vec!["Traceback (most recent call last)".into()],
    };
    let (phase, last_exit) = match word {
        "pending" => (PodPhase::Pending, None),
        "ready" => (PodPhase::Running { ready: true }, None),
        "crash" => (PodPhase::BackOff { until: now() }, Some(exit)),
        "exit" => (PodPhase::Exited, Some(exit)),
        "evicted" => {
            let stopped_because = Some("evicted, since its disk is full".into());
            let exit = Exit {
                stopped_because,
                ..exit
            };
            (PodPhase::Exited, Some(exit))
        }
        other => panic!("no status is called {other}"),
    };
    PodStatus {
        id,
        address: (word == "ready").then(|| [10, 9, 0, address].into()),
        restarts: u32::from(word == "crash"),
        started_at: None,
        phase,
        last_exit,
        check_failure: None,
        containers: vec![],
    }
}
