//! A cgroup of our own around the containers of one Dockerfile build. The engine's build has a
//! setting for the memory of each container, but none for processes; their cgroup's parent has.
//!
//! ```text
//! cgroupfs driver  /sys/fs/cgroup/[pids/]fairway_INSTANCE_ID/CONTAINER         made here
//! systemd driver   /sys/fs/cgroup/[pids/]fairway_INSTANCE_ID.slice/...scope    made by systemd
//! ```
//!
//! It needs an engine on this machine and the right to make cgroups. Where either is missing the
//! build goes on without this limit, and the log says so.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bollard::models::{SystemInfo, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum};
use tokio::{process::Command, time::sleep};

/// Where the kernel shows cgroups.
const ROOT: &str = "/sys/fs/cgroup";
/// How often a cgroup is tried to be removed while the engine still ends the containers in it, and
/// the pause between two tries, in milliseconds.
const REMOVAL_TRIES: (u32, u64) = (100, 200);

/// How the engine and this machine keep cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cgroups {
    systemd: bool,
    /// Version 1 has a hierarchy per controller.
    version_1: bool,
}

/// The cgroup of one build. It has to be given to [`Self::remove`].
#[derive(Debug)]
pub(crate) struct BuildCgroup {
    cgroups: Cgroups,
    name: String,
    pids_max: u32,
}

impl Cgroups {
    /// What the engine says of itself; `None` for a kind that we do not know.
    pub(crate) fn of(info: &SystemInfo) -> Option<Self> {
        let systemd = match info.cgroup_driver? {
            SystemInfoCgroupDriverEnum::CGROUPFS => false,
            SystemInfoCgroupDriverEnum::SYSTEMD => true,
            _ => return None,
        };
        let version_1 = match info.cgroup_version? {
            SystemInfoCgroupVersionEnum::_1 => true,
            SystemInfoCgroupVersionEnum::_2 => false,
            _ => return None,
        };
        Some(Self { systemd, version_1 })
    }

    /// The folder with the files of the `pids` controller.
    fn pids_dir(self, name: &str) -> PathBuf {
        let root = Path::new(ROOT);
        match self.version_1 {
            true => root.join("pids").join(name),
            false => root.join(name),
        }
    }

