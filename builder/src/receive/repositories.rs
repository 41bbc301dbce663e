//! The repositories on disk: one bare repository per app, named by the app's id, so that a rename
//! moves nothing.
//!
//! Everything that git is told about them stands on its command line ([`GIT_SETTINGS`]) and not in
//! the config of each repository, so a new version of Fairway changes all of them at once. The
//! only hook is pre-receive; hooks inside a repository are never run.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, bail};
use fairway_api::{ids::AppId, names::BranchName};
use uuid::Uuid;

/// Branches that deploy when an app has no deploy branch of its own.
pub(crate) const DEPLOY_BRANCHES_DEFAULT: [&str; 2] = ["main", "master"];

/// What every git process is told.
const GIT_SETTINGS: [&str; 19] = [
    // Broken or hostile objects stay out. Flaws that only old tools made and that harm nobody are
    // let in, since history cannot be mended by whoever pushes it today.
    "receive.fsckObjects=true",
    "receive.fsck.zeroPaddedFilemode=ignore",
    "receive.fsck.missingSpaceBeforeDate=ignore",
    "receive.fsck.missingSpaceBeforeEmail=ignore",
    "receive.fsck.badTimezone=ignore",
    "receive.fsck.badDateOverflow=ignore",
    "receive.fsck.missingNameBeforeEmail=ignore",
    "receive.fsck.multipleAuthors=ignore",
    // Which branch may be deleted is decided by our hook, which knows the deploy branch.
    "receive.denyDeleteCurrent=ignore",
    // CI systems clone one commit deep and push from there.
    "receive.shallowUpdate=true",
    "receive.advertisePushOptions=true",
    // Housekeeping runs after the push, not within it.
    "receive.autogc=false",
    "gc.auto=2000",
    "gc.autoDetach=false",
    // Files above this are streamed instead of held in memory; memory of a fetch is bounded too.
    "core.bigFileThreshold=16m",
    "pack.windowMemory=64m",
    "pack.threads=2",
    "uploadpack.allowFilter=true",
    // The folder may belong to another user than the one that Fairway runs as.
    "safe.directory=*",
];

/// The end of the name of a repository that is being removed.
const GONE: &str = ".gone";

/// All repositories of this builder.
pub(crate) struct Repositories {
    root: PathBuf,
    hooks: PathBuf,
    /// Repositories that this process has looked at, and cleared of what a killed one left.
    swept: Mutex<HashSet<AppId>>,
}

impl Repositories {
    /// Makes the folders and the hook that runs `program` with `args`.
    pub(crate) fn open(data: &Path, program: &Path, args: &[String]) -> anyhow::Result<Self> {
        let root = data.join("repositories");
        let hooks = data.join("hooks");
        for folder in [&root, &hooks] {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        write_hook(&hooks.join("pre-receive"), program, args)?;
        Ok(Self {
            root,
            hooks,
            swept: Mutex::default(),
        })
    }

    /// Where the app's repository is, or will be.
    pub(crate) fn folder(&self, app: AppId) -> PathBuf {
        self.root.join(format!("{app}.git"))
    }

    /// The app's repository, made if it is not there yet. Blocks.
    pub(crate) fn ensure(&self, app: AppId) -> anyhow::Result<PathBuf> {
        let folder = self.folder(app);
        // Held while sweeping, so that no other push can be under way in what is being swept.
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.contains(&app) {
            return Ok(folder);
        }
        if folder.join("HEAD").exists() {
            sweep(&folder).with_context(|| format!("clear {}", folder.display()))?;
        } else {
            self.create(&folder)
                .with_context(|| format!("create {}", folder.display()))?;
        }
        swept.insert(app);
        Ok(folder)
    }

    /// Made aside and moved into place, so that a half-made repository is never seen.
    fn create(&self, folder: &Path) -> anyhow::Result<()> {
        let aside = self.root.join(format!(".{}.new", Uuid::now_v7()));
        let mut options = git2::RepositoryInitOptions::new();
        options
            .bare(true)
            .external_template(false)
            .no_reinit(true)
            .initial_head("main");
        drop(git2::Repository::init_opts(&aside, &options)?);
        fs::rename(&aside, folder)?;
        Ok(())
    }

    /// The apps that have a repository. Also clears away what a removal that was cut short left.
    /// Blocks.
    pub(crate) fn list(&self) -> io::Result<Vec<AppId>> {
        let mut apps = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(GONE) {
                fs::remove_dir_all(entry.path())?;
            } else if let Some(app) = name.strip_suffix(".git").and_then(|id| id.parse().ok()) {
                apps.push(app);
            }
        }
        Ok(apps)
    }

