//! Containers that a pod has besides its main one: proxies, adapters, exporters.
//!
//! All containers of a pod share its address and its loopback, and the folders that they ask for.
//! Each has an image, limits, checks and a log of its own. A release carries them
//! ([`BuiltSidecars`]), a pod's orders have those that go with its process type ([`Sidecars`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    checks::Checks,
    images::ImageRef,
    names::{ConfigName, ContainerName, ProcessType, VolumeName},
    pods::StopPolicy,
    secret::Secret,
    sizes::Resources,
};

/// The most sidecars of one release.
pub const SIDECARS_MAX: usize = 8;
/// The most folders that the containers of one release share.
pub const SHARED_FOLDERS_MAX: usize = 8;
/// Memory of a sidecar in MiB: the least, the most, and what it has when nothing is said.
pub const SIDECAR_MEMORY_MIB: (u64, u64, u64) = (16, 14_336, 128);
/// CPU time of a sidecar in thousandths of a core: the least, the most, and what it has when nothing
/// is said.
pub const SIDECAR_CPU_MILLIS: (u32, u32, u32) = (10, 8_000, 250);
/// Processes and threads of a sidecar.
pub const SIDECAR_PIDS: u32 = 256;
/// Seconds between a sidecar's stop signal and SIGKILL when nothing else is said. Less than for the
/// main process, after which it is stopped: they add up.
pub const SIDECAR_GRACE_SECS_DEFAULT: u32 = 10;
/// Size of a shared folder in MiB: the least, the most, and what it has when nothing is said. It is
/// memory, and counts as that of the container which wrote it.
pub const SHARED_FOLDER_MIB: (u64, u64, u64) = (1, 4_096, 64);
/// The longest path of a shared folder, in bytes.
pub const FOLDER_PATH_BYTES_MAX: usize = 255;

/// Sidecars of a release, as app.json has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltSidecars {
    /// In the file's order; names differ, and none is `main`.
    pub containers: Vec<BuiltSidecar>,
    /// What comes before the main container, in whatever pod it is.
    pub main_after: BTreeSet<ContainerName>,
    pub folders: Vec<BuiltFolder>,
}

/// One sidecar of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltSidecar {
    pub name: ContainerName,
    /// The process types whose pods have it.
    pub process_types: BTreeSet<ProcessType>,
    /// One-off pods and those of jobs have it, too.
    #[serde(default)]
    pub one_offs: bool,
    /// The app's own, or a copy of another one in the registry of the app's images.
    pub image: ImageRef,
    /// The name that the image has elsewhere; `None` for the app's own.
    pub image_name: Option<String>,
    /// What it runs, to show.
    pub command_line: String,
    /// Entrypoint and arguments for the engine; `None` keeps the image's own.
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub env: BTreeMap<ConfigName, String>,
    /// Which of the app's config vars it sees.
    pub config: SeenConfig,
    pub resources: Resources,
    /// Where it listens, if it does.
    pub port: Option<u16>,
    /// The app's requests go to its port and not to the main container's.
    #[serde(default)]
    pub takes_requests: bool,
    pub checks: Checks,
    pub stop: StopPolicy,
    /// What must be up before it is started, all the way down; may name `main`.
    pub after: BTreeSet<ContainerName>,
    pub on_exit: OnExit,
    pub folders: Vec<FolderMount>,
}

/// A folder that containers of one pod share. It is empty when the pod starts, and gone with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltFolder {
    pub name: VolumeName,
    pub size_bytes: u64,
    /// Where the main container has it.
    pub path: String,
}

/// Which config vars of the app a sidecar sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "names", rename_all = "kebab-case")]
pub enum SeenConfig {
    All,
    Only(BTreeSet<ConfigName>),
}

impl SeenConfig {
    /// Whether it sees this one.
    pub fn has(&self, name: &ConfigName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// What happens when a sidecar ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExit {
    /// It alone is started again.
    #[default]
    Restart,
    /// All containers of the pod are stopped and started again in their order. Pods that run once
    /// take it as [`OnExit::Restart`].
    RestartPod,
}

/// Where a container has a shared folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderMount {
    pub name: VolumeName,
    pub path: String,
}

/// What a pod has besides its main container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecars {
    pub containers: Vec<Sidecar>,
    /// What must be up before the main container is started.
    pub main_after: BTreeSet<ContainerName>,
    pub folders: Vec<SharedFolder>,
    /// Where the main container has them.
    pub main_folders: Vec<FolderMount>,
    /// The port of the sidecar that takes the app's requests in place of the main container.
    pub requests_port: Option<u16>,
}

/// One sidecar of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    pub name: ContainerName,
    pub image: ImageRef,
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub env: BTreeMap<String, Secret>,
    pub resources: Resources,
    /// For checks that name no port.
    pub port: Option<u16>,
    pub checks: Checks,
    pub stop: StopPolicy,
    /// What must be up before it is started; may name `main`.
    pub after: BTreeSet<ContainerName>,
    pub on_exit: OnExit,
    pub folders: Vec<FolderMount>,
}

/// A folder of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFolder {
    pub name: VolumeName,
    pub size_bytes: u64,
}

impl Sidecars {
    /// True for the pod of one container.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }
}

impl BuiltSidecars {
    /// True for a release whose pods have one container each.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// Those of the pods of a process type; without one, of pods that run once.
    pub fn of<'a>(
        &'a self,
        process_type: Option<&'a ProcessType>,
    ) -> impl Iterator<Item = &'a BuiltSidecar> {
        self.containers.iter().filter(move |it| match process_type {
            Some(process_type) => it.process_types.contains(process_type),
            None => it.one_offs,
        })
    }

    /// What they take together, besides the main container.
    pub fn resources(&self, process_type: Option<&ProcessType>) -> Resources {
        let none = Resources::default();
        self.of(process_type)
            .fold(none, |sum, it| sum.plus(it.resources))
    }

    /// The one that takes the requests of a process type.
    pub fn front(&self, process_type: &ProcessType) -> Option<&BuiltSidecar> {
        let takes =
            |it: &&BuiltSidecar| it.takes_requests && it.process_types.contains(process_type);
        self.containers.iter().find(takes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_is_seen_as_far_as_it_is_named() {
        let name = |text: &str| text.parse::<ConfigName>().unwrap();
        let some = SeenConfig::Only([name("A")].into());
        for (config, wanted, sees) in [
            (&SeenConfig::All, "B", true),
            (&some, "A", true),
            (&some, "B", false),
        ] {
            assert_eq!(config.has(&name(wanted)), sees, "{config:?} {wanted}");
        }
        assert_eq!(
            serde_json::to_string(&some).unwrap(),
            r#"{"kind":"only","names":["A"]}"#
        );
        assert_eq!(
            serde_json::to_string(&SeenConfig::All).unwrap(),
            r#"{"kind":"all"}"#
        );
    }
}
