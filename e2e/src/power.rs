//! Engines that are killed, and machines that lose their power and get it back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    Machine,
    machines::{engine, pause, run, switch_on, unmount_below},
};

/// How long the kernel may take to end killed processes.
const DEATH_MAX: Duration = Duration::from_secs(30);

impl Machine {
    /// Kills its engine with SIGKILL, and what the engine takes along. Containers go on without it.
    pub fn kill_engine(&self) -> anyhow::Result<()> {
        let mut engine = self.engine();
        engine.kill()?;
        engine.wait()?;
        // Left there it would be taken for running where nobody collects ended processes.
        let containerd = self.home.join("exec/containerd/containerd.pid");
        let pid = fs::read_to_string(&containerd)?;
        drop(run(&["kill", "-KILL", pid.trim()]));
        Ok(fs::remove_file(containerd)?)
    }

    /// Starts its engine again and waits until it answers. As any engine without live-restore, it
    /// ends what it finds running.
    pub fn start_engine(&self) -> anyhow::Result<()> {
        let started = engine(self.holder().id(), &self.home)?;
        *self.engine() = started;
        self.wait_for_engine()
    }

    /// Takes its power away: everything in it ends at once, and only what was on its disk stays.
    /// An agent in it is a process of the caller's, who has to wait for it.
    pub fn power_off(&self) -> anyhow::Result<()> {
        let namespace = fs::read_link(format!("/proc/{}/ns/net", self.holder().id()))?;
        let started = Instant::now();
        loop {
            let all = processes_of(&namespace);
            if all.is_empty() {
                break;
            }
            let all: Vec<String> = all.iter().map(u32::to_string).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            // Some may have ended meanwhile.
            drop(run(&[&["kill", "-KILL"], &all[..]].concat()));
            drop(self.engine().wait());
            drop(self.holder().wait());
            if started.elapsed() > DEATH_MAX {
                bail!("killed processes are still there: {all:?}");
            }
            pause();
        }
        unmount_below(&self.home);
        // What a machine has under /run is gone with its memory.
        fs::remove_dir_all(self.home.join("exec"))?;
        drop(fs::remove_file(self.home.join("pid")));
        // It went with its other end, as soon as the kernel came to it.
        drop(run(&["ip", "link", "delete", &self.place.cable]));
        Ok(())
    }

    /// Gives it its power back, and waits until its engine answers.
    pub fn power_on(&self) -> anyhow::Result<()> {
        let (holder, engine) = switch_on(&self.place, &self.home)?;
        *self.holder() = holder;
        *self.engine() = engine;
        self.wait_for_engine()
    }
}

/// The processes in a network namespace, and what came of them: containers have their own.
fn processes_of(namespace: &Path) -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: BTreeMap<u32, u32> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let is_in =
        |pid: &u32| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|its| its == namespace);
    let mut all: BTreeSet<u32> = parents.keys().copied().filter(is_in).collect();
    loop {
        let children = parents.iter().filter(|(_, parent)| all.contains(parent));
        let children: BTreeSet<u32> = children.map(|(pid, _)| *pid).collect();
        if children.is_subset(&all) {
            return all;
        }
        all.extend(children);
    }
}

/// The parent of a process that has not ended (proc_pid_stat(5)).
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold anything, parentheses too.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let state = words.next()?;
    (state != "Z" && state != "X").then(|| words.next()?.parse().ok())?
}
