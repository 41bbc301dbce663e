//! The pod network over two machines, each with an engine and an agent of its own.

use std::{
    net::Ipv4Addr,
    process::{Child, Stdio},
    time::Duration,
};

use fairway_api::{
    client::Client,
    ids::{AppId, PodId},
    network::{AppNetwork, NetworkPlan, Peer, PodPlace, Subnet, VXLAN_PORT_DEFAULT},
    nodes::NodePlan,
    pods::{PodSpec, PodStatus},
    secret::Secret,
};
use fairway_node::{Agent, Config};
use tokio_util::sync::CancellationToken;

use crate::{
    controller::{Controller, TOKEN},
    machine::{web, within},
    machines::{Machine, Machines},
    registry::Registry,
};

/// What an agent in another namespace is told: its machine's number, its directory, the
/// controller's URL and the engine's socket.
const AGENT: &str = "FAIRWAY_TEST_AGENT";
const INSTANCE: &str = "test-cluster";

/// This program again, in the namespace of one of the machines: not a test.
#[tokio::test]
#[ignore = "the tests of this file run it themselves"]
async fn agent() {
    let Ok(told) = std::env::var(AGENT) else {
        return;
    };
    let told: Vec<&str> = told.split(' ').collect();
    let [number, dir, base, socket] = told[..] else {
        panic!("{told:?}");
    };
    let config = Config {
        disk_reserve: Default::default(),
        description: fairway_node::Description::default(),
        membership: None,
        node: format!("n{number}").parse().unwrap(),
        instance: INSTANCE.into(),
        data_dir: dir.into(),
        client: Client::new(base.parse().unwrap(), Some(Secret::new(TOKEN))),
        docker_socket: socket.into(),
        underlay: None,
    };
    let agent = Agent::bind(config).await.unwrap();
    agent.run(CancellationToken::new()).await.unwrap();
}

/// A machine's agent and who gives it orders.
struct Node {
    number: u8,
    controller: Controller,
    agent: Child,
    generation: u64,
    _dir: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.agent.kill());
        drop(self.agent.wait());
    }
}

impl Node {
    async fn start(machines: &Machines, number: u8) -> Self {
        let machine = machines.get(number.into());
        let controller = Controller::start_at(machines.host()).await;
        let dir = tempfile::tempdir().unwrap();
        let told = [
            number.to_string(),
            dir.path().display().to_string(),
            controller.client.base().to_string(),
            machine.socket().display().to_string(),
        ];
        let agent = machine
            .command(std::env::current_exe().unwrap())
            .args(["--exact", "cluster::agent", "--ignored", "--nocapture"])
            .env(AGENT, told.join(" "))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            number,
            controller,
            agent,
            generation: 0,
            _dir: dir,
        }
    }

    fn plan(&mut self, registry: &Registry, network: &NetworkPlan, pods: &[&PodSpec]) {
        self.generation += 1;
        self.controller.shared.plan.send_replace(Some(NodePlan {
            node: format!("n{}", self.number).parse().unwrap(),
            generation: self.generation,
            registry: registry.access(),
            pods: pods.iter().map(|&pod| pod.clone()).collect(),
            keep_images: vec![],
            network: Some(network.clone()),
            volumes: vec![],
        }));
    }

    /// Waits until the pod is ready; its address.
    async fn until_ready(&self, pod: &PodSpec) -> Ipv4Addr {
        let mut reports = self.controller.shared.reports.subscribe();
        let find = |status: &&PodStatus| status.id == pod.id && status.is_ready();
        let last = |reports: &Vec<fairway_api::nodes::NodeStatus>| {
            let status = reports.last()?.pods.iter().find(find)?;
            status.address?.to_string().parse().ok()
        };
        let ready = reports.wait_for(|reports| last(reports).is_some());
        let found = tokio::time::timeout(Duration::from_secs(60), ready).await;
        match found {
            Ok(found) => last(&found.unwrap()).unwrap(),
            Err(_) => panic!("{:#?}", self.controller.shared.reports.borrow().last()),
        }
    }
}

fn network(machines: &Machines, number: u8) -> NetworkPlan {
    let subnet = |number: u8| -> Subnet { format!("10.64.{number}.0/24").parse().unwrap() };
    let other = 1 - number;
    NetworkPlan {
        pods: "10.64.0.0/11".parse().unwrap(),
        subnet: subnet(number),
        vni: 77,
        vxlan_port: VXLAN_PORT_DEFAULT,
        peers: vec![Peer {
            node: format!("n{other}").parse().unwrap(),
            subnet: subnet(other),
            underlay: machines.get(other.into()).address().into(),
        }],
        host_ports: vec![],
        apps: vec![],
    }
}

