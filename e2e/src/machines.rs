//! Several machines on one: each a network namespace with a container engine of its own, joined by
//! a bridge. Everything is removed when dropped, also after a failed test.
//!
//! A namespace is entered with `nsenter --net=`: `ip netns exec` would hide the control groups
//! from the engine. Needs root, iproute2, iptables and `dockerd`.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// How long an engine may take to answer.
const ENGINE_START_MAX: Duration = Duration::from_secs(120);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The addresses of the wires (RFC 2544, for tests): nobody routes them.
const WIRES: [u8; 2] = [198, 18];

/// Machines on one wire.
#[derive(Debug)]
pub struct Machines {
    machines: Vec<Machine>,
    /// The wire as a bridge of this machine, which is on it with [`Machines::host`].
    wire: String,
    number: u8,
    home: TempDir,
}

/// One machine.
#[derive(Debug)]
pub struct Machine {
    /// Holds the namespace open.
    holder: Mutex<Child>,
    engine: Mutex<Child>,
    pub(crate) home: PathBuf,
    pub(crate) place: Place,
}

/// Where a machine is plugged in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) wire: String,
    /// This machine's end of the cable to it.
    pub(crate) cable: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) gateway: Ipv4Addr,
}

impl Machines {
    /// Starts machines, each with an engine that answers.
    pub fn start(count: u8) -> anyhow::Result<Self> {
        // Sockets in it have long names, and a socket's path has at most 108 bytes.
        let home = tempfile::Builder::new().prefix("fw").tempdir_in("/tmp")?;
        let number = free_wire()?;
        let mut machines = Self {
            machines: vec![],
            wire: format!("fwt{number}"),
            number,
            home,
        };
        machines.lay_wire()?;
        for index in 1..=count {
            let machine = machines.machine(index)?;
            machines.machines.push(machine);
        }
        for machine in &machines.machines {
            machine.wait_for_engine()?;
        }
        Ok(machines)
    }

    /// This machine's own address on the wire: where a controller and a registry can listen.
    pub fn host(&self) -> Ipv4Addr {
        self.address(254)
    }

    /// A machine, counted from 0.
    pub fn get(&self, index: usize) -> &Machine {
        &self.machines[index]
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(WIRES[0], WIRES[1], self.number, last)
    }

    fn lay_wire(&self) -> anyhow::Result<()> {
        let (wire, host) = (self.wire.as_str(), format!("{}/24", self.host()));
        run(&["ip", "address", "add", &host, "dev", wire])?;
        run(&["ip", "link", "set", wire, "up"])?;
        // This machine's engine drops what it does not know, also between ports of a bridge.
        for rule in self.rules() {
            let insert = ["iptables", "--wait", "--insert", "DOCKER-USER"];
            run(&[&insert[..], &rule].concat())?;
        }
        Ok(())
    }

    fn rules(&self) -> [[&str; 4]; 2] {
        let wire = self.wire.as_str();
        ["-i", "-o"].map(|way| [way, wire, "-j", "ACCEPT"])
    }

    fn machine(&self, index: u8) -> anyhow::Result<Machine> {
        let home = self.home.path().join(index.to_string());
        fs::create_dir(&home)?;
        let place = Place {
            wire: self.wire.clone(),
            cable: format!("{}-{index}", self.wire),
            address: self.address(index),
            gateway: self.host(),
        };
        let (holder, engine) = switch_on(&place, &home)?;
        Ok(Machine {
            holder: Mutex::new(holder),
            engine: Mutex::new(engine),
            home,
            place,
        })
    }
}

/// A network namespace that is plugged in, and an engine in it that starts.
pub(crate) fn switch_on(place: &Place, home: &Path) -> anyhow::Result<(Child, Child)> {
    let holder = namespace()?;
    let pid = holder.id();
    let started = place.plug_in(pid).and_then(|()| engine(pid, home));
    match started {
        Ok(engine) => Ok((holder, engine)),
        Err(error) => {
            end(holder);
            Err(error)
        }
    }
}

