//! The few questions and orders for the user's own git. It runs the `git` on the `PATH`, so that
//! the user's configuration holds.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use crate::failure::Failure;

/// A remote of the repository around the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GitRemote {
    pub(crate) name: String,
    pub(crate) url: String,
}

/// Every remote with each of its URLs; none outside a repository or without git.
pub(crate) fn remotes() -> Vec<GitRemote> {
    let listed = output(["config", "--null", "--get-regexp", r"^remote\..*\.url$"]);
    listed.map_or_else(Vec::new, |text| parse_remotes(&text))
}

/// Reads `git config --null --get-regexp`: key, line end, value, NUL.
fn parse_remotes(text: &str) -> Vec<GitRemote> {
    text.split('\0')
        .filter_map(|entry| {
            let (key, url) = entry.split_once('\n')?;
            let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
            Some(GitRemote {
                name: name.to_owned(),
                url: url.to_owned(),
            })
        })
        .collect()
}

/// True in a working directory that belongs to a repository.
pub(crate) fn in_repository() -> bool {
    output(["rev-parse", "--git-dir"]).is_some()
}

/// Makes a remote that does not exist.
pub(crate) fn add_remote(name: &str, url: &str) -> Result<(), Failure> {
    order(["remote", "add", "--", name, url])
}

/// Points an existing remote somewhere else.
pub(crate) fn set_remote_url(name: &str, url: &str) -> Result<(), Failure> {
    order(["remote", "set-url", "--", name, url])
}

/// Removes a remote.
pub(crate) fn remove_remote(name: &str) -> Result<(), Failure> {
    order(["remote", "remove", name])
}

/// The values of a setting of the user, not of one repository.
pub(crate) fn global_values(key: &str) -> Vec<String> {
    output(["config", "--global", "--null", "--get-all", key])
        .map(|text| text.split_terminator('\0').map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Replaces all values of a setting of the user.
pub(crate) fn set_global_values(key: &str, values: &[&str]) -> Result<(), Failure> {
    if !global_values(key).is_empty() {
        order(["config", "--global", "--unset-all", key])?;
    }
    values
        .iter()
        .try_for_each(|value| order(["config", "--global", "--add", key, value]))
}

/// What git says, or nothing when it fails: not a repository, no such key, no git.
fn output<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn order<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<(), Failure> {
    let output = Command::new("git")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::io("run git"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(Failure::failed(format!("git refused: {}", why.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_are_read_with_dots_in_names_and_several_urls() {
        let listed = "remote.origin.url\nhttps://example.com/a.git\0remote.my.fork.url\nx:y\0\
                      remote.origin.url\nhttps://example.com/b.git\0";
        let names: Vec<_> = parse_remotes(listed)
            .into_iter()
            .map(|remote| (remote.name, remote.url))
            .collect();
        assert_eq!(
            names,
            [
                ("origin".into(), "https://example.com/a.git".into()),
                ("my.fork".into(), "x:y".into()),
                ("origin".into(), "https://example.com/b.git".to_owned()),
            ]
        );
    }
}