    /// Removes what a builder of this instance left behind when it was killed. A cgroup with
    /// processes in it stays, since the kernel removes none.
    pub(crate) fn remove_leftovers(self, instance: &str) {
        let Ok(entries) = fs::read_dir(self.pids_dir("")) else {
            return;
        };
        let prefix = format!("fairway_{instance}_");
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) && !name.ends_with(".slice") {
                // Tried again at the next start.
                drop(self.remove_dirs(&name));
            }
        }
    }

    /// Removes a cgroup from every hierarchy: the engine makes it in those that we did not.
    fn remove_dirs(self, name: &str) -> io::Result<()> {
        let mut dirs = vec![Path::new(ROOT).join(name)];
        if self.version_1 {
            let hierarchies = fs::read_dir(ROOT)?.flatten();
            dirs = hierarchies.map(|entry| entry.path().join(name)).collect();
        }
        for dir in dirs {
            match fs::remove_dir(dir) {
                Err(error) if !is_absent(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl BuildCgroup {
    /// Makes a cgroup in which `pids_max` processes and threads may be at a time.
    pub(crate) async fn make(
        cgroups: Cgroups,
        instance: &str,
        pids_max: u32,
    ) -> anyhow::Result<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let suffix = if cgroups.systemd { ".slice" } else { "" };
        let cgroup = Self {
            cgroups,
            name: format!("fairway_{instance}_{}{suffix}", &id[..12]),
            pids_max,
        };
        let made = if cgroups.systemd {
            cgroup.start_slice().await
        } else {
            cgroup.make_dir()
        };
        if let Err(error) = made {
            cgroup.remove();
            return Err(error);
        }
        Ok(cgroup)
    }

    fn make_dir(&self) -> anyhow::Result<()> {
        if !self.cgroups.version_1 {
            // Its children have a controller only if the root hands it down.
            let handed_down = Path::new(ROOT).join("cgroup.subtree_control");
            fs::write(handed_down, "+pids").context("hand the pids controller down")?;
        }
        let dir = self.cgroups.pids_dir(&self.name);
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let limit = dir.join("pids.max");
        fs::write(&limit, self.pids_max.to_string())
            .with_context(|| format!("write {}", limit.display()))
    }

    /// Has systemd start a slice that goes away when it is stopped.
    async fn start_slice(&self) -> anyhow::Result<()> {
        let limit = self.pids_max.to_string();
        let bus = "org.freedesktop.systemd1";
        let call = ["call", bus, "/org/freedesktop/systemd1"];
        let method = ["org.freedesktop.systemd1.Manager", "StartTransientUnit"];
        let unit = ["ssa(sv)a(sa(sv))", &self.name, "fail"];
        let properties = ["2", "TasksAccounting", "b", "true", "TasksMax", "t", &limit];
        let arguments = [&call[..], &method, &unit, &properties, &["0"]].concat();
        let done = Command::new("busctl").args(arguments).output().await;
        let done = done.context("run busctl, which asks systemd for a slice")?;
        if !done.status.success() {
            bail!(
                "systemd did not make a slice: {}",
                String::from_utf8_lossy(&done.stderr).trim()
            );
        }
        Ok(())
    }

    /// What the engine calls it.
    pub(crate) fn parent(&self) -> String {
        match self.cgroups.systemd {
            true => self.name.clone(),
            false => format!("/{}", self.name),
        }
    }

    /// True once a process could not be started. Older kernels count that in the cgroup of the
    /// container, which is gone soon; there this is true only while it is full.
    pub(crate) fn is_full(&self) -> bool {
        let dir = self.cgroups.pids_dir(&self.name);
        let children = fs::read_dir(&dir).into_iter().flatten().flatten();
        let children = children.map(|entry| entry.path().join("pids.events"));
        let mut events = children.chain([dir.join("pids.events")]);
        let number = |file: &str| {
            let text = fs::read_to_string(dir.join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let limit = u64::from(self.pids_max);
        events.any(|file| fs::read_to_string(file).is_ok_and(|text| refused(&text)))
            || ["pids.peak", "pids.current"]
                .iter()
                .any(|file| number(file).is_some_and(|count| count >= limit))
    }

    /// Removes it as soon as the engine has ended what runs in it. Returns at once.
    pub(crate) fn remove(self) {
        tokio::spawn(async move {
            if self.cgroups.systemd {
                let stop = Command::new("systemctl")
                    .args(["stop", "--no-block", &self.name])
                    .output();
                if let Err(error) = stop.await {
                    tracing::warn!("cannot stop {}: {error:#}", self.name);
                }
                return;
            }
            let (tries, pause_millis) = REMOVAL_TRIES;
            for _ in 0..tries {
                if self.cgroups.remove_dirs(&self.name).is_ok() {
                    return;
                }
                // The kernel tells nobody that a cgroup of version 1 has become empty.
                sleep(Duration::from_millis(pause_millis)).await;
            }
            tracing::warn!(
                "the cgroup {} of a build stays until the builder starts again",
                self.name
            );
        });
    }
}

/// The first line of a `pids.events` is `max N`: how often a process was refused.
fn refused(events: &str) -> bool {
    let max = events.lines().find_map(|line| line.strip_prefix("max "));
    max.is_some_and(|count| count.trim() != "0")
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_engine_has_its_place() {
        let info = |driver, version| SystemInfo {
            cgroup_driver: Some(driver),
            cgroup_version: Some(version),
            ..SystemInfo::default()
        };
        use SystemInfoCgroupDriverEnum as Driver;
        use SystemInfoCgroupVersionEnum as Version;
        for (driver, version, want) in [
            (Driver::CGROUPFS, Version::_1, Some("/sys/fs/cgroup/pids/x")),
            (Driver::SYSTEMD, Version::_1, Some("/sys/fs/cgroup/pids/x")),
            (Driver::CGROUPFS, Version::_2, Some("/sys/fs/cgroup/x")),
            (Driver::SYSTEMD, Version::_2, Some("/sys/fs/cgroup/x")),
            (Driver::NONE, Version::_2, None),
        ] {
            let dir = Cgroups::of(&info(driver, version)).map(|cgroups| cgroups.pids_dir("x"));
            assert_eq!(dir.as_deref(), want.map(Path::new));
        }
        assert_eq!(Cgroups::of(&SystemInfo::default()), None);
    }

    #[test]
    fn the_kernels_count_is_read() {
        assert!(!refused("max 0\n"));
        assert!(refused("max 12\nmax.imposed 12\n"));
        assert!(!refused(""));
    }
}
