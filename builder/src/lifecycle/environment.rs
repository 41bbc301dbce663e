//! What layers do to the environment, of later buildpacks and of the app.
//!
//! Pure except for [`changes_of_layer`], which reads a layer's folders. A change is data: it can be
//! applied now, to the environment of the next buildpack, or written as shell lines, which apply
//! it when the app starts, to whatever environment it is started with.

use std::{collections::BTreeMap, io, os::unix::ffi::OsStrExt};

use super::confined::{Folder, Kind};

/// The largest value that a file may give, in bytes: more does not fit into an `execve`.
const VALUE_BYTES_MAX: usize = 128 * 1024;

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, String>;

/// One change to one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) action: Action,
}

/// What is done to a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Sets it, whatever it was.
    Override(String),
    /// Sets it when it is not set.
    Default(String),
    /// Puts the value behind, after the delimiter when there is something.
    Append { value: String, delimiter: String },
    /// Puts the value in front, before the delimiter when there is something.
    Prepend { value: String, delimiter: String },
}

/// Folders of a layer that extend a search path during builds.
const BUILD_PATHS: [(&str, &[&str]); 4] = [
    ("bin", &["PATH"]),
    ("lib", &["LD_LIBRARY_PATH", "LIBRARY_PATH"]),
    ("include", &["CPATH"]),
    ("pkgconfig", &["PKG_CONFIG_PATH"]),
];
/// Folders of a layer that extend a search path of the app.
const LAUNCH_PATHS: [(&str, &[&str]); 2] = [("bin", &["PATH"]), ("lib", &["LD_LIBRARY_PATH"])];
/// Variables that are lists of folders: what a user sets stands before what is there.
const LISTS: [&str; 5] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "PKG_CONFIG_PATH",
];

/// For whom a layer changes the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For<'a> {
    /// Buildpacks that come later.
    Build,
    /// The app: all its process types when there is no name.
    Launch(Option<&'a str>),
}

/// What a layer changes. `path` is where it is in the container.
pub(crate) fn changes_of_layer(
    layer: &Folder,
    path: &str,
    whom: For<'_>,
) -> io::Result<Vec<Change>> {
    let mut changes = Vec::new();
    let paths: &[(&str, &[&str])] = match whom {
        For::Build => &BUILD_PATHS,
        For::Launch(None) => &LAUNCH_PATHS,
        For::Launch(Some(_)) => &[],
    };
    for (folder, variables) in paths {
        if layer.folder_if_any(folder)?.is_some() {
            changes.extend(variables.iter().map(|name| Change {
                name: (*name).to_owned(),
                action: Action::Prepend {
                    value: format!("{path}/{folder}"),
                    delimiter: ":".to_owned(),
                },
            }));
        }
    }
    let folders: &[&str] = match whom {
        For::Build => &["env", "env.build"],
        For::Launch(None) => &["env", "env.launch"],
        For::Launch(Some(_)) => &["env.launch"],
    };
    for folder in folders {
        let folder = layer.folder_if_any(folder)?;
        let folder = match (folder, whom) {
            (Some(folder), For::Launch(Some(process))) => folder.folder_if_any(process)?,
            (folder, _) => folder,
        };
        if let Some(folder) = folder {
            changes.extend(changes_of_files(&read_files(&folder)?));
        }
    }
    Ok(changes)
}

/// The files of an environment folder, by name.
fn read_files(folder: &Folder) -> io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in folder.entries()? {
        if entry.kind != Kind::File {
            continue;
        }
        let name = String::from_utf8_lossy(entry.name.as_bytes()).into_owned();
        if let Some(bytes) = folder.read(&entry.name, VALUE_BYTES_MAX)? {
            let value = String::from_utf8(bytes)
                .ok()
                .filter(|value| !value.contains('\0'))
                .ok_or_else(|| io::Error::other(format!("the file {name} is not text")))?;
            files.insert(name, value);
        }
    }
    Ok(files)
}

/// What these files mean. Names that no shell can set are left out.
fn changes_of_files(files: &BTreeMap<String, String>) -> Vec<Change> {
    let delimiter = |name: &str| {
        files
            .get(&format!("{name}.delim"))
            .cloned()
            .unwrap_or_default()
    };
    let mut changes = Vec::new();
    for (file, value) in files {
        let (name, suffix) = file.split_once('.').unwrap_or((file, "override"));
        let value = value.clone();
        let action = match suffix {
            "override" => Action::Override(value),
            "default" => Action::Default(value),
            "append" => Action::Append {
                value,
                delimiter: delimiter(name),
            },
            "prepend" => Action::Prepend {
                value,
                delimiter: delimiter(name),
            },
            _ => continue,
        };
        if is_name(name) {
            changes.push(Change {
                name: name.to_owned(),
                action,
            });
        }
    }
    changes
}

/// True for what a shell can export.
pub(crate) fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Applies changes in their order.
pub(crate) fn apply(variables: &mut Variables, changes: &[Change]) {
    for Change { name, action } in changes {
        let old = variables.get(name).filter(|old| !old.is_empty());
        let new = match action {
            Action::Override(value) => value.clone(),
            Action::Default(value) if !variables.contains_key(name) => value.clone(),
            Action::Default(_) => continue,
            Action::Append { value, delimiter } => match old {
                Some(old) => format!("{old}{delimiter}{value}"),
                None => value.clone(),
            },
            Action::Prepend { value, delimiter } => match old {
                Some(old) => format!("{value}{delimiter}{old}"),
                None => value.clone(),
            },
        };
        variables.insert(name.clone(), new);
    }
}

/// Adds what a user set: in front of lists, in place of everything else.
pub(crate) fn apply_users(variables: &mut Variables, users: &Variables) {
    for (name, value) in users {
        let old = variables.get(name).filter(|old| !old.is_empty());
        let new = match old {
            Some(old) if LISTS.contains(&name.as_str()) => format!("{value}:{old}"),
            _ => value.clone(),
        };
        variables.insert(name.clone(), new);
    }
}

/// The changes as lines for a POSIX shell.
pub(crate) fn as_shell(changes: &[Change]) -> String {
    let mut lines = String::new();
    for Change { name, action } in changes {
        let line = match action {
            Action::Override(value) => format!("export {name}={}", quote(value)),
            Action::Default(value) => {
                format!("[ -n \"${{{name}+x}}\" ] || export {name}={}", quote(value))
            }
            Action::Append { value, delimiter } => joined(name, value, |value| {
                format!("\"${name}\"{}{value}", quote(delimiter))
            }),
            Action::Prepend { value, delimiter } => joined(name, value, |value| {
                format!("{value}{}\"${name}\"", quote(delimiter))
            }),
        };
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

fn joined(name: &str, value: &str, join: impl FnOnce(&str) -> String) -> String {
    let value = quote(value);
    let both = join(&value);
    format!("if [ -n \"${{{name}-}}\" ]; then export {name}={both}; else export {name}={value}; fi")
}

/// A word that a POSIX shell takes as it is.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
