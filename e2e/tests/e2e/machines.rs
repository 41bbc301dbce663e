//! Four machines in four zones, under all that happens to machines, while visitors ask two apps
//! without a pause. Started once, since engines take long to start; the chapters follow each other.
//!
//! The first machine is the controller's own; the fourth stands behind a router that translates
//! addresses; a second router runs on the third. Every request is counted ([`Load`]): none may be
//! lost but while a chapter says so.

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context, ensure};
use fairway_api::{
    dynos::{Dyno, DynoState},
    machines::NodeState,
    network::VXLAN_PORT_DEFAULT,
};
use fairway_e2e::{JoinedNode, Load, Machines, Nat, Platform, PodContainer, Repository};

use crate::{
    cluster::{node, nodes},
    push::wait,
};

#[path = "machines/agents.rs"]
mod agents;
#[path = "machines/controller.rs"]
mod controller;
#[path = "machines/links.rs"]
mod links;
#[path = "machines/orders.rs"]
mod orders;
#[path = "machines/power.rs"]
mod power;
#[path = "machines/reached.rs"]
mod reached;

type Chapter = fn(&mut Cluster<'_>) -> anyhow::Result<()>;

/// In this order. The test's name is made of theirs, so that a filter picks single ones.
const CHAPTERS: &[(&str, Chapter)] = &[
    ("reached", reached::behind_nat),
    ("killed", agents::killed),
    ("frozen", agents::frozen),
    ("cut", links::cut),
    ("drained", orders::drained_in_a_deployment),
    ("scaled", orders::scaled),
    ("engines", power::engine),
    ("rebooted", power::reboot),
    ("braked", links::all_at_once),
    ("alone", controller::away),
];

/// The apps, with the number of their pods.
const APPS: [(&str, usize); 2] = [("alpha", 4), ("beta", 2)];
/// The port that visitors' app listens on.
const SERVER: &str = r#"import http.server, os, signal, threading, time

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/slow/"):
            time.sleep(0.5)
        here = self.connection.getsockname()[0]
        words = os.environ["FAIRWAY_APP"], os.environ["FAIRWAY_RELEASE"], here, self.path
        data = " ".join(words).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_GET = do_POST = answer
    def log_message(self, *arguments):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

server = Server(("0.0.0.0", int(os.environ["PORT"])), Page)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening as", os.environ["DYNO"], flush=True)
server.serve_forever()
"#;

/// The test's name.
pub(crate) fn name() -> String {
    let names: Vec<&str> = CHAPTERS.iter().map(|(name, _)| *name).collect();
    format!("machines_{}", names.join("_"))
}

/// All machines with their agents, the apps, and their visitors.
struct Cluster<'a> {
    load: Load,
    platform: Platform,
    /// "two", "three" and "four".
    joined: Vec<JoinedNode<'a>>,
    alpha: Repository,
    /// The router on "three".
    elsewhere: SocketAddr,
}

/// Plays the chapters that the filter names, as `cut` or `cut_drained`; all, if it names none.
pub(crate) fn play(filter: Option<&str>) -> anyhow::Result<()> {
    let machines = Machines::start(3)?;
    let _nat = Nat::hide(machines.get(2), VXLAN_PORT_DEFAULT)?;
    let mut cluster = Cluster::start(&machines)?;
    let names = |filter: &str, name: &str| filter.contains(name) || name.contains(filter);
    let named = |name: &str| filter.is_some_and(|filter| names(filter, name));
    let any = CHAPTERS.iter().any(|(name, _)| named(name));
    for (name, chapter) in CHAPTERS.iter().filter(|(name, _)| !any || named(name)) {
        let began = Instant::now();
        let played = chapter(&mut cluster).and_then(|()| cluster.load.judge());
        played.with_context(|| format!("in the chapter {name}\n{}", cluster.told()))?;
        crate::note(&format!("{name}: {:.1} s", began.elapsed().as_secs_f32()));
    }
    crate::note(&format!("{} requests", cluster.load.count()));
    let began = Instant::now();
    drop(cluster);
    crate::note(&format!(
        "apps are down: {:.1} s",
        began.elapsed().as_secs_f32()
    ));
    Ok(())
}

impl<'a> Cluster<'a> {
    fn start(machines: &'a Machines) -> anyhow::Result<Self> {
        let platform = Platform::start_on_wire(machines.host(), &["--node-name", "one"])?;
        platform.operator_ok(&["nodes:label", "one", "zone=a"])?;
        let behind = machines.get(2).address().to_string();
        let joins = [
            ("two", "b", None),
            ("three", "c", None),
            ("four", "d", Some(behind)),
        ];
        let mut joined = vec![];
        for (index, (name, zone, underlay)) in joins.into_iter().enumerate() {
            let command = platform.operator_ok(&["node", "token", "--ttl", "10m"])?;
            let mut flags = vec!["--name", name, "--zone", zone];
            if let Some(address) = &underlay {
                flags.extend(["--underlay", address]);
            }
            joined.push(JoinedNode::join(machines.get(index), &command, &flags)?);
        }
        let ready = wait("all machines are ready", || {
            let nodes = nodes(&platform)?;
            let ready = nodes.iter().filter(|it| it.state == NodeState::Ready);
            Ok(ready.count() == 4)
        });
        ready.with_context(|| joined.iter().map(JoinedNode::log).collect::<String>())?;
        let alpha = deployed(&platform, "alpha")?;
        deployed(&platform, "beta")?;
        platform.operator_ok(&["nodes:label", "three", "router=yes"])?;
        let elsewhere = joined[index("three")].start_router()?;
        let apps = APPS.map(|(app, _)| app);
        let cluster = Self {
            load: Load::begin(&[platform.addresses().http, elsewhere], &apps),
            platform,
            joined,
            alpha,
            elsewhere,
        };
        for (app, count) in APPS {
            cluster.scale(app, count)?;
        }
        cluster.settled(&[])?;
        cluster.load.flows()?;
        Ok(cluster)
    }

