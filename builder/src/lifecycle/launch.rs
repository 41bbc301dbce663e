//! What an app is started by: for each process type a small script in the image, which sets the
//! environment that the layers ask for and becomes the process.
//!
//! ```text
//! /cnb/process/web             starts the process type web
//! /cnb/lifecycle/launcher ...  starts anything else in the same environment; the entrypoint
//! ```
//!
//! Scripts and not values in the image's configuration, since a layer may add to what the app is
//! started with: `PATH` of a config var, say. Pure except for reading the layers.

use anyhow::Context as _;

use super::{
    LaunchProcess,
    build::Built,
    confined::{Folder, Kind},
    environment::{Change, For, as_shell, changes_of_layer, quote},
    layer_tar::LayerWriter,
    spec::{Command, Process},
};
use crate::build::BuildFailure;

/// Where the scripts of process types are.
const PROCESS_DIR: &str = "/cnb/process";
/// The entrypoint of the image.
pub(crate) const LAUNCHER: &str = "/cnb/lifecycle/launcher";
/// Where the app is.
pub(crate) const APP_DIR: &str = "/workspace";
/// The process type that the image starts when nothing is said.
const DEFAULT_TYPE: &str = "web";

/// The processes of an image, and how they are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) processes: Vec<LaunchProcess>,
    /// What the image starts when nothing is said.
    pub(crate) default: Option<String>,
    /// Path in the image and content, sorted.
    scripts: Vec<(String, String)>,
}

/// A process, and the buildpack's rule for how it is started.
struct Declared<'a> {
    process: &'a Process,
    always_direct: bool,
}

/// Works out the processes from what the buildpacks declared. A later one replaces an earlier one
/// of the same type.
pub(crate) fn launch(layers: &Folder, built: &[Built]) -> Result<Launch, BuildFailure> {
    let mut declared: Vec<Declared<'_>> = Vec::new();
    let mut default = None;
    for one in built {
        for process in &one.launch.processes {
            declared.retain(|other| other.process.process_type != process.process_type);
            declared.push(Declared {
                process,
                always_direct: one.buildpack.always_direct(),
            });
            if process.default {
                default = Some(process.process_type.clone());
            }
        }
    }
    declared.sort_by(|a, b| a.process.process_type.cmp(&b.process.process_type));
    let has_web = declared
        .iter()
        .any(|one| one.process.process_type == DEFAULT_TYPE);
    let default = default.or_else(|| has_web.then(|| DEFAULT_TYPE.to_owned()));
    let common = changes(layers, built, None)?;
    let mut scripts = vec![(
        in_tar(LAUNCHER),
        launcher(&common, &profiles(layers, built, None)?),
    )];
    let mut processes = Vec::new();
    for Declared {
        process,
        always_direct,
    } in declared
    {
        let name = process.process_type.as_str();
        if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            || name.starts_with('.')
        {
            return Err(BuildFailure::new(format!(
                "{name:?} is not a name for a process type"
            )));
        }
        let mut all = common.clone();
        all.extend(changes(layers, built, Some(name))?);
        let words = words(process, always_direct);
        let path = format!("{PROCESS_DIR}/{name}");
        let profiles = profiles(layers, built, Some(name))?;
        let dir = process.working_dir.as_deref().unwrap_or(APP_DIR);
        scripts.push((in_tar(&path), script(&all, &profiles, dir, &words)));
        processes.push(LaunchProcess {
            process_type: name.to_owned(),
            command_line: command_line(&words),
            launcher: path,
        });
    }
    Ok(Launch {
        processes,
        default,
        scripts,
    })
}

impl Launch {
    /// Writes the scripts.
    pub(crate) fn write(&self, layer: &mut LayerWriter) -> std::io::Result<()> {
        for folder in ["cnb", "cnb/lifecycle", "cnb/process"] {
            layer.folder(folder)?;
        }
        self.scripts
            .iter()
            .try_for_each(|(path, text)| layer.script(path, text))
    }
}

