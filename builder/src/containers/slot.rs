//! The folders of one build container on this machine's disk, and what is mounted where.
//!
//! ```text
//! SLOT/workspace -> /workspace      the app's source, writable
//! SLOT/layers    -> /layers         what buildpacks make
//! SLOT/tmp       -> /tmp, /var/tmp  scratch space
//! SLOT/home      -> /home/cnb       scratch space
//! SLOT/platform  -> /platform       read-only: the environment of the build
//! SLOT/orders    -> /fairway        read-only: the scripts that the driver is told to run
//! ```
//!
//! All that a build can write to is below one folder, so that its size is known and one removal
//! cleans up. The folders are mounted when the container starts and stay; only what is in them
//! comes and goes.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use fairway_api::ids::AppId;

use crate::stack::recipe::USER_ID;

/// Folders that the build writes to, by the name in the slot, and where they are mounted.
const WRITABLE: [(&str, &[&str]); 4] = [
    ("workspace", &["/workspace"]),
    ("layers", &["/layers"]),
    ("tmp", &["/tmp", "/var/tmp"]),
    ("home", &["/home/cnb"]),
];
/// Folders that only the builder writes to.
const READ_ONLY: [(&str, &str); 2] = [("platform", "/platform"), ("orders", "/fairway")];

/// The folders of one build container.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    dir: PathBuf,
}

impl Slot {
    /// Makes the folders of a new slot at `dir`.
    pub(crate) fn create(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        // Nobody else on this machine has to do with what is built here.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        for (name, _) in WRITABLE {
            let path = dir.join(name);
            fs::create_dir_all(&path)?;
            own(&path)?;
        }
        for (name, _) in READ_ONLY {
            fs::create_dir_all(dir.join(name))?;
        }
        Ok(Self { dir })
    }

    /// The whole slot.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The app's source.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.dir.join("workspace")
    }

    /// What buildpacks make.
    pub(crate) fn layers(&self) -> PathBuf {
        self.dir.join("layers")
    }

    /// `/platform`.
    pub(crate) fn platform(&self) -> PathBuf {
        self.dir.join("platform")
    }

    /// Scratch space, `/tmp`.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Scripts for the driver, `/fairway`.
    pub(crate) fn orders(&self) -> PathBuf {
        self.dir.join("orders")
    }

    /// The mounts, as the engine takes them.
    pub(crate) fn binds(&self) -> Vec<String> {
        let mut binds = Vec::new();
        for (name, targets) in WRITABLE {
            let source = self.dir.join(name);
            binds.extend(
                targets
                    .iter()
                    .map(|target| format!("{}:{target}", source.display())),
            );
        }
        for (name, target) in READ_ONLY {
            binds.push(format!("{}:{target}:ro", self.dir.join(name).display()));
        }
        binds
    }

    /// Empties all folders, for the next build in the same container.
    pub(crate) fn empty(&self) -> io::Result<()> {
        let names = WRITABLE
            .iter()
            .map(|(name, _)| name)
            .chain(READ_ONLY.iter().map(|(name, _)| name));
        for name in names {
            empty(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// Notes whose build it is for, for [`leftovers`].
    pub(crate) fn assign(&self, app: AppId) -> io::Result<()> {
        fs::write(self.dir.join("app"), app.to_string())
    }

    /// Whose build it was last for.
    pub(crate) fn app(&self) -> Option<AppId> {
        fs::read_to_string(self.dir.join("app")).ok()?.parse().ok()
    }

    /// Where packed layers lie until they are sent.
    pub(crate) fn packed(&self) -> PathBuf {
        self.dir.join("packed")
    }

    /// Removes the slot.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// The slots in a folder, left there by a builder that did not stop in order.
pub(crate) fn leftovers(dir: &Path) -> io::Result<Vec<Slot>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| Ok(Slot { dir: entry?.path() }))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The user and group that builds run as. Only root can hand files to somebody else, so that a
/// builder without those rights has its builds run as itself.
pub(crate) fn build_user() -> (u32, u32) {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if user.is_root() {
        (USER_ID, USER_ID)
    } else {
        (user.as_raw(), group.as_raw())
    }
}

/// Hands a file or folder to the user that builds run as.
pub(crate) fn own(path: &Path) -> io::Result<()> {
    let (user, group) = build_user();
    chown(path, Some(user), Some(group))
}

/// Removes all that is in a folder, and not the folder. Does not follow links.
pub(crate) fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
