//! From a [`PodSpec`] to the container that runs it, and from a container's labels back: pure.
//!
//! ```text
//! PodSpec, run --labels--> container --labels--> Stamp
//! ```

mod part;

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use fairway_api::{ids::PodId, names::ContainerName, pods::PodSpec};

pub(crate) use self::part::Part;
use crate::{
    folders,
    network::Joined,
    sandbox::{self, Kind},
};

/// On everything that an agent makes; its value is the instance.
pub(crate) const LABEL_INSTANCE: &str = "dev.fairway.instance";
/// The id of the pod that a container runs.
pub(crate) const LABEL_POD: &str = "dev.fairway.pod";
/// On sandboxes instead; its value is what kind of pod the sandbox fits.
pub(crate) const LABEL_SANDBOX: &str = "dev.fairway.sandbox";
/// Which of a pod's containers it is; not there on the main one.
const LABEL_CONTAINER: &str = "dev.fairway.container";
/// Which start of the pod a container is, counted from 1.
const LABEL_RUN: &str = "dev.fairway.run";
/// The pod's spec without its environment and files, so that a container can be stopped properly even when
/// no plan names it any more.
const LABEL_SPEC: &str = "dev.fairway.spec";
/// For people who look at the engine.
const LABEL_APP: &str = "dev.fairway.app";

/// One file of a container's log on disk; older lines are in the log store.
const LOG_FILE_SIZE: &str = "10m";
/// Files per container: 30 MB hold back what the controller cannot take for a while.
const LOG_FILES: &str = "3";
/// Open files per process. The engine's own default may be a million, which makes programs that
/// close "all" descriptors on start take seconds.
const OPEN_FILES_MAX: u64 = 65_536;
/// What ordinary images need beyond nothing: change owner and user on start, bind port 80, pass
/// signals on. Not among them: raw sockets, mknod, chroot, setting file capabilities, audit.
const CAPABILITIES: [&str; 7] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
];
/// The engine takes CPU time in billionths of a core.
const NANOS_PER_MILLI_CPU: i64 = 1_000_000;
/// Longest host name, in bytes (Linux).
const HOSTNAME_BYTES_MAX: usize = 63;
/// What the engine says of the network of a container that has another one's.
const SANDBOX_MODE: &str = "container:";
/// The program takes a few pages; the engine's own first steps in the container take the rest, in
/// bytes.
const SANDBOX_MEMORY_BYTES: i64 = 32 << 20;
/// The same in processes and threads.
const SANDBOX_PIDS: i64 = 32;
/// User and group that own nothing, on any Linux.
const NOBODY: &str = "65534:65534";
/// How much of a pod's id its container's name shows, in characters.
const SHORT_ID_CHARS: usize = 12;

/// What a container says about itself by its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) pod: PodId,
    pub(crate) container: ContainerName,
    pub(crate) run: u32,
    /// `None` if a later version of Fairway wrote a spec that this one cannot read.
    pub(crate) spec: Option<Box<PodSpec>>,
}

