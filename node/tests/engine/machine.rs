//! One machine under test: an agent that can be stopped and started again, with its registry and
//! controller. Removes everything it made when dropped.

use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};

use fairway_api::{
    checks::{Check, Checks},
    disk::DiskReserve,
    ids::{AppId, AttachId, PodId},
    names::HostPath,
    network::NetworkPlan,
    nodes::NodePlan,
    pods::{Attach, PodPhase, PodSpec, PodStatus, RestartPolicy, StopPolicy},
    sizes::Resources,
    volumes::VolumeOrder,
};
use fairway_node::{Agent, Config, DOCKER_SOCKET_DEFAULT};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    controller::{Controller, Shared, Terminal},
    registry::Registry,
};

/// How long anything may take before a test gives up; generous, since machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const NODE: &str = "n1";

pub(crate) struct Machine {
    pub(crate) instance: String,
    pub(crate) controller: Controller,
    pub(crate) registry: Registry,
    pub(crate) socket: PathBuf,
    pub(crate) dir: tempfile::TempDir,
    agent: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
    generation: u64,
    /// The agent's, from its next start on.
    pub(crate) disk_reserve: DiskReserve,
    /// These go into each plan.
    pub(crate) network: Option<NetworkPlan>,
    pub(crate) volumes: Vec<VolumeOrder>,
    pub(crate) host_paths: Vec<HostPath>,
}

impl Machine {
    /// A machine whose agent runs.
    pub(crate) async fn start() -> Self {
        let mut machine = Self::with_socket(DOCKER_SOCKET_DEFAULT.into()).await;
        machine.start_agent().await;
        machine
    }

    pub(crate) async fn with_socket(socket: PathBuf) -> Self {
        let id = PodId::generate().as_uuid().simple().to_string();
        let instance = format!("test-{}", &id[20..]);
        Self {
            controller: Controller::start().await,
            registry: Registry::start(&instance).await,
            dir: tempfile::tempdir().unwrap(),
            agent: None,
            generation: 0,
            disk_reserve: DiskReserve::Bytes(0),
            network: None,
            volumes: vec![],
            host_paths: vec![],
            socket,
            instance,
        }
    }

    pub(crate) async fn start_agent(&mut self) {
        let config = Config {
            node: NODE.parse().unwrap(),
            instance: self.instance.clone(),
            data_dir: self.dir.path().into(),
            client: self.controller.client.clone(),
            docker_socket: self.socket.clone(),
            underlay: None,
            disk_reserve: self.disk_reserve,
            description: fairway_node::Description {
                host_paths: self.host_paths.clone(),
                ..Default::default()
            },
            membership: None,
        };
        let agent = Agent::bind(config).await.unwrap();
        let shutdown = CancellationToken::new();
        self.agent = Some((shutdown.clone(), tokio::spawn(agent.run(shutdown))));
    }

