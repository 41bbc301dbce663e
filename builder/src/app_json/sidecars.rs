//! The `sidecars` and `shared` of app.json: containers beside the main one, and folders that they
//! share.
//!
//! ```json
//! { "sidecars": [ { "name": "proxy", "types": ["web"], "image": "nginx:1.27", "port": 9000,
//!                   "requests": true, "after": ["main"],
//!                   "shared": [ { "name": "pages", "path": "/usr/share/nginx/html" } ] } ],
//!   "shared":   [ { "name": "pages", "path": "/app/pages", "size": 32 } ] }
//! ```
//!
//! Both are Fairway's own keys, so unknown keys in them are mistakes and not another platform's.
//! What can be judged from the file alone is judged here; process types and ports of the app, and
//! images from elsewhere, in `build::sidecars`.

mod entry;
mod order;

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::{
    checks::Checks,
    names::{ConfigName, ContainerName, ProcessType, VolumeName},
    pods::StopPolicy,
    sidecars::{
        BuiltFolder, FOLDER_PATH_BYTES_MAX, FolderMount, OnExit, SHARED_FOLDER_MIB,
        SHARED_FOLDERS_MAX, SIDECARS_MAX, SeenConfig,
    },
    sizes::Resources,
};
use serde::Deserialize;

pub(super) use self::entry::Entry;
use super::{AppJsonError, refused};

/// One MiB in bytes.
const MIB: u64 = 1024 * 1024;
/// Folders of the system, which nothing may be put over.
const SYSTEM_FOLDERS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What an app.json asks for besides the main containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sidecars {
    pub(crate) containers: Vec<Sidecar>,
    /// What comes before the main container.
    pub(crate) main_after: BTreeSet<ContainerName>,
    pub(crate) folders: Vec<BuiltFolder>,
}

/// One container that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    pub(crate) name: ContainerName,
    pub(crate) types: BTreeSet<ProcessType>,
    pub(crate) one_offs: bool,
    /// As written; `None` for the app's own image.
    pub(crate) image: Option<String>,
    pub(crate) command: Option<Command>,
    pub(crate) env: BTreeMap<ConfigName, String>,
    pub(crate) config: SeenConfig,
    pub(crate) resources: Resources,
    pub(crate) port: Option<u16>,
    pub(crate) takes_requests: bool,
    pub(crate) checks: Checks,
    pub(crate) stop: StopPolicy,
    /// All the way down.
    pub(crate) after: BTreeSet<ContainerName>,
    pub(crate) on_exit: OnExit,
    pub(crate) folders: Vec<FolderMount>,
}

/// What a container runs, if not what its image says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Command {
    /// A program and its arguments.
    Words(Vec<String>),
    /// A shell command line.
    Line(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folder {
    name: VolumeName,
    path: String,
    /// In MiB.
    size: Option<u64>,
}

/// Reads both keys.
pub(super) fn read(entries: Vec<Entry>, shared: Vec<Folder>) -> Result<Sidecars, AppJsonError> {
    if entries.len() > SIDECARS_MAX {
        let rule = format!("an app has at most {SIDECARS_MAX} sidecars");
        return Err(refused("sidecars".into(), rule));
    }
    let folders = folders(shared)?;
    let order = order::resolve(&entries)?;
    let mut sidecars = Sidecars {
        main_after: order.main_after,
        folders,
        containers: vec![],
    };
    for (index, entry) in entries.into_iter().enumerate() {
        let at = format!("sidecars[{index}]");
        let after = order.after.get(&entry.name).cloned().unwrap_or_default();
        let sidecar = entry.read(&at, after, &sidecars.folders)?;
        fits_with(&at, &sidecar, &sidecars.containers)?;
        sidecars.containers.push(sidecar);
    }
    for (index, folder) in sidecars.folders.iter().enumerate() {
        let mounts = sidecars.containers.iter().flat_map(|it| &it.folders);
        if !mounts.into_iter().any(|it| it.name == folder.name) {
            let rule = format!(
                "no sidecar has the folder {0}; add \"shared\": [\"{0}\"] to one",
                folder.name
            );
            return Err(refused(format!("shared[{index}]"), rule));
        }
    }
    Ok(sidecars)
}

fn folders(shared: Vec<Folder>) -> Result<Vec<BuiltFolder>, AppJsonError> {
    if shared.len() > SHARED_FOLDERS_MAX {
        let rule = format!("an app has at most {SHARED_FOLDERS_MAX} shared folders");
        return Err(refused("shared".into(), rule));
    }
    let mut folders: Vec<BuiltFolder> = vec![];
    for (index, Folder { name, path, size }) in shared.into_iter().enumerate() {
        let at = format!("shared[{index}]");
        let (least, most, usual) = SHARED_FOLDER_MIB;
        let size = size.unwrap_or(usual);
        if !(least..=most).contains(&size) {
            let rule = format!("{size} is out of range; it must be from {least} to {most} (MiB)");
            return Err(refused(format!("{at}.size"), rule));
        }
        check_path(&format!("{at}.path"), &path)?;
        if folders.iter().any(|it| it.name == name) {
            return Err(refused(at, format!("there are two folders named {name}")));
        }
        if folders.iter().any(|it| it.path == path) {
            let rule = format!("{path} is the path of another folder");
            return Err(refused(format!("{at}.path"), rule));
        }
        folders.push(BuiltFolder {
            name,
            size_bytes: size * MIB,
            path,
        });
    }
    Ok(folders)
}

/// A folder in a container: absolute, in one form, and not over the system's own.
fn check_path(at: &str, path: &str) -> Result<(), AppJsonError> {
    let words = path.strip_prefix('/').map(|rest| rest.split('/'));
    let plain = words.is_some_and(|mut words| words.all(|it| !matches!(it, "" | "." | "..")));
    let system = |folder: &&&str| {
        let rest = path.strip_prefix(**folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let refuse = |rule: String| Err(refused(at.to_owned(), rule));
    if !plain || path.len() > FOLDER_PATH_BYTES_MAX || path.chars().any(char::is_control) {
        return refuse(format!(
            "{path:?} must be an absolute path such as /app/shared, without . and .., of at most \
             {FOLDER_PATH_BYTES_MAX} bytes"
        ));
    }
    if let Some(folder) = SYSTEM_FOLDERS.iter().find(system) {
        return refuse(format!("{path} is in {folder}, which is the system's"));
    }
    Ok(())
}

/// Whether a container can be in one pod with those before it.
fn fits_with(at: &str, new: &Sidecar, others: &[Sidecar]) -> Result<(), AppJsonError> {
    for other in others {
        let meet = other.one_offs && new.one_offs || !other.types.is_disjoint(&new.types);
        if !meet {
            continue;
        }
        if new.port.is_some() && new.port == other.port {
            let rule = format!(
                "{} listens on this port already, and the containers of a pod share their ports",
                other.name
            );
            return Err(refused(format!("{at}.port"), rule));
        }
        if new.takes_requests && other.takes_requests {
            let rule = format!("{} takes the requests already", other.name);
            return Err(refused(format!("{at}.requests"), rule));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
