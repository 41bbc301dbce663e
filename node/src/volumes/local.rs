//! Local volumes: directories, and file systems in files where a size is to be kept.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use fairway_api::ids::VolumeId;
use tokio::sync::Mutex;

use super::programs::run;

/// The file system of a volume with a size.
const IMAGE: &str = "image";
/// Where that is mounted.
const MOUNT: &str = "mnt";
/// What pods see, in it.
const DATA: &str = "mnt/data";
/// A volume that is being made or loaded, and one that is being removed.
const NEW: &str = "new";
const OLD: &str = "old";
/// Anybody in a pod may write: which user runs there is the image's business, and nobody else gets
/// to it, since the directory above is the agent's alone.
const DATA_MODE: u32 = 0o777;
/// Exit codes of e2fsck from here on: the file system needs a person.
const FSCK_FAILED: i32 = 4;

/// The directory of all local volumes.
#[derive(Debug)]
pub(super) struct Local {
    root: PathBuf,
    /// Held while something is made, mounted or removed: two pods may start with one volume.
    changing: Mutex<()>,
}

impl Local {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            changing: Mutex::new(()),
        }
    }

    fn dir(&self, id: VolumeId) -> PathBuf {
        self.root.join(id.to_string())
    }

    fn beside(&self, id: VolumeId, what: &str) -> PathBuf {
        self.root.join(format!("{id}.{what}"))
    }

    /// The volumes that are here.
    pub(super) fn list(&self) -> Vec<VolumeId> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let id = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let id = name.split('.').next()?;
            id.parse().ok()
        };
        let mut ids: Vec<VolumeId> = entries.filter_map(id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// What pods see of a volume: made if it is missing, mounted if it is not.
    pub(super) async fn ready(
        &self,
        id: VolumeId,
        size_bytes: Option<u64>,
    ) -> Result<PathBuf, String> {
        let _changing = self.changing.lock().await;
        self.recover(id).await?;
        let dir = self.dir(id);
        if !dir.exists() {
            let new = self.beside(id, NEW);
            discard(&new).await?;
            make(&new, size_bytes).await?;
            leave(&new).await?;
            fs::rename(&new, &dir).map_err(|error| at(&dir, &error))?;
        }
        enter(&dir).await?;
        Ok(dir.join(DATA))
    }

    /// An empty place for what is to become the volume's content.
    pub(super) async fn fresh(
        &self,
        id: VolumeId,
        size_bytes: Option<u64>,
    ) -> Result<PathBuf, String> {
        let _changing = self.changing.lock().await;
        self.recover(id).await?;
        let new = self.beside(id, NEW);
        discard(&new).await?;
        make(&new, size_bytes).await?;
        Ok(new.join(DATA))
    }

    /// Puts what [`Self::fresh`] made in the volume's place.
    pub(super) async fn replace(&self, id: VolumeId) -> Result<(), String> {
        let _changing = self.changing.lock().await;
        let (dir, new, old) = (self.dir(id), self.beside(id, NEW), self.beside(id, OLD));
        leave(&new).await?;
        if dir.exists() {
            leave(&dir).await?;
            fs::rename(&dir, &old).map_err(|error| at(&old, &error))?;
        }
        fs::rename(&new, &dir).map_err(|error| at(&dir, &error))?;
        discard(&old).await
    }

    /// Removes a volume and all that was being made of it.
    pub(super) async fn remove(&self, id: VolumeId) -> Result<(), String> {
        let _changing = self.changing.lock().await;
        let (dir, old) = (self.dir(id), self.beside(id, OLD));
        discard(&self.beside(id, NEW)).await?;
        discard(&old).await?;
        if dir.exists() {
            leave(&dir).await?;
            // From here on it is gone, whatever a crash leaves of it.
            fs::rename(&dir, &old).map_err(|error| at(&old, &error))?;
        }
        discard(&old).await
    }

    /// Goes back to the volume as it was when a crash came while another was put in its place.
    async fn recover(&self, id: VolumeId) -> Result<(), String> {
        let (dir, old) = (self.dir(id), self.beside(id, OLD));
        match (dir.exists(), old.exists()) {
            (_, false) => Ok(()),
            (true, true) => discard(&old).await,
            (false, true) => fs::rename(&old, &dir).map_err(|error| at(&dir, &error)),
        }
    }

    /// What pods see of a volume that is here and mounted.
    pub(super) fn data(&self, id: VolumeId) -> Option<PathBuf> {
        let data = self.dir(id).join(DATA);
        data.is_dir().then_some(data)
    }

    /// The same of one that nobody has written into, and that belongs to nobody yet.
    pub(super) fn if_new(&self, id: VolumeId) -> Option<PathBuf> {
        let data = self.data(id)?;
        let is_roots = fs::metadata(&data).is_ok_and(|it| it.uid() == 0);
        let is_empty = fs::read_dir(&data).is_ok_and(|mut all| all.next().is_none());
        (is_roots && is_empty).then_some(data)
    }

    /// The size that is kept, in bytes; `None` for a plain directory.
    pub(super) fn size(&self, id: VolumeId) -> Option<u64> {
        Some(fs::metadata(self.dir(id).join(IMAGE)).ok()?.len())
    }
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Makes a volume and leaves it mounted.
async fn make(dir: &Path, size_bytes: Option<u64>) -> Result<(), String> {
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    let mount = dir.join(MOUNT);
    private.create(&mount).map_err(|error| at(&mount, &error))?;
    if let Some(bytes) = size_bytes {
        if !rustix::process::geteuid().is_root() {
            return Err(
                "it has a size, which only an agent that runs as root can keep; make one without \
                 a size, or run the agent as root"
                    .into(),
            );
        }
        let image = dir.join(IMAGE);
        let file = fs::File::create(&image).map_err(|error| at(&image, &error))?;
        file.set_len(bytes).map_err(|error| at(&image, &error))?;
        let image = image.to_string_lossy();
        // No blocks for root: pods are not.
        let arguments = ["-q", "-F", "-m", "0", "-E", "nodiscard", &image];
        run("mkfs.ext4", &arguments, |code| code == 0).await?;
        enter(dir).await?;
    }
    let data = dir.join(DATA);
    fs::create_dir(&data).map_err(|error| at(&data, &error))?;
    let mode = fs::Permissions::from_mode(DATA_MODE);
    fs::set_permissions(&data, mode).map_err(|error| at(&data, &error))
}

/// Mounts a volume that has a file system of its own, if it is not mounted.
async fn enter(dir: &Path) -> Result<(), String> {
    let (image, mount) = (dir.join(IMAGE), dir.join(MOUNT));
    if !image.exists() || is_mounted(&mount) {
        return Ok(());
    }
    let (image, mount) = (image.to_string_lossy(), mount.to_string_lossy());
    // After a power cut the journal is enough for almost everything; this repairs what it is not
    // enough for, or says that it cannot.
    run("e2fsck", &["-p", &image], |code| code < FSCK_FAILED).await?;
    let arguments = [
        "-t",
        "ext4",
        "-o",
        "loop,nosuid,nodev,discard",
        &image,
        &mount,
    ];
    run("mount", &arguments, |code| code == 0).await.map(drop)
}

/// Unmounts it, if it is mounted.
async fn leave(dir: &Path) -> Result<(), String> {
    let mount = dir.join(MOUNT);
    if !is_mounted(&mount) {
        return Ok(());
    }
    run("umount", &[&mount.to_string_lossy()], |code| code == 0)
        .await
        .map(drop)
}

/// Removes a volume's directory with all that is in it.
async fn discard(dir: &Path) -> Result<(), String> {
    if !dir.exists() {
        return Ok(());
    }
    leave(dir).await?;
    let dir = dir.to_owned();
    let removing = tokio::task::spawn_blocking(move || {
        fs::remove_dir_all(&dir).map_err(|error| at(&dir, &error))
    });
    removing.await.map_err(|error| error.to_string())?
}

/// True for a directory that something is mounted on.
fn is_mounted(dir: &Path) -> bool {
    let Ok(dir) = fs::canonicalize(dir) else {
        return false;
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    has_mount(&mounts, &dir)
}

/// Looks for a mount point in the form of proc(5), where blanks are written as `\040`.
fn has_mount(mountinfo: &str, dir: &Path) -> bool {
    let dir = dir.to_string_lossy();
    let dir = dir.replace('\\', "\\134").replace(' ', "\\040");
    let mut points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.any(|point| point == dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found_by_their_whole_path() {
        let info = "36 35 98:0 /mnt1 /data/a rw,noatime master:1 - ext3 /dev/root rw\n\
                    37 35 7:0 / /data/b\\040c/mnt rw - ext4 /dev/loop0 rw\n";
        assert!(has_mount(info, Path::new("/data/a")));
        assert!(has_mount(info, Path::new("/data/b c/mnt")));
        assert!(!has_mount(info, Path::new("/data")));
        assert!(!has_mount(info, Path::new("/mnt1")));
    }

    #[tokio::test]
    async fn a_crash_while_one_takes_anothers_place_loses_nothing() {
        let root = tempfile::tempdir().unwrap();
        let local = Local::new(root.path().join("volumes"));
        let id = VolumeId::from_u128(7);
        let data = local.ready(id, None).await.unwrap();
        fs::write(data.join("file"), "old").unwrap();
        // The crash came after the old one was set aside.
        fs::rename(local.dir(id), local.beside(id, OLD)).unwrap();
        let data = local.ready(id, None).await.unwrap();
        assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "old");
        let fresh = local.fresh(id, None).await.unwrap();
        fs::write(fresh.join("file"), "new").unwrap();
        assert_eq!(local.list(), [id]);
        local.replace(id).await.unwrap();
        let data = local.ready(id, None).await.unwrap();
        assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "new");
        local.remove(id).await.unwrap();
        assert_eq!(local.list(), []);
        assert_eq!(fs::read_dir(&local.root).unwrap().count(), 0);
    }
}
