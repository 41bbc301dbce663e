//! Volumes in the planner's words.

use fairway_api::{ids::VolumeId, names::ProcessType};
use fairway_scheduler::snapshot::Volume;

use crate::store::{
    releases::ReleaseMount,
    volumes::{VolumeRow, Work, WorkKind},
};

pub(super) fn planned(row: &VolumeRow) -> (VolumeId, Volume) {
    let volume = Volume {
        name: row.name.clone(),
        local: row.source.is_on_a_machine(),
        shared: row.shared,
        size_bytes: row.size_bytes.unwrap_or(0),
        node: row.node.clone(),
        hindrance: row.work.as_ref().map(hindrance),
    };
    (row.id, volume)
}

/// Why no pod may have it now.
fn hindrance(work: &Work) -> &'static str {
    match work.kind {
        WorkKind::Snapshot => "is being copied into a snapshot",
        WorkKind::Restore => "is being restored from a snapshot",
        WorkKind::Move { .. } => "is being moved to another machine",
    }
}

/// What the pods of a type mount.
pub(super) fn of_type(mounts: &[ReleaseMount], process_type: &ProcessType) -> Vec<VolumeId> {
    let mounts = mounts.iter().filter(|it| it.process_type == *process_type);
    mounts.map(|it| it.volume).collect()
}