/// An app with one pod on this machine (no address) or another.
fn app(pods: &[(&PodSpec, Option<Ipv4Addr>)]) -> AppNetwork {
    let place = |(pod, address): &(&PodSpec, Option<Ipv4Addr>)| PodPlace {
        pod: pod.id,
        process_type: pod.process_type.clone(),
        name: pod.name.clone(),
        address: *address,
        port: pod.port,
        serves: true,
    };
    AppNetwork {
        app: pods[0].0.app,
        name: pods[0].0.app_name.clone(),
        admits: vec![],
        external: vec![],
        pods: pods.iter().map(place).collect(),
    }
}

/// Runs a script in a pod; what it printed.
fn exec(machine: &Machine, pod: &PodSpec, script: &str) -> String {
    let filter = format!("label=dev.fairway.pod={}", pod.id);
    let container = machine
        .docker(&["ps", "--quiet", "--filter", &filter])
        .unwrap();
    machine
        .docker(&["exec", &container, "sh", "-c", script])
        .unwrap()
}

fn fetch(address: Ipv4Addr) -> String {
    format!(
        "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} 8080 2>/dev/null | tail -n 1 | \
         grep . || echo nobody"
    )
}

const FIND: &str = "nslookup web.shop.internal 2>/dev/null | sed -n '/^Name/,$s/^Address.*: //p'";

/// Looks again until the pod prints what is wanted: rules follow addresses a moment later.
async fn until_prints(machine: &Machine, pod: &PodSpec, script: &str, wanted: &str) {
    within(async {
        while exec(machine, pod, script) != wanted {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn pods_of_one_app_talk_across_machines_and_find_names_when_all_else_is_cut() {
    let machines = tokio::task::spawn_blocking(|| Machines::start(2))
        .await
        .unwrap()
        .unwrap();
    let registry = Registry::start_at(machines.host(), "cluster").await;
    let pod = |name: &str, app: AppId, app_name: &str| PodSpec {
        id: PodId::generate(),
        app,
        app_name: app_name.parse().unwrap(),
        name: name.into(),
        ..web(&registry, "exec httpd -f -h /www -p 8080")
    };
    let shop = AppId::generate();
    let (here, there) = (pod("web.1", shop, "shop"), pod("web.2", shop, "shop"));
    let stranger = pod("web.1", AppId::generate(), "other");
    let mut nodes = [
        Node::start(&machines, 0).await,
        Node::start(&machines, 1).await,
    ];
    let mut networks = [network(&machines, 0), network(&machines, 1)];
    nodes[0].plan(&registry, &networks[0], &[&here]);
    nodes[1].plan(&registry, &networks[1], &[&there, &stranger]);
    let at_here = nodes[0].until_ready(&here).await;
    let at_there = nodes[1].until_ready(&there).await;
    let at_stranger = nodes[1].until_ready(&stranger).await;
    networks[0].apps = vec![app(&[(&here, None), (&there, Some(at_there))])];
    networks[1].apps = vec![
        app(&[(&here, Some(at_here)), (&there, None)]),
        app(&[(&stranger, None)]),
    ];
    nodes[0].plan(&registry, &networks[0], &[&here]);
    nodes[1].plan(&registry, &networks[1], &[&there, &stranger]);
    let (first, second) = (machines.get(0), machines.get(1));

    until_prints(second, &there, &fetch(at_here), "hello").await;
    until_prints(first, &here, &fetch(at_there), "hello").await;
    // Another app: on the same machine, over the tunnel, and from the other side.
    assert_eq!(exec(second, &stranger, &fetch(at_there)), "nobody");
    assert_eq!(exec(second, &stranger, &fetch(at_here)), "nobody");
    assert_eq!(exec(first, &here, &fetch(at_stranger)), "nobody");
    // A router on any machine reaches every pod.
    let mut curl = second.command("curl");
    curl.args([
        "--silent",
        "--max-time",
        "5",
        &format!("http://{at_here}:8080/"),
    ]);
    let answer = curl.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "hello\n");
    // Both pods have the name, whoever asks; nobody else's pods know it.
    for (machine, pod) in [(first, &here), (second, &there)] {
        let found = exec(machine, pod, FIND);
        let mut found: Vec<&str> = found.lines().collect();
        found.sort_unstable();
        let mut both = [at_here.to_string(), at_there.to_string()];
        both.sort_unstable();
        assert_eq!(found, both);
    }

    // The cable and the controller go: names are still answered, and the pods are as they were.
    nodes[1].controller.shared.away.send_replace(true);
    first.connect(false).unwrap();
    assert_eq!(exec(second, &there, &fetch(at_here)), "nobody");
    assert_eq!(exec(second, &there, FIND).lines().count(), 2);
    assert_eq!(exec(second, &there, &fetch(at_there)), "hello");
    first.connect(true).unwrap();
    until_prints(second, &there, &fetch(at_here), "hello").await;
}
