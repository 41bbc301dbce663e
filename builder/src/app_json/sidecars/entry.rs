//! One entry of `sidecars`.

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::{
    checks::Checks,
    names::{ConfigName, ContainerName, ProcessType, VolumeName},
    sidecars::{
        BuiltFolder, FolderMount, OnExit, SIDECAR_CPU_MILLIS, SIDECAR_GRACE_SECS_DEFAULT,
        SIDECAR_MEMORY_MIB, SIDECAR_PIDS, SeenConfig,
    },
    sizes::Resources,
};
use oci_distribution::Reference;
use serde::Deserialize;

use super::{
    super::{AppJsonError, Stop, health, health::HealthCheck, refused, stop_policy, within},
    Command, MIB, Sidecar, check_path,
};

/// The word in `types` for pods that run once: one-off pods and those of jobs.
const ONE_OFFS: &str = "run";
/// The most bytes of a command's words together.
const COMMAND_BYTES_MAX: usize = 8 * 1024;
/// The most bytes of all names and values of an `env` together.
const ENV_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(super) name: ContainerName,
    types: BTreeSet<Type>,
    image: Option<String>,
    command: Option<Command>,
    #[serde(default)]
    env: BTreeMap<ConfigName, String>,
    config: Option<Config>,
    /// In MiB.
    memory: Option<u64>,
    /// In thousandths of a core.
    cpu: Option<u32>,
    port: Option<u16>,
    #[serde(default)]
    requests: bool,
    #[serde(default)]
    healthchecks: Vec<HealthCheck>,
    #[serde(default)]
    pub(super) after: BTreeSet<ContainerName>,
    #[serde(default)]
    pub(super) before: BTreeSet<ContainerName>,
    #[serde(default)]
    on_exit: OnExit,
    stop: Option<Stop>,
    #[serde(default)]
    shared: Vec<Mount>,
}

/// Whose pods have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
enum Type {
    OneOffs,
    Process(ProcessType),
}

impl TryFrom<String> for Type {
    type Error = fairway_api::names::InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == ONE_OFFS {
            return Ok(Self::OneOffs);
        }
        text.parse().map(Self::Process)
    }
}

/// `true` for all config vars, `false` for none, or their names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Config {
    All(bool),
    Only(BTreeSet<ConfigName>),
}

/// A shared folder by name, where the main container has it, or with a path.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mount {
    Same(VolumeName),
    At { name: VolumeName, path: String },
}

impl Entry {
    /// Judges it, knowing what it waits for and which folders there are.
    pub(super) fn read(
        self,
        at: &str,
        after: BTreeSet<ContainerName>,
        folders: &[BuiltFolder],
    ) -> Result<Sidecar, AppJsonError> {
        self.check_what_it_runs(at)?;
        self.check_env(at)?;
        self.check_port(at)?;
        let processes = self.types.iter().filter_map(|it| match it {
            Type::Process(process_type) => Some(process_type.clone()),
            Type::OneOffs => None,
        });
        let types: BTreeSet<ProcessType> = processes.collect();
        if self.types.is_empty() {
            let rule = "name the process types whose pods have it, such as [\"web\"]";
            return Err(refused(format!("{at}.types"), rule));
        }
        if self.requests && !types.iter().any(ProcessType::is_web) {
            let rule = "only a sidecar of web can take requests; add \"web\" to its types";
            return Err(refused(format!("{at}.requests"), rule));
        }
        let usual = match self.port {
            Some(_) => Checks::for_port(),
            None => Checks::for_worker(),
        };
        let startup = usual.startup.clone();
        let at_checks = format!("{at}.healthchecks");
        let checks = health::checks(&at_checks, startup, self.healthchecks)?.unwrap_or(usual);
        let config = match self.config {
            Some(Config::All(true)) => SeenConfig::All,
            Some(Config::All(false)) => SeenConfig::Only(BTreeSet::new()),
            Some(Config::Only(names)) => SeenConfig::Only(names),
            // The app's own code may need what the app has; an image from elsewhere gets nothing
            // that nobody meant for it.
            None if self.image.is_none() => SeenConfig::All,
            None => SeenConfig::Only(BTreeSet::new()),
        };
        Ok(Sidecar {
            name: self.name,
            one_offs: self.types.contains(&Type::OneOffs),
            types,
            image: self.image,
            command: self.command,
            env: self.env,
            config,
            resources: resources(at, self.memory, self.cpu)?,
            port: self.port,
            takes_requests: self.requests,
            checks,
            stop: stop_policy(
                &format!("{at}.stop"),
                self.stop.unwrap_or_default(),
                SIDECAR_GRACE_SECS_DEFAULT,
            )?,
            after,
            on_exit: self.on_exit,
            folders: mounts(at, self.shared, folders)?,
        })
    }

