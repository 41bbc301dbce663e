//! A machine that joins a cluster: the real agent in a process and a data directory of its own,
//! beside the engine of one of [`crate::Machines`].

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    Machine,
    load::subnet_of,
    machines::pause,
    platform::{program, run},
};

/// Where a router listens unless it is told otherwise.
const ROUTER_PORT: u16 = 8080;
/// How long a router may take until it listens.
const ROUTER_START_MAX: Duration = Duration::from_secs(30);
/// How often a list of containers is asked for anew when one of them goes before it was looked at.
const LOOKS_MAX: usize = 5;

/// A container of a pod, and when it was started last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodContainer {
    pub id: String,
    pub app: String,
    pub started_at: String,
}

impl PodContainer {
    fn read(line: &str) -> Self {
        let mut words = line.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        Self {
            id: word(),
            app: word(),
            started_at: word(),
        }
    }
}

/// A machine that joined, or tries to.
#[derive(Debug)]
pub struct JoinedNode<'a> {
    machine: &'a Machine,
    home: TempDir,
    process: Option<Child>,
    router: Option<Child>,
}

impl<'a> JoinedNode<'a> {
    /// Runs the command that `fairway node token` printed, with further arguments.
    pub fn join(machine: &'a Machine, command: &str, more: &[&str]) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("fairway-node-").tempdir()?;
        let mut node = Self {
            machine,
            home,
            process: None,
            router: None,
        };
        let words = command.split_whitespace().skip(1);
        let words: Vec<&str> = words.chain(more.iter().copied()).collect();
        node.spawn(&words)?;
        Ok(node)
    }

    /// Starts its agent again.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.spawn(&["node", "run"])
    }

    fn spawn(&mut self, words: &[&str]) -> anyhow::Result<()> {
        let words = words.iter().copied().map(OsStr::new);
        let (data, engine) = (self.data(), self.machine.socket());
        let more = ["--data".as_ref(), data.as_os_str(), "--engine".as_ref()];
        let words: Vec<&OsStr> = words.chain(more).chain([engine.as_os_str()]).collect();
        self.process = Some(self.fairway(&words)?);
        Ok(())
    }

    /// Starts a router on the machine, as an operator lets it; where it listens.
    pub fn start_router(&mut self) -> anyhow::Result<SocketAddr> {
        let (node, data) = (self.data(), self.home.path().join("router"));
        let words = [
            "router".as_ref(),
            "--node".as_ref(),
            node.as_os_str(),
            "--data".as_ref(),
            data.as_os_str(),
        ];
        self.router = Some(self.fairway(&words)?);
        let address = SocketAddr::from((self.machine.address(), ROUTER_PORT));
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if started.elapsed() > ROUTER_START_MAX {
                bail!("the router does not listen:\n{}", self.log());
            }
            pause();
        }
        Ok(address)
    }

    fn fairway(&self, words: &[&OsStr]) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"))?;
        self.machine
            .command(program("fairway"))
            .args(words)
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start target/debug/fairway; build the workspace first")
    }

    /// How its router ended; `None` while it runs.
    pub fn router_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let router = self.router.as_mut().context("no router was started")?;
        Ok(router.try_wait()?)
    }

    /// Kills its agent with SIGKILL. Its pods go on.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Asks its agent to stop, and waits. Its pods go on.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            run(Command::new("kill").args(["-TERM", &process.id().to_string()]))?;
            process.wait()?;
        }
        Ok(())
    }

    /// How its agent ended; `None` while it runs.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let process = self.process.as_mut().context("no agent was started")?;
        Ok(process.try_wait()?)
    }

    /// The agent's directory.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// What its agent has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Stops its agent in its tracks with SIGSTOP, or lets it go on.
    pub fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("no agent was started")?;
        let signal = if frozen { "-STOP" } else { "-CONT" };
        run(Command::new("kill").args([signal, &process.id().to_string()])).map(drop)
    }

    /// The machine that it runs on.
    pub fn machine(&self) -> &'a Machine {
        self.machine
    }

    /// The running containers of its pods, without networks that are kept ready.
    pub fn pods(&self) -> anyhow::Result<Vec<PodContainer>> {
        let format = "{{.Id}} {{index .Config.Labels \"dev.fairway.app\"}} {{.State.StartedAt}}";
        for _ in 0..LOOKS_MAX {
            let filter = ["ps", "--quiet", "--filter", "label=dev.fairway.pod"];
            let ids = self.machine.docker(&filter)?;
            let ids: Vec<&str> = ids.lines().collect();
            if ids.is_empty() {
                return Ok(vec![]);
            }
            let inspect = [&["inspect", "--format", format], &ids[..]].concat();
            if let Ok(text) = self.machine.docker(&inspect) {
                let mut pods: Vec<_> = text.lines().map(PodContainer::read).collect();
                pods.sort();
                return Ok(pods);
            }
        }
        bail!("containers go as fast as one can look")
    }

    /// Runs a Python script in one of its pods of an app; what it printed.
    pub fn python(&self, app: &str, script: &str) -> anyhow::Result<String> {
        let pods = self.pods()?;
        let pod = pods.iter().find(|pod| pod.app == app);
        let pod = pod.with_context(|| format!("no pod of {app} runs here"))?;
        let exec = ["exec", &pod.id, "python3", "-c", script];
        self.machine.docker(&exec)
    }

    /// The first three numbers of its pods' addresses.
    pub fn subnet(&self) -> anyhow::Result<[u8; 3]> {
        #[derive(Deserialize)]
        struct Device {
            ifname: String,
            addr_info: Vec<Address>,
        }
        #[derive(Deserialize)]
        struct Address {
            local: std::net::Ipv4Addr,
        }
        let mut command = self.machine.command("ip");
        let output = run(command.args(["-json", "-4", "address", "show"]))?;
        let devices: Vec<Device> = serde_json::from_slice(&output.stdout)?;
        let bridge = devices.iter().find(|it| it.ifname.starts_with("fwb"));
        let address = bridge.and_then(|it| it.addr_info.first());
        let address = address.context("the machine has no bridge of the pod network")?;
        Ok(subnet_of(address.local))
    }
}

impl Drop for JoinedNode<'_> {
    fn drop(&mut self) {
        if let Some(mut router) = self.router.take() {
            drop(router.kill());
            drop(router.wait());
        }
        if self.stop().is_err() {
            self.kill();
        }
    }
}

/// Changes a JSON file as an accident or a long time would.
///
/// # Errors
/// When the file cannot be read or written, or is no JSON.
pub fn change_json(path: &Path, change: impl FnOnce(&mut serde_json::Value)) -> anyhow::Result<()> {
    let mut value = serde_json::from_slice(&fs::read(path)?)?;
    change(&mut value);
    Ok(fs::write(path, serde_json::to_vec(&value)?)?)
}