    /// Removes the app's repository: moved aside in one step first, so that nobody ever finds half
    /// of it. Whoever is about to push must be made to stay away. Blocks.
    pub(crate) fn remove(&self, app: AppId) -> io::Result<()> {
        let aside = self.root.join(format!(".{}{GONE}", Uuid::now_v7()));
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            fs::rename(self.root.join(format!("{app}.git")), &aside)?;
            swept.remove(&app);
        }
        fs::remove_dir_all(aside)
    }

    /// The settings for a git process, as arguments that stand before its subcommand.
    pub(crate) fn git_args(&self) -> Vec<String> {
        let hooks = format!("core.hooksPath={}", self.hooks.display());
        let settings = GIT_SETTINGS.iter().map(|setting| (*setting).to_owned());
        settings
            .chain([hooks])
            .flat_map(|setting| ["-c".to_owned(), setting])
            .collect()
    }
}

/// How many bytes the objects of a repository take. Blocks.
pub(crate) fn size_bytes(repository: &Path) -> u64 {
    let mut total = 0;
    let mut folders = vec![repository.join("objects")];
    while let Some(folder) = folders.pop() {
        // What cannot be read is gone already: git moves files while this looks.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => total += metadata.len(),
                Err(_) => {}
            }
        }
    }
    total
}

/// True for a repository without a branch or tag. Blocks.
pub(crate) fn is_empty(repository: &Path) -> bool {
    let Ok(repository) = git2::Repository::open_bare(repository) else {
        return false;
    };
    repository
        .references()
        .is_ok_and(|mut references| references.next().is_none())
}

/// Points `HEAD` at a branch that exists, so that a clone checks something out. Blocks.
pub(crate) fn settle_head(repository: &Path, deploy: Option<&BranchName>) -> anyhow::Result<()> {
    let repository = git2::Repository::open_bare(repository)?;
    let wanted = deploy
        .map(BranchName::as_str)
        .into_iter()
        .chain(DEPLOY_BRANCHES_DEFAULT);
    let current = repository
        .find_reference("HEAD")?
        .symbolic_target_bytes()
        .map(<[u8]>::to_vec);
    for branch in wanted {
        let name = format!("refs/heads/{branch}");
        if repository.find_reference(&name).is_ok() {
            if current.as_deref() != Some(name.as_bytes()) {
                repository.set_head(&name)?;
            }
            return Ok(());
        }
    }
    Ok(())
}

/// Removes what a killed git process left and what would stand in the way of the next one: lock
/// files, and objects in quarantine. Only for repositories that nobody works in.
fn sweep(repository: &Path) -> io::Result<()> {
    for entry in fs::read_dir(repository.join("objects"))? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("tmp_objdir-")
        {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let mut folders = vec![repository.join("refs")];
    remove_locks(repository)?;
    while let Some(folder) = folders.pop() {
        folders.extend(remove_locks(&folder)?);
    }
    Ok(())
}

/// Removes the lock files of one folder and gives the folders in it.
fn remove_locks(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        } else if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            tracing::warn!(
                "removing {}, left by a killed git process",
                entry.path().display()
            );
            fs::remove_file(entry.path())?;
        }
    }
    Ok(folders)
}

/// Writes the hook and makes sure that git will run it: git ignores a hook that it cannot execute,
/// and every push would then pass without a build.
fn write_hook(hook: &Path, program: &Path, args: &[String]) -> anyhow::Result<()> {
    let program = program
        .to_str()
        .context("the path of the fairway program is not UTF-8")?;
    let words = [program].into_iter().chain(args.iter().map(String::as_str));
    let command = shlex::try_join(words).context("the hook program has a NUL in it")?;
    let aside = hook.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(&aside)
        .with_context(|| format!("write {}", aside.display()))?;
    file.write_all(format!("#!/bin/sh\nexec {command}\n").as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    drop(file);
    fs::rename(&aside, hook).with_context(|| format!("write {}", hook.display()))?;
    if rustix::fs::access(hook, rustix::fs::Access::EXEC_OK).is_err() {
        bail!(
            "{} cannot be executed: the data folder must not be on a file system mounted noexec",
            hook.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
