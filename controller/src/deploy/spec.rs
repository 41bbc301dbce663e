//! From a release, its config vars and a pod's row to the [`PodSpec`] that an agent runs. Pure.

mod sidecars;

use std::collections::BTreeMap;

use fairway_api::{
    build_orders::{BuiltImage, BuiltProcess},
    checks::{Check, Checks},
    config_vars::ConfigVars,
    ids::{AppId, VolumeId},
    names::{AppName, ConfigName, ProcessType},
    network::DNS_SUFFIX,
    placement::Priority,
    pods::{PORT_DEFAULT, PodSpec, RestartPolicy},
    secret::Secret,
    sizes::{self, SIZE_DEFAULT, Size},
    volumes::Mount,
};
use fairway_scheduler::snapshot::{Pod, PodKind, RELEASE_PHASE_TYPE};

use super::one_off::OneOff;
use crate::store::{releases::ReleaseRow, volumes::VolumeRow};

pub(crate) use sidecars::company;

/// What starts anything in an image that buildpacks made, in the environment that they prepared
/// (Cloud Native Buildpacks, platform specification, launcher).
pub const LAUNCHER: &str = "/cnb/lifecycle/launcher";

/// What a pod runs besides what the release says.
#[derive(Debug)]
pub struct Runs<'a> {
    pub app: AppId,
    pub app_name: &'a AppName,
    pub release: &'a ReleaseRow,
    pub config: &'a ConfigVars,
    /// Who goes first when a machine's disk is full.
    pub priority: Priority,
    pub volumes: &'a BTreeMap<VolumeId, VolumeRow>,
    /// For one-off pods.
    pub one_off: Option<&'a OneOff>,
}

/// The port that the web process of an image listens on.
pub fn web_port(image: &BuiltImage) -> u16 {
    image.exposed_port.unwrap_or(PORT_DEFAULT)
}

/// The port that the router sends the app's requests to: that of the web process, unless one of its
/// sidecars takes them.
pub fn requests_port(image: &BuiltImage) -> u16 {
    let front = image.sidecars.front(&ProcessType::web());
    let port = front.and_then(|front| front.port);
    port.unwrap_or_else(|| web_port(image))
}

/// What the agent is to run; `None` if the release has no such process, which its pods never lack.
pub fn pod_spec(pod: &Pod, runs: &Runs<'_>) -> Option<PodSpec> {
    let image = runs.release.image.as_ref()?;
    let is_web = pod.kind == PodKind::Service && pod.process_type.is_web();
    let port = is_web.then(|| web_port(image));
    let process = process(pod, image, runs.one_off)?;
    let size = size(pod);
    Some(PodSpec {
        id: pod.id,
        app: runs.app,
        app_name: runs.app_name.clone(),
        name: pod.name.clone(),
        process_type: pod.process_type.clone(),
        release: runs.release.version,
        image: image.image.clone(),
        command: process.command,
        entrypoint: process.entrypoint,
        env: environment(pod, runs, port),
        resources: size.resources,
        disk_bytes: Some(size.disk_bytes),
        priority: runs.priority,
        port,
        checks: (pod.kind == PodKind::Service).then(|| {
            let default = if is_web {
                Checks::for_port
            } else {
                Checks::for_worker
            };
            in_environment(process.checks.unwrap_or_else(default), image)
        }),
        stop: process.stop.unwrap_or_default(),
        restart: match pod.kind {
            PodKind::Service => RestartPolicy::Always,
            PodKind::ReleasePhase | PodKind::Run | PodKind::Job => RestartPolicy::Never,
        },
        time_to_live_secs: runs.one_off.map(|one_off| one_off.time_to_live_secs),
        attach: runs.one_off.and_then(|one_off| one_off.attach.clone()),
        sidecars: sidecars::of_pod(pod, runs, image, port),
        mounts: mounts(pod, runs),
        files: files(runs),
    })
}

fn process(pod: &Pod, image: &BuiltImage, one_off: Option<&OneOff>) -> Option<BuiltProcess> {
    match one_off {
        Some(one_off) => Some(command_line(image, &one_off.command)),
        None => image.processes.get(&pod.process_type).cloned(),
    }
}

/// A one-off command: the name of a process type runs that type's command, anything else is a
/// shell command line.
fn command_line(image: &BuiltImage, command: &str) -> BuiltProcess {
    let named = command.trim().parse::<ProcessType>().ok();
    if let Some(process) = named.and_then(|name| image.processes.get(&name)) {
        return process.clone();
    }
    let shell = |command: &str| vec!["/bin/sh".into(), "-c".into(), command.into()];
    BuiltProcess {
        command_line: command.into(),
        entrypoint: Some(if has_launcher(image) {
            vec![LAUNCHER.into()]
        } else {
            vec![]
        }),
        command: Some(shell(command)),
        checks: None,
        stop: None,
    }
}