    /// Waits until the engine shows what is wanted, where no report can.
    pub(crate) async fn until_engine(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "the engine never {what}"
        );
    }

    fn networks(&self) -> Vec<String> {
        let filter = format!("label=dev.fairway.instance={}", self.instance);
        let networks = docker(&["network", "ls", "--quiet", "--filter", &filter]);
        networks.lines().map(Into::into).collect()
    }

    pub(crate) async fn stop_agent(&mut self) {
        let (shutdown, running) = self.agent.take().unwrap();
        shutdown.cancel();
        within(running).await.unwrap().unwrap();
    }

    /// As SIGKILL would: nothing is said and nothing is finished.
    pub(crate) async fn kill_agent(&mut self) {
        let (_, running) = self.agent.take().unwrap();
        running.abort();
        assert!(within(running).await.is_err());
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.controller.shared
    }

    /// Publishes a plan with exactly these pods.
    pub(crate) fn plan(&mut self, pods: &[&PodSpec]) {
        self.generation += 1;
        self.shared().plan.send_replace(Some(NodePlan {
            node: NODE.parse().unwrap(),
            generation: self.generation,
            registry: self.registry.access(),
            pods: pods.iter().map(|&pod| pod.clone()).collect(),
            keep_images: vec![],
            network: self.network.clone(),
            volumes: self.volumes.clone(),
        }));
    }

    /// A web pod that runs a shell script.
    pub(crate) fn pod(&self, script: &str) -> PodSpec {
        web(&self.registry, script)
    }

    /// A pod that is up as soon as it has run for no time at all.
    pub(crate) fn worker(&self, script: &str) -> PodSpec {
        let checks = Checks {
            startup: Check::Uptime { secs: 0 },
            ..Checks::for_worker()
        };
        PodSpec {
            name: "worker.1".into(),
            process_type: "worker".parse().unwrap(),
            port: None,
            checks: Some(checks),
            ..self.pod(script)
        }
    }

    pub(crate) fn one_off(&self, script: &str) -> PodSpec {
        PodSpec {
            name: "run.1234".into(),
            process_type: "console".parse().unwrap(),
            checks: None,
            restart: RestartPolicy::Never,
            ..self.worker(script)
        }
    }

    pub(crate) fn attached(&self, tty: bool, script: &str) -> PodSpec {
        let attach = Some(Attach {
            id: AttachId::generate(),
            tty,
        });
        PodSpec {
            attach,
            ..self.one_off(script)
        }
    }

    /// Waits until a report shows the pod like this.
    pub(crate) async fn until(
        &self,
        pod: &PodSpec,
        what: &str,
        holds: impl Fn(&PodStatus) -> bool,
    ) -> PodStatus {
        let find = |report: &fairway_api::nodes::NodeStatus| {
            report
                .pods
                .iter()
                .find(|status| status.id == pod.id)
                .cloned()
        };
        let mut reports = self.shared().reports.subscribe();
        let found =
            reports.wait_for(|reports| reports.last().and_then(find).is_some_and(|s| holds(&s)));
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => find(found.unwrap().last().unwrap()).unwrap(),
            Err(_) => {
                let last = self.shared().reports.borrow().last().cloned();
                panic!("the pod is never {what}; last report: {last:#?}");
            }
        }
    }

    pub(crate) async fn until_ready(&self, pod: &PodSpec) -> PodStatus {
        self.until(pod, "ready", PodStatus::is_ready).await
    }

    pub(crate) async fn until_exited(&self, pod: &PodSpec) -> PodStatus {
        self.until(pod, "exited", |status| status.phase == PodPhase::Exited)
            .await
    }

    /// Waits until reports do not name the pod any more.
    pub(crate) async fn until_gone(&self, pod: &PodSpec) {
        let mut reports = self.shared().reports.subscribe();
        let absent = |reports: &Vec<fairway_api::nodes::NodeStatus>| {
            reports
                .last()
                .is_some_and(|report| report.pods.iter().all(|status| status.id != pod.id))
        };
        within(reports.wait_for(absent)).await.unwrap();
    }

    /// Waits until the log has what is wanted; gives the texts of the pod's own lines.
    pub(crate) async fn until_logged(&self, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let texts = |lines: &Vec<fairway_api::logs::LogLine>| -> Vec<String> {
            let line = |line: &fairway_api::logs::LogLine| {
                format!("{}[{}]: {}", line.source.as_str(), line.process, line.text)
            };
            lines.iter().map(line).collect()
        };
        let mut logs: watch::Receiver<_> = self.shared().logs.subscribe();
        let found = logs.wait_for(|lines| holds(&texts(lines)));
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => texts(&found.unwrap()),
            Err(_) => panic!(
                "never logged; log: {:#?}",
                texts(&self.shared().logs.borrow())
            ),
        }
    }

    /// The next terminal that an agent has joined.
    pub(crate) async fn terminal(&self) -> Terminal {
        let next = std::future::poll_fn(|cx| self.shared().joined.lock().unwrap().poll_recv(cx));
        Terminal(within(next).await.unwrap())
    }

    /// As a reboot, or somebody's flush, would.
    pub(crate) fn remove_packet_filter(&self) {
        let table = format!("fairway_{}", self.instance.replace('-', "_"));
        let nft = Command::new("nft")
            .args(["delete", "table", "inet", &table])
            .output();
        drop(nft.expect("these tests need nft"));
    }

    /// How many of those run.
    pub(crate) fn running(&self) -> usize {
        self.labelled("dev.fairway.pod", &[]).len()
    }

    /// Ids of the containers of this machine's pods.
    pub(crate) fn containers(&self) -> Vec<String> {
        self.labelled("dev.fairway.pod", &["--all"])
    }

    /// Ids of the sandboxes that run, whether pods have them or not.
    pub(crate) fn sandboxes(&self) -> Vec<String> {
        self.labelled("dev.fairway.sandbox", &[])
    }

    /// Names of the folders that containers of this machine's pods share.
    pub(crate) fn folders(&self) -> Vec<String> {
        let ours = format!("label=dev.fairway.instance={}", self.instance);
        let found = docker(&["volume", "ls", "--quiet", "--filter", &ours]);
        found.lines().map(Into::into).collect()
    }

    fn labelled(&self, label: &str, which: &[&str]) -> Vec<String> {
        let ours = format!("label=dev.fairway.instance={}", self.instance);
        let label = format!("label={label}");
        let list = [
            "ps",
            "--quiet",
            "--no-trunc",
            "--filter",
            &ours,
            "--filter",
            &label,
        ];
        let all = docker(&[&list, which].concat());
        all.lines().map(Into::into).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some((_, running)) = self.agent.take() {
            running.abort();
        }
        let containers = [
            self.containers(),
            self.labelled("dev.fairway.sandbox", &["--all"]),
        ]
        .concat();
        if !containers.is_empty() {
            let ids: Vec<&str> = containers.iter().map(String::as_str).collect();
            docker(&[&["rm", "--force", "--volumes"], &ids[..]].concat());
        }
        for network in self.networks() {
            docker(&["network", "rm", &network]);
        }
        let folders = self.folders();
        for folder in &folders {
            docker(&["volume", "rm", folder]);
        }
        docker(&["rmi", &self.registry.image().to_string()]);
        self.remove_packet_filter();
    }
}

/// A web pod that runs a shell script.
pub(crate) fn web(registry: &Registry, script: &str) -> PodSpec {
    PodSpec {
        id: PodId::generate(),
        app: AppId::generate(),
        app_name: "shop".parse().unwrap(),
        name: "web.1".into(),
        process_type: "web".parse().unwrap(),
        release: 1,
        image: registry.image(),
        command: Some(["sh", "-c", script].map(Into::into).into()),
        entrypoint: None,
        env: [("PORT".into(), "8080".to_owned().into())].into(),
        resources: Resources {
            memory_bytes: 64 << 20,
            cpu_millis: 1_000,
            pids: 64,
        },
        disk_bytes: None,
        priority: Default::default(),
        port: Some(8080),
        checks: Some(Checks::for_port()),
        stop: StopPolicy {
            signal: "SIGTERM".into(),
            grace_secs: 10,
        },
        restart: RestartPolicy::Always,
        time_to_live_secs: None,
        attach: None,
        sidecars: Default::default(),
        mounts: vec![],
        files: Default::default(),
    }
}

/// Runs the engine's own client; gives what it printed, whether it succeeded or not.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker")
        .args(args)
        .output()
        .expect("these tests need docker");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) async fn within<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it takes too long")
}
