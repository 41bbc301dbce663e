//! The sidecars of a pod: those of its release that go with what it runs.

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::{
    build_orders::BuiltImage,
    names::{ContainerName, ProcessType, VolumeName},
    secret::Secret,
    sidecars::{BuiltSidecar, FolderMount, SharedFolder, Sidecar, Sidecars},
};
use fairway_scheduler::snapshot::{Pod, PodKind};

use super::{Runs, in_environment, platform_variables, service_variables};

/// The main container's port, as a sidecar finds it in its environment.
const MAIN_PORT: &str = "APP_PORT";

/// The process type whose sidecars a pod has; `None` is that of pods that run once.
pub(crate) fn company(kind: PodKind, process_type: &ProcessType) -> Option<&ProcessType> {
    match kind {
        PodKind::Service | PodKind::ReleasePhase => Some(process_type),
        PodKind::Run | PodKind::Job => None,
    }
}

/// `port` is that of the main container.
pub(super) fn of_pod(
    pod: &Pod,
    runs: &Runs<'_>,
    image: &BuiltImage,
    port: Option<u16>,
) -> Sidecars {
    let built = &image.sidecars;
    let process_type = company(pod.kind, &pod.process_type);
    let chosen: Vec<&BuiltSidecar> = built.of(process_type).collect();
    if chosen.is_empty() {
        return Sidecars::default();
    }
    // Of an order only what is in this pod counts; who waits for whom is written all the way down.
    let names: BTreeSet<&ContainerName> = chosen.iter().map(|it| &it.name).collect();
    let present = |name: &&ContainerName| name.is_main() || names.contains(*name);
    let here = |all: &BTreeSet<ContainerName>| all.iter().filter(present).cloned().collect();
    let mounts = chosen.iter().flat_map(|it| &it.folders);
    let shared: BTreeSet<&VolumeName> = mounts.map(|it| &it.name).collect();
    let folders = built.folders.iter().filter(|it| shared.contains(&it.name));
    Sidecars {
        main_after: here(&built.main_after),
        folders: folders
            .clone()
            .map(|it| SharedFolder {
                name: it.name.clone(),
                size_bytes: it.size_bytes,
            })
            .collect(),
        main_folders: folders
            .map(|it| FolderMount {
                name: it.name.clone(),
                path: it.path.clone(),
            })
            .collect(),
        requests_port: process_type
            .and_then(|process_type| built.front(process_type))
            .and_then(|front| front.port),
        containers: chosen
            .iter()
            .map(|it| Sidecar {
                name: it.name.clone(),
                image: it.image.clone(),
                command: it.command.clone(),
                entrypoint: it.entrypoint.clone(),
                env: environment(it, pod, runs, port),
                resources: it.resources,
                port: it.port,
                checks: match it.image_name {
                    None => in_environment(it.checks.clone(), image),
                    Some(_) => it.checks.clone(),
                },
                stop: it.stop.clone(),
                after: here(&it.after),
                on_exit: it.on_exit,
                folders: it.folders.clone(),
            })
            .collect(),
    }
}

/// The config vars that it may see, what app.json gives it, and what the platform says; in a
/// conflict the later of the three wins.
fn environment(
    sidecar: &BuiltSidecar,
    pod: &Pod,
    runs: &Runs<'_>,
    port: Option<u16>,
) -> BTreeMap<String, Secret> {
    let seen = runs
        .config
        .iter()
        .filter(|(name, _)| sidecar.config.has(name));
    let mut env: BTreeMap<String, Secret> = seen
        .map(|(name, value)| (name.as_str().to_owned(), value.clone()))
        .collect();
    let own = sidecar.env.iter();
    env.extend(own.map(|(name, value)| (name.as_str().to_owned(), Secret::new(value.clone()))));
    for (name, value) in service_variables(runs) {
        env.entry(name).or_insert_with(|| Secret::new(value));
    }
    env.extend(platform_variables(pod, runs));
    let ports = [("PORT", sidecar.port), (MAIN_PORT, port)];
    for (name, port) in ports {
        if let Some(port) = port {
            env.insert(name.into(), Secret::new(port.to_string()));
        }
    }
    env.insert(
        "FAIRWAY_CONTAINER".into(),
        Secret::new(sidecar.name.to_string()),
    );
    env
}