    /// A machine that joined.
    fn joined(&self, name: &str) -> &JoinedNode<'a> {
        &self.joined[index(name)]
    }

    fn joined_mut(&mut self, name: &str) -> &mut JoinedNode<'a> {
        &mut self.joined[index(name)]
    }

    fn scale(&self, app: &str, count: usize) -> anyhow::Result<()> {
        let count = format!("web={count}");
        self.platform.app_ok(&["ps:scale", &count, "-a", app])?;
        Ok(())
    }

    /// Waits until a machine is in this state.
    fn reaches(&self, name: &str, state: NodeState) -> anyhow::Result<()> {
        wait(&format!("{name} is {state}"), || {
            Ok(node(&self.platform, name)?.state == state)
        })
    }

    fn dynos(&self, app: &str) -> anyhow::Result<Vec<Dyno>> {
        let text = self.platform.app_ok(&["ps", "-a", app, "--json"])?;
        let mut dynos: Vec<Dyno> = serde_json::from_str(&text)?;
        dynos.retain(|it| it.process_type == "web");
        Ok(dynos)
    }

    /// The pods of alpha on a machine.
    fn on(&self, name: &str) -> anyhow::Result<Vec<Dyno>> {
        let mut dynos = self.dynos("alpha")?;
        dynos.retain(|it| it.node.as_ref().is_some_and(|node| node.as_str() == name));
        Ok(dynos)
    }

    /// Waits until both apps have their pods, all of them up and none of them on these machines.
    fn settled(&self, without: &[&str]) -> anyhow::Result<()> {
        for (app, count) in APPS {
            self.has(app, count, without)?;
        }
        Ok(())
    }

    fn has(&self, app: &str, count: usize, without: &[&str]) -> anyhow::Result<()> {
        wait(&format!("{app} has {count} pods up"), || {
            let dynos = self.dynos(app)?;
            let elsewhere = |it: &&Dyno| {
                let node = it.node.as_ref().map(|node| node.as_str());
                node.is_none_or(|node| !without.contains(&node))
            };
            let (good, others): (Vec<_>, Vec<_>) = (dynos.iter().filter(elsewhere))
                .partition(|it| it.state == DynoState::Up && !it.superseded);
            // Nobody knows of a machine that is away whether its pods have stopped.
            let left = dynos.iter().filter(|it| !elsewhere(it));
            let gone = left.clone().all(|it| it.state == DynoState::Stopping);
            Ok(good.len() == count && others.is_empty() && gone)
        })
    }

    /// Makes sure that a machine has a pod of alpha, which answers.
    fn populate(&self, name: &str) -> anyhow::Result<()> {
        if self.on(name)?.is_empty() {
            // Where the most are, one is to spare.
            let dynos = self.dynos("alpha")?;
            let crowd = |it: &&Dyno| dynos.iter().filter(|other| other.node == it.node).count();
            let spare = dynos.iter().max_by_key(crowd).context("alpha has pods")?;
            self.platform
                .app_ok(&["ps:restart", &spare.name, "-a", "alpha"])?;
            wait(&format!("{name} has a pod of alpha"), || {
                Ok(!self.on(name)?.is_empty())
            })?;
            self.settled(&[])?;
        }
        let subnet = self.joined(name).subnet()?;
        self.load.until_from("alpha", subnet)
    }

    /// Every container of a pod on the machines that joined.
    fn pods(&self) -> anyhow::Result<Vec<PodContainer>> {
        let all: Result<Vec<_>, _> = self.joined.iter().map(JoinedNode::pods).collect();
        Ok(all?.concat())
    }

    /// What explains a failure: the machines, the pods, and what all have said.
    fn told(&self) -> String {
        let mut text = self.platform.operator_ok(&["nodes"]).unwrap_or_default();
        for (app, _) in APPS {
            let pods = self.platform.app_ok(&["ps", "-a", app]);
            text.push_str(&pods.unwrap_or_else(|error| error.to_string()));
        }
        text.push_str(&self.platform.log_tail());
        for node in &self.joined {
            text.push_str("\n\n");
            text.push_str(&node.log());
        }
        text
    }
}

fn index(name: &str) -> usize {
    let names = ["two", "three", "four"];
    names.iter().position(|it| *it == name).unwrap_or_default()
}

fn deployed(platform: &Platform, app: &str) -> anyhow::Result<Repository> {
    let repository = platform.create_app(app)?;
    repository.write(
        "Dockerfile",
        "FROM fairway/run:bookworm\nWORKDIR /app\nCOPY . .\nCMD [\"python3\", \"server.py\"]\n",
    )?;
    repository.write("server.py", SERVER)?;
    repository.write(".dockerignore", ".git\n")?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    Ok(repository)
}