/// Checks by command find what buildpacks installed only through the launcher.
fn in_environment(mut checks: Checks, image: &BuiltImage) -> Checks {
    if has_launcher(image) {
        for check in checks.each_mut() {
            if let Check::Command { command, .. } = check {
                command.splice(0..0, [LAUNCHER.to_owned(), "--".into()]);
            }
        }
    }
    checks
}

/// True for an image that buildpacks made: a launcher sets the environment that they prepared.
pub fn has_launcher(image: &BuiltImage) -> bool {
    let entrypoints = image
        .processes
        .values()
        .filter_map(|process| process.entrypoint.as_ref());
    let mut first_words = entrypoints.filter_map(|entrypoint| entrypoint.first());
    first_words.any(|word| word.starts_with("/cnb/"))
}

/// The config vars, what the user added for this pod, and what the platform says; in a conflict
/// the later of the three wins.
fn environment(pod: &Pod, runs: &Runs<'_>, port: Option<u16>) -> BTreeMap<String, Secret> {
    let added = runs.one_off.into_iter().flat_map(|one_off| &one_off.env);
    let mut env: BTreeMap<String, Secret> = runs
        .config
        .iter()
        .filter(|(name, _)| !runs.release.config_files.contains(*name))
        .chain(added)
        .map(|(name, value)| (name.as_str().to_owned(), value.clone()))
        .collect();
    // As Docker and Kubernetes name them; an app's own variable of that name wins.
    for (name, value) in service_variables(runs) {
        env.entry(name).or_insert_with(|| Secret::new(value));
    }
    env.extend(platform_variables(pod, runs));
    if let Some(port) = port {
        env.insert("PORT".into(), Secret::new(port.to_string()));
    }
    env
}

/// What Fairway says in every container.
fn platform_variables(pod: &Pod, runs: &Runs<'_>) -> Vec<(String, Secret)> {
    let mut variables = vec![
        ("DYNO", pod.name.clone()),
        ("FAIRWAY_APP", runs.app_name.to_string()),
        ("FAIRWAY_RELEASE", format!("v{}", runs.release.version)),
    ];
    if let Some(commit) = &runs.release.commit {
        variables.push(("FAIRWAY_COMMIT", commit.to_string()));
    }
    let variables = variables.into_iter();
    variables
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .collect()
}

/// What a replica mounts. One-off pods and the release phase have no volumes: the pod that serves has
/// them.
fn mounts(pod: &Pod, runs: &Runs<'_>) -> Vec<Mount> {
    if pod.kind != PodKind::Service {
        return vec![];
    }
    let of_type = runs.release.mounts.iter();
    let of_type = of_type.filter(|it| it.process_type == pod.process_type);
    let mount = of_type.filter_map(|it| {
        let row = runs.volumes.get(&it.volume)?;
        Some(Mount {
            path: it.path.clone(),
            read_only: it.read_only,
            ..row.mount()?
        })
    });
    mount.collect()
}

/// Config vars that are files.
fn files(runs: &Runs<'_>) -> BTreeMap<ConfigName, Secret> {
    let names = runs.release.config_files.iter();
    let file = |name: &ConfigName| Some((name.clone(), runs.config.get(name)?.clone()));
    names.filter_map(file).collect()
}

/// Where the app's other processes are: `WEB_SERVICE_HOST` and, for one that gets requests,
/// `WEB_SERVICE_PORT`. The host is a name of the pod network and not an address: pods come and go.
fn service_variables(runs: &Runs<'_>) -> Vec<(String, String)> {
    let mut variables = vec![];
    let Some(image) = &runs.release.image else {
        return variables;
    };
    for process_type in image
        .processes
        .keys()
        .filter(|it| it.as_str() != RELEASE_PHASE_TYPE)
    {
        let name = process_type.as_str().to_ascii_uppercase().replace('-', "_");
        let host = format!("{process_type}.{}.{DNS_SUFFIX}", runs.app_name);
        variables.push((format!("{name}_SERVICE_HOST"), host));
        if process_type.is_web() {
            let port = requests_port(image).to_string();
            variables.push((format!("{name}_SERVICE_PORT"), port));
        }
    }
    variables
}

fn size(pod: &Pod) -> Size {
    // A size that was taken out of the table since counts as the default one.
    let size = sizes::find(pod.size.as_str()).or_else(|| sizes::find(SIZE_DEFAULT));
    size.expect("the default size is in the table, as a test of the table says")
}

/// True when the release runs a command before it goes live.
pub fn has_release_phase(image: &BuiltImage) -> bool {
    image.processes.contains_key(RELEASE_PHASE_TYPE)
}

#[cfg(test)]
pub(crate) mod tests;