impl Place {
    /// Lays a cable from the wire into the namespace of a process.
    pub(crate) fn plug_in(&self, pid: u32) -> anyhow::Result<()> {
        let (cable, pid_text) = (self.cable.as_str(), pid.to_string());
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", &pid_text];
        run(&[&["ip", "link", "add", cable][..], &peer].concat())?;
        run(&["ip", "link", "set", cable, "master", &self.wire, "up"])?;
        let (address, gateway) = (format!("{}/24", self.address), self.gateway.to_string());
        for words in [
            &["ip", "link", "set", "lo", "up"][..],
            &["ip", "address", "add", &address, "dev", "eth0"],
            &["ip", "link", "set", "eth0", "up"],
            &["ip", "route", "add", "default", "via", &gateway],
        ] {
            run_in(pid, words)?;
        }
        Ok(())
    }
}

impl Machine {
    /// Its address on the wire.
    pub fn address(&self) -> Ipv4Addr {
        self.place.address
    }

    /// Its engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.home.join("docker.sock")
    }

    /// A command that runs in its network.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let [nsenter, namespace] = nsenter(self.holder().id());
        let mut command = Command::new(nsenter);
        command.arg(namespace).arg(program);
        command
    }

    /// Its engine's client.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let socket = format!("unix://{}", self.socket().display());
        run(&[&["docker", "--host", &socket], arguments].concat())
    }

    /// Pulls the cable, or plugs it in again.
    pub fn connect(&self, connected: bool) -> anyhow::Result<()> {
        let state = if connected { "up" } else { "down" };
        run(&["ip", "link", "set", &self.place.cable, state]).map(drop)
    }

    pub(crate) fn holder(&self) -> MutexGuard<'_, Child> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn engine(&self) -> MutexGuard<'_, Child> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_for_engine(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.docker(&["version"]).is_err() {
            if let Some(status) = self.engine().try_wait()? {
                bail!("the engine ended with {status}:\n{}", self.engine_log());
            }
            if started.elapsed() > ENGINE_START_MAX {
                bail!("the engine does not answer:\n{}", self.engine_log());
            }
            pause();
        }
        Ok(())
    }

    fn engine_log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }
}

/// Starts an engine of its own: nothing of it is shared with this machine's.
pub(crate) fn engine(pid: u32, home: &Path) -> anyhow::Result<Child> {
    let log = fs::File::create(home.join("log"))?;
    let [nsenter, namespace] = nsenter(pid);
    let path = |name: &str| home.join(name).display().to_string();
    Command::new(nsenter)
        .args([namespace.as_str(), "dockerd"])
        .args(["--host", &format!("unix://{}", path("docker.sock"))])
        .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
        .args(["--pidfile", &path("pid")])
        .args(["--cgroup-parent", &format!("/{}", control_group(home))])
        .args([
            "--insecure-registry",
            &format!("{}.{}.0.0/15", WIRES[0], WIRES[1]),
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start dockerd")
}

/// `/tmp/fwABC/1` as `fairway-test-tmp-fwABC-1`.
fn control_group(home: &Path) -> String {
    format!(
        "fairway-test{}",
        home.display().to_string().replace('/', "-")
    )
}

/// Containers leave their parent group behind, in each hierarchy or in the only one.
fn remove_control_groups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    for hierarchy in hierarchies
        .map(|entry| entry.path())
        .chain([root.to_owned()])
    {
        // Most have none of it.
        drop(fs::remove_dir(hierarchy.join(name)));
    }
}

/// Takes away what is mounted below a directory, the deepest first.
pub(crate) fn unmount_below(directory: &Path) {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = text.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<&str> = places
        .filter(|place| Path::new(place).starts_with(directory))
        .collect();
    below.sort_by_key(|place| std::cmp::Reverse(place.len()));
    for place in below {
        drop(run(&["umount", "--lazy", place]));
    }
}

fn nsenter(pid: u32) -> [String; 2] {
    ["nsenter".into(), format!("--net=/proc/{pid}/ns/net")]
}

/// A process that holds a network namespace of its own open.
pub(crate) fn namespace() -> anyhow::Result<Child> {
    let holder = Command::new("unshare")
        .args(["--net", "--", "sleep", "infinity"])
        .stdin(Stdio::null())
        .spawn()
        .context("start unshare")?;
    match own_namespace(holder.id()) {
        Ok(()) => Ok(holder),
        Err(error) => {
            end(holder);
            Err(error)
        }
    }
}

/// Waits until `unshare` has left our namespace.
fn own_namespace(pid: u32) -> anyhow::Result<()> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
    let ours = namespace("self")?;
    let started = Instant::now();
    while namespace(&pid.to_string())? == ours {
        if started.elapsed() > ENGINE_START_MAX {
            bail!("unshare does not leave the network namespace; this needs root");
        }
        pause();
    }
    Ok(())
}

