//! One container of a pod, as it is to run. A sidecar is told in the words of a pod, so that all
//! that makes, checks, stops and adopts a pod's container does the same for each of its sidecars.

use std::sync::Arc;

use fairway_api::{
    names::ContainerName,
    pods::{PodSpec, RestartPolicy},
    sidecars::{FolderMount, Sidecar, Sidecars},
};

/// One container of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The whole pod.
    pub(crate) pod: Arc<PodSpec>,
    /// `main` for the one that every pod has.
    pub(crate) name: ContainerName,
    /// What this container runs.
    pub(crate) spec: Arc<PodSpec>,
}

impl Part {
    /// The main container.
    pub(crate) fn main(pod: Arc<PodSpec>) -> Self {
        Self {
            name: ContainerName::main(),
            spec: pod.clone(),
            pod,
        }
    }

    /// All containers of a pod, the main one first.
    pub(crate) fn all(pod: &Arc<PodSpec>) -> Vec<Self> {
        let sidecars = pod.sidecars.containers.iter();
        let sidecars = sidecars.map(|sidecar| Self {
            pod: pod.clone(),
            name: sidecar.name.clone(),
            spec: Arc::new(spec_of(pod, sidecar)),
        });
        std::iter::once(Self::main(pod.clone()))
            .chain(sidecars)
            .collect()
    }

    /// The shared folders that it has.
    pub(crate) fn folders(&self) -> &[FolderMount] {
        let sidecars = &self.pod.sidecars;
        if self.name.is_main() {
            return &sidecars.main_folders;
        }
        let own = sidecars.containers.iter().find(|it| it.name == self.name);
        own.map_or(&[], |sidecar| &sidecar.folders)
    }
}

fn spec_of(pod: &PodSpec, sidecar: &Sidecar) -> PodSpec {
    PodSpec {
        id: pod.id,
        app: pod.app,
        app_name: pod.app_name.clone(),
        name: format!("{}/{}", pod.name, sidecar.name),
        process_type: pod.process_type.clone(),
        release: pod.release,
        image: sidecar.image.clone(),
        command: sidecar.command.clone(),
        entrypoint: sidecar.entrypoint.clone(),
        env: sidecar.env.clone(),
        resources: sidecar.resources,
        disk_bytes: pod.disk_bytes,
        priority: pod.priority,
        port: sidecar.port,
        checks: Some(sidecar.checks.clone()),
        stop: sidecar.stop.clone(),
        // It serves the main container, also one that runs once: it is stopped when that has ended.
        restart: RestartPolicy::Always,
        time_to_live_secs: None,
        attach: None,
        sidecars: Sidecars::default(),
        mounts: vec![],
        files: Default::default(),
    }
}