/// The name of a pod's container. Each start has its own, so that a dead container can keep its
/// log until that is delivered while the next one runs.
pub(crate) fn name(instance: &str, spec: &PodSpec, run: u32) -> String {
    let id = spec.id.as_uuid().simple().to_string();
    // The end of a version 7 id is random, its start is the time and alike for pods made together.
    let short = &id[id.len() - SHORT_ID_CHARS..];
    let name: String = spec
        .name
        .chars()
        .map(|c| if is_name_char(c) { c } else { '-' })
        .collect();
    let base = format!("fairway-{instance}-{}-{name}-{short}", spec.app_name);
    if run <= 1 {
        base
    } else {
        format!("{base}-{run}")
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Where a container has its network from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Net<'a> {
    /// The engine makes one for it.
    Own(&'a Joined),
    /// It is that of this sandbox, with host name and name servers.
    Sandbox(&'a str),
}

/// Everything the engine is told about a container.
pub(crate) fn body(instance: &str, part: &Part, run: u32, net: Net<'_>) -> ContainerCreateBody {
    let spec = &part.spec;
    let attached = spec.attach.is_some();
    let tty = spec.attach.as_ref().is_some_and(|attach| attach.tty);
    ContainerCreateBody {
        hostname: match net {
            Net::Own(_) => Some(hostname(&spec.name)),
            Net::Sandbox(_) => None,
        },
        image: Some(spec.image.to_string()),
        env: Some(
            spec.env
                .iter()
                .map(|(k, v)| format!("{k}={}", v.expose()))
                .collect(),
        ),
        cmd: spec.command.clone(),
        // An empty list would keep the image's entrypoint; one empty word clears it.
        entrypoint: spec
            .entrypoint
            .clone()
            .map(|e| if e.is_empty() { vec![String::new()] } else { e }),
        tty: Some(tty),
        open_stdin: Some(attached),
        stdin_once: Some(attached),
        attach_stdin: Some(attached),
        attach_stdout: Some(attached),
        attach_stderr: Some(attached),
        labels: Some(labels(instance, part, run)),
        // For people who call `docker stop`; the agent sends the signals itself.
        stop_signal: Some(spec.stop.signal.clone()),
        stop_timeout: Some(spec.stop.grace_secs.into()),
        host_config: Some(match net {
            Net::Own(joined) => on_network(host_config(instance, part), joined),
            Net::Sandbox(id) => HostConfig {
                network_mode: Some(format!("{SANDBOX_MODE}{id}")),
                ..host_config(instance, part)
            },
        }),
        ..ContainerCreateBody::default()
    }
}

/// The same with what it mounts, beside the folders that it shares with other containers.
pub(crate) fn mounting(mut body: ContainerCreateBody, mounts: &[Mount]) -> ContainerCreateBody {
    if let Some(host_config) = &mut body.host_config
        && !mounts.is_empty()
    {
        let all = host_config.mounts.get_or_insert_default();
        all.extend_from_slice(mounts);
    }
    body
}

/// The sandbox whose network a container has, by what the engine says of its network.
pub(crate) fn sandbox_of(network_mode: Option<&str>) -> Option<String> {
    network_mode?.strip_prefix(SANDBOX_MODE).map(Into::into)
}

/// Everything the engine is told about a sandbox.
pub(crate) fn sandbox(instance: &str, kind: &Kind) -> ContainerCreateBody {
    let (image, program) = sandbox::image();
    let words = |list: &[&str]| Some(list.iter().map(|&word| word.to_owned()).collect());
    let host_config = HostConfig {
        memory: Some(SANDBOX_MEMORY_BYTES),
        memory_swap: Some(SANDBOX_MEMORY_BYTES),
        pids_limit: Some(SANDBOX_PIDS),
        readonly_rootfs: Some(true),
        security_opt: words(&["no-new-privileges"]),
        cap_drop: words(&["ALL"]),
        log_config: Some(no_log()),
        ..HostConfig::default()
    };
    let labels = [
        (LABEL_INSTANCE, instance.to_owned()),
        (LABEL_SANDBOX, kind.mark()),
    ];
    ContainerCreateBody {
        hostname: Some(kind.hostname.clone()),
        image: Some(image),
        entrypoint: words(&[program]),
        user: Some(NOBODY.into()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
        // The first process of a namespace gets no other signal that it does not ask for.
        stop_signal: Some("SIGKILL".into()),
        host_config: Some(on_network(host_config, &kind.joined)),
        ..ContainerCreateBody::default()
    }
}

fn on_network(host_config: HostConfig, joined: &Joined) -> HostConfig {
    let servers = joined.name_servers.iter().map(ToString::to_string);
    HostConfig {
        network_mode: Some(joined.network.clone()),
        dns: Some(servers.collect()),
        dns_search: joined.search(),
        ..host_config
    }
}

fn host_config(instance: &str, part: &Part) -> HostConfig {
    let spec = &part.spec;
    let memory = i64::try_from(spec.resources.memory_bytes).unwrap_or(i64::MAX);
    let open_files = i64::try_from(open_files_max()).unwrap_or(i64::MAX);
    let words = |list: &[&str]| Some(list.iter().map(|&word| word.to_owned()).collect());
    HostConfig {
        memory: Some(memory),
        // Memory and swap together: no swap, so that the limit is the limit.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(spec.resources.cpu_millis) * NANOS_PER_MILLI_CPU),
        pids_limit: Some(spec.resources.pids.into()),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("nofile".into()),
            soft: Some(open_files),
            hard: Some(open_files),
        }]),
        security_opt: words(&["no-new-privileges"]),
        cap_drop: words(&["ALL"]),
        cap_add: words(&CAPABILITIES),
        init: Some(true),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(log_config(spec)),
        mounts: folders::mounts(instance, part),
        ..HostConfig::default()
    }
}

/// An engine that is itself confined cannot give more than it has; the agent stands beside it and
/// has the same limit.
fn open_files_max() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    limit.unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX)
}

/// `json-file` rather than `local`: both bound the disk and serve `docker logs`, but its files are
/// what operators' own log shippers read. Interactive sessions are not logged at all.
fn log_config(spec: &PodSpec) -> HostConfigLogConfig {
    if spec.attach.is_some() {
        return no_log();
    }
    let limits = [("max-size", LOG_FILE_SIZE), ("max-file", LOG_FILES)];
    HostConfigLogConfig {
        typ: Some("json-file".into()),
        config: Some(limits.map(|(key, value)| (key.into(), value.into())).into()),
    }
}

fn no_log() -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("none".into()),
        config: None,
    }
}

fn labels(instance: &str, part: &Part, run: u32) -> HashMap<String, String> {
    let mut bare = PodSpec {
        env: Default::default(),
        files: Default::default(),
        ..(*part.pod).clone()
    };
    for sidecar in &mut bare.sidecars.containers {
        sidecar.env.clear();
    }
    let text = serde_json::to_string(&bare).unwrap_or_default();
    let container = (!part.name.is_main()).then(|| (LABEL_CONTAINER, part.name.to_string()));
    [
        (LABEL_INSTANCE, instance.to_owned()),
        (LABEL_POD, part.pod.id.to_string()),
        (LABEL_RUN, run.to_string()),
        (LABEL_APP, part.pod.app_name.to_string()),
        (LABEL_SPEC, text),
    ]
    .into_iter()
    .chain(container)
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Reads the labels back; `None` for a container that this instance's agent did not make.
pub(crate) fn stamp(instance: &str, labels: &HashMap<String, String>) -> Option<Stamp> {
    if labels.get(LABEL_INSTANCE)? != instance {
        return None;
    }
    Some(Stamp {
        pod: labels.get(LABEL_POD)?.parse().ok()?,
        container: match labels.get(LABEL_CONTAINER) {
            Some(name) => name.parse().ok()?,
            None => ContainerName::main(),
        },
        run: labels.get(LABEL_RUN)?.parse().ok()?,
        spec: labels
            .get(LABEL_SPEC)
            .and_then(|text| serde_json::from_str(text).ok()),
    })
}

/// `web.1` as `web-1`: a dot would make the name look like a domain.
pub(crate) fn hostname(pod: &str) -> String {
    let name: String = pod
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    name.chars().take(HOSTNAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests;