/// Runs a command in the network namespace of a process.
pub(crate) fn run_in(pid: u32, words: &[&str]) -> anyhow::Result<String> {
    let [nsenter, namespace] = nsenter(pid);
    run(&[&[nsenter.as_str(), namespace.as_str()], words].concat())
}

/// Makes a wire that no other test uses: the kernel lets only one have the name.
fn free_wire() -> anyhow::Result<u8> {
    let first = std::process::id() % 250;
    let numbers = (0..250_u32).map(|turn| (first + turn) % 250);
    let mut numbers = numbers.filter_map(|number| u8::try_from(number).ok());
    let make = |number: &u8| {
        let name = format!("fwt{number}");
        run(&["ip", "link", "add", &name, "type", "bridge"]).is_ok()
    };
    numbers
        .find(make)
        .context("cannot make a bridge; this needs root and iproute2")
}

impl Drop for Machines {
    fn drop(&mut self) {
        for rule in self.rules() {
            let delete = ["iptables", "--wait", "--delete", "DOCKER-USER"];
            drop(run(&[&delete[..], &rule].concat()));
        }
        let machines = std::mem::take(&mut self.machines);
        std::thread::scope(|scope| {
            for machine in machines {
                scope.spawn(move || drop(machine));
            }
        });
        drop(run(&["ip", "link", "delete", &self.wire]));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its containers first: they would outlive it.
        let all = self.docker(&["ps", "--all", "--quiet"]).unwrap_or_default();
        let ids: Vec<&str> = all.lines().collect();
        if !ids.is_empty() {
            drop(self.docker(&[&["rm", "--force"], &ids[..]].concat()));
        }
        let engine = self.engine.get_mut();
        let engine = engine.unwrap_or_else(PoisonError::into_inner);
        // It ends its containerd and unmounts its layers.
        drop(run(&["kill", "-TERM", &engine.id().to_string()]));
        let started = Instant::now();
        while matches!(engine.try_wait(), Ok(None)) && started.elapsed() < ENGINE_START_MAX {
            pause();
        }
        drop(engine.kill());
        drop(engine.wait());
        let holder = self.holder.get_mut();
        let holder = holder.unwrap_or_else(PoisonError::into_inner);
        drop(holder.kill());
        drop(holder.wait());
        drop(run(&["ip", "link", "delete", &self.place.cable]));
        // An engine that was killed once leaves some behind, and then the directory could not go.
        unmount_below(&self.home);
        remove_control_groups(&control_group(&self.home));
    }
}

fn end(mut process: Child) {
    drop(process.kill());
    drop(process.wait());
}

/// Runs a command to its end; what it printed, or an error with all that it said.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", words[0]))?;
    if !status.success() {
        bail!("{words:?}: {}", String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pause between two looks at a condition"
)]
pub(crate) fn pause() {
    std::thread::sleep(LOOK_EVERY);
}
