//! Folders that the containers of one pod share: volumes of the engine in memory, made with the
//! first container that mounts one and removed with the pod.
//!
//! In memory, because that has a limit on every machine without root's help; what a container
//! writes counts as its memory. The engine empties such a folder when no container has it any more.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bollard::models::{Mount, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig};
use fairway_api::{ids::PodId, names::VolumeName, pods::PodSpec, sidecars::SharedFolder};
use tokio::time::sleep;

use crate::{
    container::{LABEL_INSTANCE, LABEL_POD, Part},
    engine::{AGAIN_MILLIS, Engine},
};

/// How often removing the folders of a pod is tried at once; what is left then goes with the next
/// look at the engine.
const TRIES_MAX: u32 = 3;
/// The kind of file system, and the driver of the engine that mounts it.
const TMPFS: &str = "tmpfs";
const DRIVER: &str = "local";

/// The engine's name of a folder.
fn name(instance: &str, pod: PodId, folder: &VolumeName) -> String {
    format!("fairway-{instance}-{}-{folder}", pod.as_uuid().simple())
}

/// What the engine is told of a container's shared folders; `None` if it has none.
pub(crate) fn mounts(instance: &str, part: &Part) -> Option<Vec<Mount>> {
    let folders = &part.pod.sidecars.folders;
    let mount = |it: &fairway_api::sidecars::FolderMount| {
        let folder = folders.iter().find(|folder| folder.name == it.name)?;
        Some(Mount {
            target: Some(it.path.clone()),
            source: Some(name(instance, part.pod.id, &folder.name)),
            typ: Some(MountType::VOLUME),
            volume_options: Some(options(instance, part.pod.id, folder)),
            ..Mount::default()
        })
    };
    let mounts: Vec<Mount> = part.folders().iter().filter_map(mount).collect();
    (!mounts.is_empty()).then_some(mounts)
}

fn options(instance: &str, pod: PodId, folder: &SharedFolder) -> MountVolumeOptions {
    let map = |pairs: &[(&str, String)]| -> HashMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    };
    // Any user may write, as in /tmp: images run as users of their own.
    let limits = format!("size={},mode=1777,nosuid,nodev", folder.size_bytes);
    MountVolumeOptions {
        // What the image has there stays hidden; the folder starts empty for all.
        no_copy: Some(true),
        labels: Some(map(&[
            (LABEL_INSTANCE, instance.to_owned()),
            (LABEL_POD, pod.to_string()),
        ])),
        driver_config: Some(MountVolumeOptionsDriverConfig {
            name: Some(DRIVER.into()),
            options: Some(map(&[
                ("type", TMPFS.into()),
                ("device", TMPFS.into()),
                ("o", limits),
            ])),
        }),
        ..MountVolumeOptions::default()
    }
}

/// Removes the folders of a pod whose containers are no more.
pub(crate) async fn remove(engine: &Engine, pod: &PodSpec) {
    for folder in &pod.sidecars.folders {
        let name = name(engine.instance(), pod.id, &folder.name);
        for _ in 0..TRIES_MAX {
            match engine.remove_folder(&name).await {
                Ok(()) => break,
                Err(error) => tracing::debug!(name, "cannot remove a shared folder yet: {error}"),
            }
            sleep(Duration::from_millis(AGAIN_MILLIS)).await;
        }
    }
}

/// Removes folders of pods that are not among these: what an agent before this one left.
pub(crate) async fn sweep(engine: Arc<Engine>, pods: BTreeSet<PodId>) {
    let found = match engine.folders().await {
        Ok(found) => found,
        Err(error) => return tracing::debug!("cannot list the shared folders: {error}"),
    };
    for (name, pod) in found {
        if pods.contains(&pod) {
            continue;
        }
        // One that a container still has is refused, and goes with a later look.
        if let Err(error) = engine.remove_folder(&name).await {
            tracing::debug!(name, "cannot remove a shared folder yet: {error}");
        }
    }
}
