//! Volumes: disks of apps that outlive pods and releases. The public resource
//! `/apps/{app}/volumes`, and what machines are told of them. Ours; no Heroku counterpart.

pub mod lease;
mod size;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::size::{InvalidSize, parse_size, show_size};
use crate::{
    apps::AppRef,
    ids::{SnapshotId, VolumeId},
    names::{HostPath, MountPath, NfsShare, NodeName, ProcessType, VolumeName},
};

/// The most volumes of one app.
pub const VOLUMES_MAX: usize = 50;
/// The smallest size, in bytes: below it a file system of its own has no room for anything.
pub const VOLUME_BYTES_MIN: u64 = 16 << 20;
/// The largest size, in bytes: that of an ext4 file system with blocks of 4 KiB.
pub const VOLUME_BYTES_MAX: u64 = 16 << 40;
/// The most snapshots of one app.
pub const SNAPSHOTS_MAX: usize = 100;
/// From how many percent on a volume counts as full.
pub const FULL_PERCENT: u64 = 95;

/// Where a volume's data is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum VolumeSource {
    /// In the agent's own directory on one machine.
    #[default]
    Local,
    /// In a directory of one machine that its operator allows.
    HostPath { path: HostPath },
    /// On a file server that every machine can reach.
    Nfs { share: NfsShare },
}

impl VolumeSource {
    /// True for one that is on a machine's disk.
    pub fn is_on_a_machine(&self) -> bool {
        !matches!(self, Self::Nfs { .. })
    }

    /// `local`, `host path /srv/data`, `NFS nas:/export`.
    pub fn describe(&self) -> String {
        match self {
            Self::Local => "local".into(),
            Self::HostPath { path } => format!("host path {path}"),
            Self::Nfs { share } => format!("NFS {share}"),
        }
    }
}

/// `GET /apps/{app}/volumes/{volume}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub id: VolumeId,
    pub app: AppRef,
    pub name: VolumeName,
    pub source: VolumeSource,
    /// Any number of pods may have it at a time.
    pub shared: bool,
    /// `None`: it may fill its disk.
    pub size_bytes: Option<u64>,
    /// `None` while nobody has measured it.
    pub used_bytes: Option<u64>,
    /// Where one on a machine's disk is; the first pod that mounts it decides.
    pub node: Option<NodeName>,
    /// What the app's next release mounts, and the one that serves unless it is on its way.
    pub mounts: Vec<VolumeMount>,
    /// Names of the pods that have it.
    pub pods: Vec<String>,
    /// What is being done to it: `snapshot`, `restore`, `move to n2`. Until that is done, no pod
    /// has it.
    pub work: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where a process type sees a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeMount {
    pub process_type: ProcessType,
    pub path: MountPath,
    #[serde(default)]
    pub read_only: bool,
}

/// `POST /apps/{app}/volumes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewVolume {
    pub name: VolumeName,
    /// From [`VOLUME_BYTES_MIN`] to [`VOLUME_BYTES_MAX`]; without it there is no limit. Signed, so
    /// that a negative one is answered and not only misunderstood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    #[serde(default)]
    pub source: VolumeSource,
    /// Any number of pods may have it; by default only one on NFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// Where it is to be; without it the first pod that mounts it decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<VolumeMount>,
}

/// `PUT /apps/{app}/volumes/{volume}/mounts/{type}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountAt {
    pub path: MountPath,
    #[serde(default)]
    pub read_only: bool,
}

/// The answer to a change of mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeChange {
    pub volume: Volume,
    /// Version of the release that brings the change about; `None` if there is nothing that runs,
    /// or nothing has changed.
    pub release: Option<u64>,
}

/// A copy of a volume: `GET /apps/{app}/volume-snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: SnapshotId,
    /// The volume that it was taken of, as it was called then.
    pub volume: VolumeName,
    pub state: SnapshotState,
    /// Why it failed.
    pub failure: Option<String>,
    /// Of the archive; `None` until it is complete.
    pub bytes: Option<u64>,
    pub created_at: DateTime<Utc>,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    Pending,
    Complete,
    Failed,
}

/// `POST /apps/{app}/volumes/{volume}/actions/restore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreVolume {
    pub snapshot: SnapshotId,
}

/// `POST /apps/{app}/volumes/{volume}/actions/move`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveVolume {
    pub to: NodeName,
}

/// What a pod mounts; part of its spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub volume: VolumeId,
    pub name: VolumeName,
    pub source: VolumeSource,
    pub size_bytes: Option<u64>,
    pub path: MountPath,
    pub read_only: bool,
    /// The pod ends when its machine's lease does: other machines can reach the volume too.
    pub leased: bool,
}

/// Something that one machine is to do with a volume; part of its plan until it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeOrder {
    pub volume: VolumeId,
    pub task: VolumeTask,
}

/// What is to be done. None of it happens while a pod of the machine has the volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum VolumeTask {
    /// It was destroyed, or is elsewhere now: its data goes.
    Remove,
    /// Send an archive of it to the controller.
    Save {
        snapshot: SnapshotId,
        mount: Box<Mount>,
    },
    /// Replace what is in it by an archive from the controller.
    Load {
        snapshot: SnapshotId,
        mount: Box<Mount>,
    },
}

/// A volume as the machine that has it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    pub volume: VolumeId,
    /// `None` until it was measured.
    pub used_bytes: Option<u64>,
    /// What it may use; `None`: no limit.
    #[serde(default)]
    pub size_bytes: Option<u64>,
}

impl VolumeStatus {
    /// True for one that has next to no room left.
    pub fn is_full(&self) -> bool {
        let (Some(used), Some(size)) = (self.used_bytes, self.size_bytes) else {
            return false;
        };
        u128::from(used) * 100 >= u128::from(size) * u128::from(FULL_PERCENT)
    }
}

/// `POST /internal/nodes/{node}/volumes/{volume}/snapshots/{snapshot}`: how an order ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeTaskEnd {
    /// Why it failed; `None`: it is done.
    pub failure: Option<String>,
}