    fn check_what_it_runs(&self, at: &str) -> Result<(), AppJsonError> {
        if self.image.is_none() && self.command.is_none() {
            let rule = "say what it runs: a \"command\" of the app's own image, or an \"image\"";
            return Err(refused(at.to_owned(), rule));
        }
        if let Some(image) = &self.image {
            image.parse::<Reference>().map_err(|error| {
                let rule = format!(
                    "{image:?} is no name of an image ({error}); write it as nginx:1.27 or \
                     ghcr.io/owner/name@sha256:..."
                );
                refused(format!("{at}.image"), rule)
            })?;
        }
        let words = match &self.command {
            None => return Ok(()),
            Some(Command::Words(words)) => words.as_slice(),
            Some(Command::Line(line)) => std::slice::from_ref(line),
        };
        let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
        let empty = words.first().is_none_or(|word| word.trim().is_empty());
        if empty || bytes > COMMAND_BYTES_MAX || words.iter().any(|word| word.contains('\0')) {
            let rule = format!(
                "a command is a program and its arguments, or one shell command line, of 1 to \
                 {COMMAND_BYTES_MAX} bytes"
            );
            return Err(refused(format!("{at}.command"), rule));
        }
        Ok(())
    }

    fn check_env(&self, at: &str) -> Result<(), AppJsonError> {
        let vars = self.env.iter();
        let bytes: usize = vars
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if bytes > ENV_BYTES_MAX || self.env.values().any(|value| value.contains('\0')) {
            let rule = format!(
                "names and values have at most {ENV_BYTES_MAX} bytes, and no NUL character"
            );
            return Err(refused(format!("{at}.env"), rule));
        }
        Ok(())
    }

    fn check_port(&self, at: &str) -> Result<(), AppJsonError> {
        if self.port == Some(0) {
            return Err(refused(format!("{at}.port"), "it must be from 1 to 65535"));
        }
        if self.requests && self.port.is_none() {
            let rule = "a sidecar that takes requests needs a \"port\" to take them on";
            return Err(refused(format!("{at}.requests"), rule));
        }
        Ok(())
    }
}

fn resources(at: &str, memory: Option<u64>, cpu: Option<u32>) -> Result<Resources, AppJsonError> {
    let (least, most, usual) = SIDECAR_MEMORY_MIB;
    let mib = memory.unwrap_or(usual);
    if !(least..=most).contains(&mib) {
        let rule = format!("{mib} is out of range; it must be from {least} to {most} (MiB)");
        return Err(refused(format!("{at}.memory"), rule));
    }
    let (least, most, usual) = SIDECAR_CPU_MILLIS;
    Ok(Resources {
        memory_bytes: mib * MIB,
        cpu_millis: within(format!("{at}.cpu"), cpu.unwrap_or(usual), least, most)?,
        pids: SIDECAR_PIDS,
    })
}

fn mounts(
    at: &str,
    shared: Vec<Mount>,
    folders: &[BuiltFolder],
) -> Result<Vec<FolderMount>, AppJsonError> {
    let mut mounts: Vec<FolderMount> = vec![];
    for (index, mount) in shared.into_iter().enumerate() {
        let at = format!("{at}.shared[{index}]");
        let (name, path) = match mount {
            Mount::Same(name) => (name, None),
            Mount::At { name, path } => (name, Some(path)),
        };
        let folder = folders.iter().find(|it| it.name == name).ok_or_else(|| {
            let rule = format!(
                "there is no shared folder {name}; add it to \"shared\" beside \"sidecars\""
            );
            refused(at.clone(), rule)
        })?;
        let path = path.unwrap_or_else(|| folder.path.clone());
        check_path(&format!("{at}.path"), &path)?;
        if mounts.iter().any(|it| it.path == path || it.name == name) {
            let rule = "a container has a folder once, and one folder in each place";
            return Err(refused(at, rule));
        }
        mounts.push(FolderMount { name, path });
    }
    Ok(mounts)
}
