//! The files in which the kernel counts what a group of processes uses.
//!
//! ```text
//! version 1   /sys/fs/cgroup/cpuacct/PATH/cpuacct.usage         nanoseconds
//!             /sys/fs/cgroup/memory/PATH/memory.{usage_in_bytes,stat}
//! version 2   /sys/fs/cgroup/PATH/cpu.stat                      usage_usec
//!             /sys/fs/cgroup/PATH/memory.{current,stat}
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the kernel shows cgroups.
const ROOT: &str = "/sys/fs/cgroup";

/// One container's files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cgroup {
    cpu: PathBuf,
    memory: PathBuf,
    version_1: bool,
}

impl Cgroup {
    /// That of a process; `None` if this machine does not show it.
    pub(super) fn of_process(pid: i64) -> Option<Self> {
        let list = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::find(&list, Path::new(ROOT))
    }

    /// Reads `/proc/PID/cgroup`: a line `NUMBER:CONTROLLERS:PATH` for each hierarchy.
    fn find(list: &str, root: &Path) -> Option<Self> {
        let path_of = |controller: &str| {
            list.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                let has = controllers.split(',').any(|it| it == controller);
                // A process in the root is in no container.
                has.then(|| path.trim_start_matches('/'))
                    .filter(|path| !path.is_empty())
            })
        };
        let version_1 = |controller: &str| {
            let dir = root.join(controller).join(path_of(controller)?);
            dir.is_dir().then_some(dir)
        };
        if let (Some(cpu), Some(memory)) = (version_1("cpuacct"), version_1("memory")) {
            return Some(Self {
                cpu,
                memory,
                version_1: true,
            });
        }
        let unified = root.join(path_of("")?);
        unified.join("cpu.stat").is_file().then(|| Self {
            cpu: unified.clone(),
            memory: unified,
            version_1: false,
        })
    }

    /// CPU time since the group was made, in nanoseconds.
    pub(super) fn cpu_nanos(&self) -> Option<u64> {
        if self.version_1 {
            return number(&self.cpu.join("cpuacct.usage"));
        }
        field(&self.cpu.join("cpu.stat"), "usage_usec").map(|micros| micros * 1_000)
    }

    /// Memory that the group could not do without: files that were read and not touched for a
    /// while go first when memory is short, and do not count, as with Kubernetes.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let (used, inactive) = match self.version_1 {
            true => ("memory.usage_in_bytes", "total_inactive_file"),
            false => ("memory.current", "inactive_file"),
        };
        let used = number(&self.memory.join(used))?;
        let inactive = field(&self.memory.join("memory.stat"), inactive);
        Some(used.saturating_sub(inactive.unwrap_or_default()))
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The value in a file of lines `NAME VALUE`.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let file = root.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
    }

    #[test]
    fn both_versions_are_read() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("cpuacct/docker/a/cpuacct.usage", "1500000000\n"),
                ("memory/docker/a/memory.usage_in_bytes", "5000\n"),
                (
                    "memory/docker/a/memory.stat",
                    "cache 9\ntotal_inactive_file 2000\n",
                ),
                (
                    "system.slice/b.scope/cpu.stat",
                    "usage_usec 42\nuser_usec 1\n",
                ),
                ("system.slice/b.scope/memory.current", "700\n"),
                (
                    "system.slice/b.scope/memory.stat",
                    "anon 1\ninactive_file 900\n",
                ),
            ],
        );
        let one = "5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n0::/\n";
        // With both names of a controller in one line the folder may have either.
        fs::create_dir_all(dir.path().join("cpu,cpuacct")).unwrap();
        let one = Cgroup::find(one, dir.path()).unwrap();
        assert_eq!(
            (one.cpu_nanos(), one.memory_bytes()),
            (Some(1_500_000_000), Some(3_000))
        );
        let two = Cgroup::find("0::/system.slice/b.scope\n", dir.path()).unwrap();
        assert_eq!(
            (two.cpu_nanos(), two.memory_bytes()),
            (Some(42_000), Some(0))
        );
        for elsewhere in ["0::/\n", "4:memory:/docker/gone\n0::/gone\n", ""] {
            assert_eq!(Cgroup::find(elsewhere, dir.path()), None, "{elsewhere:?}");
        }
    }
}
