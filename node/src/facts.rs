//! What this machine has and is: memory, cores, processes, disk, engine; kind, kernel, labels.

mod kind;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use fairway_api::{
    machines::NodeFacts,
    names::HostPath,
    nodes::Capacity,
    placement::{Labels, NodeKind},
    sizes::Resources,
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{UdpSocket, lookup_host},
    sync::OnceCell,
    time::timeout,
};

use crate::engine::Engine;

/// Processes and threads that a kernel allows when it does not say (Linux's own default).
const PIDS_DEFAULT: u32 = 32_768;
/// How long a report waits for the engine to describe itself, in seconds.
const ABOUT_SECS: u64 = 1;
const MILLIS_PER_CORE: u32 = 1_000;

/// What an operator says of a machine by the agent's flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    /// Defaults: what operators say later wins.
    pub labels: Labels,
    /// Instead of what the machine looks like.
    pub kind: Option<NodeKind>,
    /// Where other machines reach it, instead of the address that it uses towards the controller.
    pub underlay: Option<IpAddr>,
    /// Directories that volumes of apps may be in.
    pub host_paths: Vec<HostPath>,
}

impl Description {
    /// What was said before, where this says nothing.
    #[must_use]
    pub fn over(self, before: Self) -> Self {
        let mut labels = before.labels;
        labels.extend(self.labels);
        Self {
            labels,
            kind: self.kind.or(before.kind),
            underlay: self.underlay.or(before.underlay),
            host_paths: if self.host_paths.is_empty() {
                before.host_paths
            } else {
                self.host_paths
            },
        }
    }

    /// The machine as it describes itself now.
    pub fn facts(&self) -> NodeFacts {
        NodeFacts {
            kind: self.kind.unwrap_or_else(kind::detect),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: self.labels.clone(),
            host_paths: self.host_paths.clone(),
            clock: Utc::now(),
        }
    }
}

/// The address from which this machine reaches `controller`, as HOST:PORT; `None` if it has no way
/// there. Nothing is sent.
pub async fn address_towards(controller: &str) -> Option<IpAddr> {
    for target in lookup_host(controller).await.ok()? {
        let any: SocketAddr = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let Ok(socket) = UdpSocket::bind(any).await else {
            continue;
        };
        if socket.connect(target).await.is_ok()
            && let Ok(own) = socket.local_addr()
        {
            return Some(own.ip());
        }
    }
    None
}

/// The machine, asked anew where things change.
#[derive(Debug)]
pub(crate) struct Facts {
    engine: Arc<Engine>,
    /// All but the clock stays as it is.
    described: NodeFacts,
    resources: Resources,
    /// Name and version of the engine and where its data is; known once it has answered.
    about: OnceCell<(String, PathBuf)>,
}

impl Facts {
    pub(crate) fn gather(engine: Arc<Engine>, description: &Description) -> Self {
        let memory = sysinfo::System::new().map(|mut system| {
            system.refresh_memory();
            system.total_memory()
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let resources = Resources {
            memory_bytes: memory.unwrap_or_default(),
            cpu_millis: u32::try_from(cores)
                .unwrap_or(u32::MAX)
                .saturating_mul(MILLIS_PER_CORE),
            pids: pids(),
        };
        Self {
            engine,
            described: description.facts(),
            resources,
            about: OnceCell::new(),
        }
    }

    /// The engine that they are about.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.engine.clone()
    }

    pub(crate) fn facts(&self) -> NodeFacts {
        NodeFacts {
            clock: Utc::now(),
            ..self.described.clone()
        }
    }

    /// Where the engine keeps its data, as soon as it has answered once.
    pub(crate) async fn engine_root(&self) -> Option<PathBuf> {
        let about = self.about.get_or_try_init(|| self.engine.about());
        let about = timeout(Duration::from_secs(ABOUT_SECS), about).await;
        about.ok()?.ok().map(|(_, root)| root.clone())
    }

    pub(crate) async fn capacity(&self) -> Capacity {
        let about = self.about.get_or_try_init(|| self.engine.about());
        let (engine, root) = match timeout(Duration::from_secs(ABOUT_SECS), about).await {
            Ok(Ok((engine, root))) => (engine.clone(), root.clone()),
            Ok(Err(error)) => (error.to_string(), PathBuf::from("/")),
            Err(_) => (
                "the container engine does not answer".to_owned(),
                PathBuf::from("/"),
            ),
        };
        let disk = rustix::fs::statvfs(&root).ok();
        Capacity {
            resources: self.resources,
            disk_bytes: disk
                .as_ref()
                .map_or(0, |disk| disk.f_blocks * disk.f_frsize),
            // What is left for ordinary users: the rest is the superuser's reserve.
            disk_free_bytes: disk
                .as_ref()
                .map_or(0, |disk| disk.f_bavail * disk.f_frsize),
            architecture: std::env::consts::ARCH.to_owned(),
            engine,
        }
    }
}

fn pids() -> u32 {
    let limit = |name: &str| -> Option<u32> {
        fs::read_to_string(format!("/proc/sys/kernel/{name}"))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let limits = ["pid_max", "threads-max"].into_iter().filter_map(limit);
    limits.min().unwrap_or(PIDS_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_now_wins_over_what_was_said_when_it_joined() {
        let said = |labels: &[(&str, &str)], kind, underlay: Option<[u8; 4]>| Description {
            labels: labels
                .iter()
                .map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()))
                .collect(),
            kind,
            underlay: underlay.map(Into::into),
            host_paths: vec![],
        };
        let joined = said(
            &[("zone", "a"), ("disk", "ssd")],
            Some(NodeKind::Vm),
            Some([10, 0, 0, 1]),
        );
        assert_eq!(Description::default().over(joined.clone()), joined);
        let now = said(&[("zone", "b")], Some(NodeKind::BareMetal), None);
        let wanted = said(
            &[("zone", "b"), ("disk", "ssd")],
            Some(NodeKind::BareMetal),
            Some([10, 0, 0, 1]),
        );
        assert_eq!(now.over(joined), wanted);
        let may = |path: &str| Description {
            host_paths: vec![path.parse().unwrap()],
            ..Description::default()
        };
        assert_eq!(may("/b").over(may("/a")), may("/b"));
        assert_eq!(Description::default().over(may("/a")), may("/a"));
        // Of an agent that did not keep it.
        let nothing: Description = serde_json::from_str("{}").unwrap();
        assert_eq!(nothing, Description::default());
    }
}
