//! Directories of this machine that its operator lets apps have.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use fairway_api::names::HostPath;

/// The directory itself, if the operator allows it: where symbolic links lead counts.
pub(super) fn find(asked: &HostPath, allowed: &[HostPath]) -> Result<PathBuf, String> {
    let named = |dir: &&HostPath| Path::new(asked.as_str()).starts_with(dir.as_str());
    let refused = || {
        format!(
            "this machine does not allow {asked}; its operator does so by starting the agent with \
             --allow-host-path"
        )
    };
    let dir = allowed.iter().find(named).ok_or_else(refused)?;
    let real = fs::canonicalize(asked.as_str()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no directory {asked} on this machine"),
        _ => format!("{asked}: {error}"),
    })?;
    let dir = fs::canonicalize(dir.as_str()).map_err(|error| format!("{dir}: {error}"))?;
    if !real.starts_with(&dir) {
        return Err(format!("{asked} leads out of {}", dir.display()));
    }
    if !real.is_dir() {
        return Err(format!("{asked} is no directory"));
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_is_really_in_an_allowed_directory_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        let name = |part: &str| -> HostPath {
            root.join(part)
                .to_string_lossy()
                .into_owned()
                .parse()
                .unwrap()
        };
        fs::create_dir_all(root.join("open/app")).unwrap();
        fs::create_dir_all(root.join("opening")).unwrap();
        fs::write(root.join("open/file"), "").unwrap();
        symlink("/etc", root.join("open/out")).unwrap();
        symlink("app", root.join("open/in")).unwrap();
        let allowed = [name("open")];
        assert_eq!(find(&name("open"), &allowed), Ok(root.join("open")));
        assert_eq!(find(&name("open/app"), &allowed), Ok(root.join("open/app")));
        assert_eq!(find(&name("open/in"), &allowed), Ok(root.join("open/app")));
        for (asked, says) in [
            ("opening", "does not allow"),
            ("elsewhere", "does not allow"),
            ("open/out", "leads out"),
            ("open/file", "no directory"),
            ("open/missing", "there is no directory"),
        ] {
            let refused = find(&name(asked), &allowed).unwrap_err();
            assert!(refused.contains(says), "{asked}: {refused}");
        }
    }
}
