//! Config vars as files: in memory, one directory per pod, for its own user to read.
//!
//! `/dev/shm` is a tmpfs on every Linux, so that nothing has to be mounted and nothing stays mounted
//! when the agent has gone. A directory of it is mounted into the pod, read-only.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use fairway_api::{ids::PodId, pods::PodSpec};

use super::owner::{self, User};

/// What keeps it all in memory.
const MEMORY: &str = "/dev/shm";
/// How statfs(2) calls a tmpfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// For the pod's own user.
const OWN_MODE: u32 = 0o400;
/// For a user that cannot be found out: the directory above keeps everybody else out.
const ANY_MODE: u32 = 0o444;

/// The files of all pods.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub(super) fn new(instance: &str) -> Self {
        let root = Path::new(MEMORY).join(format!("fairway-{instance}-files"));
        Self { root }
    }

    fn dir(&self, pod: PodId) -> PathBuf {
        self.root.join(pod.to_string())
    }

    /// Writes a pod's files; gives their directory.
    pub(super) fn write(&self, spec: &PodSpec) -> Result<PathBuf, String> {
        let in_memory = rustix::fs::statfs(MEMORY).is_ok_and(|it| it.f_type == TMPFS_MAGIC);
        if !in_memory {
            return Err(format!("{MEMORY} of this machine is not in memory (tmpfs)"));
        }
        let dir = self.dir(spec.id);
        let written = || -> io::Result<()> {
            let mut private = fs::DirBuilder::new();
            private.recursive(true).mode(0o700).create(&self.root)?;
            if !dir.exists() {
                fs::DirBuilder::new().mode(0o755).create(&dir)?;
                // Whatever the agent's umask is.
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
            }
            for (name, value) in &spec.files {
                let path = dir.join(name.as_str());
                if path.exists() {
                    fs::remove_file(&path)?;
                }
                let mut options = OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(OWN_MODE)
                    .open(&path)?;
                file.write_all(value.expose().as_bytes())?;
            }
            Ok(())
        };
        written().map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(dir)
    }

    /// Gives them to the user that runs in the pod.
    pub(super) fn settle(&self, spec: &PodSpec, user: Option<User>) {
        let dir = self.dir(spec.id);
        for name in spec.files.keys() {
            let path = dir.join(name.as_str());
            let given = user.is_some_and(|user| owner::give(&path, user.uid, user.gid));
            if !given
                && let Err(error) = fs::set_permissions(&path, fs::Permissions::from_mode(ANY_MODE))
            {
                tracing::warn!(path = %path.display(), "cannot let a pod read its file: {error}");
            }
        }
    }

    /// Removes the files of pods that are not among these.
    pub(super) fn keep_only(&self, pods: &BTreeSet<PodId>) {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        for entry in entries {
            let pod = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<PodId>().ok());
            if pod.is_none_or(|pod| pods.contains(&pod)) {
                continue;
            }
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!("cannot remove the config files of a pod: {error}");
            }
        }
        // Empty, as far as it can be: nothing of an agent that has left is to stay.
        if pods.is_empty() {
            drop(fs::remove_dir(&self.root));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use fairway_api::secret::Secret;

    use super::*;
    use crate::testing::spec;

    #[test]
    fn files_are_in_memory_for_one_user_and_go_with_their_pod() {
        let files = Files::new(&format!("test{}", std::process::id()));
        let mut pod = spec(1);
        pod.files = [("KEY".parse().unwrap(), Secret::new("s3cret"))].into();
        let dir = files.write(&pod).unwrap();
        // Once more, as after a crash of the pod.
        assert_eq!(files.write(&pod).unwrap(), dir);
        let file = dir.join("KEY");
        assert_eq!(fs::read_to_string(&file).unwrap(), "s3cret");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o400);
        assert_eq!(fs::metadata(&files.root).unwrap().mode() & 0o777, 0o700);
        files.settle(&pod, None);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o444);
        files.keep_only(&[pod.id].into());
        assert!(file.exists());
        files.keep_only(&BTreeSet::new());
        assert!(!files.root.exists());
    }
}
