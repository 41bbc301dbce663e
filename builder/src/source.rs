//! The source of a build: a commit's tree as files in a folder of its own, from the moment a push
//! was accepted until its build has ended.

pub(crate) mod export;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use fairway_api::{
    ids::{AppId, BuildId},
    names::CommitId,
    phases::Phase,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::receive::pushes::Pushes;

/// How long a claimed build waits for what has to be settled in this process first. Both waits are
/// for work that is at its last step, so this passes only if that step hangs.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(20);

/// The sources that wait for their builds.
pub(crate) struct Sources {
    root: PathBuf,
    pushes: Pushes,
    waiting: watch::Sender<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Builds that are being queued: the controller may hand one out before we know its id.
    queueing: usize,
    by_build: HashMap<BuildId, Source>,
}

/// An exported commit, and what has to hold for it to be built.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) folder: SourceFolder,
    pub(crate) app: AppId,
    pub(crate) repository: PathBuf,
    /// Full name of the ref that will move.
    pub(crate) reference: String,
    /// Where the ref stood when the push came in.
    pub(crate) old: Option<CommitId>,
    /// When it was asked to be built.
    pub(crate) since: Instant,
}

/// Why a claimed build cannot start; the texts are for the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSource {
    #[error("the builder restarted while this build waited, and its source is gone; push again")]
    Gone,
    #[error(
        "{branch} has moved to {now} while this push waited for its turn; fetch, merge and push \
         again"
    )]
    Moved { branch: String, now: String },
}

/// A folder that goes away with its drop.
#[derive(Debug)]
pub(crate) struct SourceFolder(PathBuf);

/// A queueing under way; ends with its drop.
pub(crate) struct Queueing<'a>(&'a Sources);

impl Sources {
    /// Makes the folder, and removes what a killed builder left in it. Blocks.
    pub(crate) fn open(data: &Path, pushes: Pushes) -> anyhow::Result<Self> {
        // Git has checked every object when it came in; to hash each again would be most of the
        // work of an export. The setting is the process's, and nobody else in it reads with git2.
        git2::opts::strict_hash_verification(false);
        let root = data.join("sources");
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("clear {}", root.display()));
            }
            _ => {}
        }
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        Ok(Self {
            root,
            pushes,
            waiting: watch::Sender::default(),
        })
    }

    /// A name for a new folder; the folder is not made.
    pub(crate) fn new_folder(&self) -> SourceFolder {
        SourceFolder(self.root.join(Uuid::now_v7().to_string()))
    }

    /// To be held while a build is being queued, until [`Self::put`].
    pub(crate) fn queueing(&self) -> Queueing<'_> {
        self.waiting.send_modify(|waiting| waiting.queueing += 1);
        Queueing(self)
    }

    /// The source waits for its build to be claimed.
    pub(crate) fn put(&self, build: BuildId, source: Source) {
        self.waiting
            .send_modify(|waiting| drop(waiting.by_build.insert(build, source)));
    }

    /// Drops a source that nobody will claim.
    pub(crate) fn forget(&self, build: BuildId) {
        // Removed from the disk only after the lock is free again.
        let mut forgotten = None;
        self.waiting
            .send_modify(|waiting| forgotten = waiting.by_build.remove(&build));
        drop(forgotten);
    }

    /// The source of a claimed build, if it may still be built.
    pub(crate) async fn take(&self, build: BuildId) -> Result<SourceFolder, NoSource> {
        let mut changes = self.waiting.subscribe();
        let there = changes
            .wait_for(|waiting| waiting.by_build.contains_key(&build) || waiting.queueing == 0);
        drop(timeout(SETTLE_WAIT_MAX, there).await);
        let mut taken = None;
        self.waiting
            .send_modify(|waiting| taken = waiting.by_build.remove(&build));
        let source = taken.ok_or(NoSource::Gone)?;
        let settled = self.pushes.settled_before(source.app, build);
        if timeout(SETTLE_WAIT_MAX, settled).await.is_err() {
            tracing::warn!(%build, "an earlier push of the app has still not ended");
        }
        Phase::Queue.log(build, source.since.elapsed());
        source.check_unmoved()
    }
}

impl Source {
    /// Two pushes at once start from the same commit; once the first is live, the second would
    /// undo it, and git would refuse to move the ref after the release was made.
    fn check_unmoved(self) -> Result<SourceFolder, NoSource> {
        let now = git2::Repository::open_bare(&self.repository)
            .and_then(|repository| repository.refname_to_id(&self.reference))
            .map(|id| id.to_string())
            .ok();
        if now.as_deref() == self.old.as_ref().map(CommitId::as_str) {
            return Ok(self.folder);
        }
        let now = now.map_or("nothing".into(), |id| id.chars().take(8).collect());
        let branch = self.reference.trim_start_matches("refs/heads/").to_owned();
        Err(NoSource::Moved { branch, now })
    }
}

impl SourceFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SourceFolder {
    /// Dropped on whatever thread; a tree of thousands of files takes some milliseconds.
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {error:#}", self.0.display());
            }
            _ => {}
        }
    }
}

impl Drop for Queueing<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| waiting.queueing -= 1);
    }
}