fn in_tar(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

fn changes(
    layers: &Folder,
    built: &[Built],
    process: Option<&str>,
) -> Result<Vec<Change>, BuildFailure> {
    let mut changes = Vec::new();
    for_each_layer(layers, built, &mut |layer, path| {
        changes.extend(changes_of_layer(layer, path, For::Launch(process))?);
        Ok(())
    })?;
    Ok(changes)
}

/// The scripts of `profile.d` that are sourced before a process starts.
fn profiles(
    layers: &Folder,
    built: &[Built],
    process: Option<&str>,
) -> Result<Vec<String>, BuildFailure> {
    let mut scripts = Vec::new();
    for_each_layer(layers, built, &mut |layer, path| {
        let Some(folder) = layer.folder_if_any("profile.d")? else {
            return Ok(());
        };
        scripts.extend(files(&folder, &format!("{path}/profile.d"))?);
        if let Some(process) = process
            && let Some(own) = folder.folder_if_any(process)?
        {
            scripts.extend(files(&own, &format!("{path}/profile.d/{process}"))?);
        }
        Ok(())
    })?;
    Ok(scripts)
}

fn files(folder: &Folder, path: &str) -> std::io::Result<Vec<String>> {
    let entries = folder
        .entries()?
        .into_iter()
        .filter(|entry| entry.kind == Kind::File);
    Ok(entries
        .filter_map(|entry| Some(format!("{path}/{}", entry.name.to_str()?)))
        .collect())
}

/// Visits the layers of the image in order, with their paths in it.
fn for_each_layer(
    layers: &Folder,
    built: &[Built],
    visit: &mut dyn FnMut(&Folder, &str) -> std::io::Result<()>,
) -> Result<(), BuildFailure> {
    for one in built {
        let folder = one.buildpack.folder();
        let Some(dir) = layers.folder_if_any(&folder).context("read the layers")? else {
            continue;
        };
        for (name, _) in one.layers.iter().filter(|(_, toml)| toml.types.launch) {
            if let Some(layer) = dir.folder_if_any(name).context("read a layer")? {
                visit(&layer, &format!("/layers/{folder}/{name}")).map_err(|error| {
                    BuildFailure::new(format!("the layer {name} of {folder}: {error}"))
                })?;
            }
        }
    }
    Ok(())
}

/// The words of a process's command.
fn words(process: &Process, always_direct: bool) -> Vec<String> {
    let direct = always_direct || process.direct.unwrap_or(false);
    let mut words = match &process.command {
        Command::Words(words) => words.clone(),
        Command::Line(line) if direct => vec![line.clone()],
        // A command that is a shell's line, to which the arguments are appended.
        Command::Line(line) => {
            let line = if process.args.is_empty() {
                line.clone()
            } else {
                format!("{line} \"$@\"")
            };
            ["bash", "-c", &line, "bash"].map(str::to_owned).to_vec()
        }
    };
    words.extend(process.args.iter().cloned());
    words
}

/// A command as people write it.
fn command_line(words: &[String]) -> String {
    match words {
        [shell, flag, line]
            if flag == "-c" && (shell == "bash" || shell.ends_with("/sh") || shell == "sh") =>
        {
            line.clone()
        }
        [shell, flag, line, ..] if flag == "-c" && shell == "bash" => line.clone(),
        words => {
            shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
        }
    }
}

/// The part that every script starts with. Profile scripts are written for bash.
fn preamble(changes: &[Change], profiles: &[String]) -> String {
    let shell = if profiles.is_empty() {
        "/bin/sh"
    } else {
        "/bin/bash"
    };
    let mut text = format!("#!{shell}\n# Made by Fairway when the image was built.\n");
    text.push_str(&as_shell(changes));
    for profile in profiles {
        text.push_str(&format!(". {}\n", quote(profile)));
    }
    text
}

fn script(changes: &[Change], profiles: &[String], dir: &str, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    let start = preamble(changes, profiles);
    format!(
        "{start}cd {} || exit 1\nexec {} \"$@\"\n",
        quote(dir),
        words.join(" ")
    )
}

fn launcher(changes: &[Change], profiles: &[String]) -> String {
    let start = preamble(changes, profiles);
    format!(
        "{start}case \"$#:$1\" in\n  1:*/*) ;;\n  1:?*) [ ! -x \"{PROCESS_DIR}/$1\" ] || exec \
         \"{PROCESS_DIR}/$1\" ;;\nesac\n[ \"$1\" != -- ] || shift\n[ \"$#\" -gt 0 ] || {{ echo \
         \"name a process type or a command\" >&2; exit 64; }}\nexec \"$@\"\n"
    )
}

#[cfg(test)]
mod tests;
