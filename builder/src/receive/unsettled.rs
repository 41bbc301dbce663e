//! Pushes whose release may go live after their git process is gone.
//!
//! Git keeps a push's objects in quarantine until its hook says yes, and drops them when the hook
//! dies. The controller does not know of that: it carries a release to its end also while the
//! builder is away. So that the branch is never behind what runs, each deploying push is noted here
//! before its build is queued, with second names (hard links) for its objects, and the next start
//! of the builder ends what git could not.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use fairway_api::{
    build_orders::{GitGrant, PushVerdict},
    client::Client,
    ids::BuildId,
    names::CommitId,
};
use git2::Oid;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Receiver,
    pushes::Push,
    repositories::{Repositories, settle_head},
};
use crate::output::may_pass;

/// How long to wait before a controller that is away is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// In each note's folder: the [`Note`].
const NOTE_FILE: &str = "push.json";
/// In each note's folder: the objects that came with the push.
const OBJECTS: &str = "objects";

/// All pushes that are not known to have ended: a folder each, named by the build.
#[derive(Debug)]
pub(crate) struct Unsettled {
    root: PathBuf,
}

/// What has to be known to end a push without git.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) build: BuildId,
    pub(crate) grant: GitGrant,
    /// Full name of the ref that moves when the release is live.
    pub(crate) reference: String,
    pub(crate) old: Option<CommitId>,
    pub(crate) new: CommitId,
}

/// The objects of a push whose build has no id yet. They go away with its drop.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    root: PathBuf,
}

impl Unsettled {
    /// Makes the folder. Blocks.
    pub(crate) fn open(data: &Path) -> anyhow::Result<Self> {
        let root = data.join("pushes");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        Ok(Self { root })
    }

    /// Keeps what a push brought. `None`: it brought nothing new. Blocks.
    pub(crate) fn keep(&self, quarantine: Option<&Path>) -> io::Result<Kept> {
        let kept = Kept {
            folder: self.root.join(format!(".{}.new", Uuid::now_v7())),
            root: self.root.clone(),
        };
        let objects = kept.folder.join(OBJECTS);
        fs::create_dir_all(&objects)?;
        if let Some(quarantine) = quarantine {
            link_objects(quarantine, &objects)?;
        }
        Ok(kept)
    }

    /// The push has ended, or will not. Blocks.
    pub(crate) fn forget(&self, build: BuildId) {
        remove(&self.root.join(build.to_string()));
    }

    /// Git has ended, well also when its hook said no: forgets the push if its branch has moved.
    /// Blocks.
    pub(crate) fn forget_if_moved(&self, build: BuildId, repository: &Path) {
        let Some(note) = self.note(&self.root.join(build.to_string())) else {
            return;
        };
        let stands = git2::Repository::open_bare(repository)
            .and_then(|git| git.refname_to_id(&note.reference));
        if stands.is_ok_and(|id| id.to_string() == note.new.as_str()) {
            self.forget(build);
        }
    }

    fn note(&self, folder: &Path) -> Option<Note> {
        serde_json::from_slice(&fs::read(folder.join(NOTE_FILE)).ok()?).ok()
    }

    /// What a builder before this one left, oldest first. Removes what is no whole note. Blocks.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let mut notes: Vec<Note> = Vec::new();
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            match self.note(&entry.path()) {
                Some(note) => notes.push(note),
                // Its build was never queued, or not by a builder that could say so.
                None => remove(&entry.path()),
            }
        }
        notes.sort_by_key(|note| note.build);
        notes
    }

    /// Moves the branch of a push whose release is live, unless somebody else has moved it since.
    /// Blocks.
    fn settle(&self, note: &Note, repository: &Path) -> anyhow::Result<()> {
        let git = git2::Repository::open_bare(repository)?;
        let now = git.refname_to_id(&note.reference).ok();
        let (old, new) = (note.old.as_ref().map(oid).transpose()?, oid(&note.new)?);
        if now != old || now == Some(new) {
            return Ok(());
        }
        let kept = self.root.join(note.build.to_string()).join(OBJECTS);
        link_objects(&kept, &repository.join(OBJECTS)).context("bring its objects back")?;
        git.find_commit(new)?.tree()?;
        let message = "release went live while the builder was away";
        match old {
            Some(old) => git.reference_matching(&note.reference, new, true, old, message)?,
            None => git.reference(&note.reference, new, false, message)?,
        };
        tracing::info!(app = %note.grant.app.name, "moved {} to {}: {message}", note.reference, note.new);
        Ok(())
    }
}

impl Kept {
    /// From here on the push outlives the process. Blocks.
    pub(crate) fn note(self, note: &Note) -> io::Result<()> {
        let mut file = fs::File::create(self.folder.join(NOTE_FILE))?;
        file.write_all(&serde_json::to_vec(note)?)?;
        file.sync_all()?;
        fs::rename(&self.folder, self.root.join(note.build.to_string()))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Renamed by now if it was noted.
        remove(&self.folder);
    }
}

/// Takes up the pushes that an earlier builder left. Returns at once: they count as under way
/// before the first build is claimed, and end in tasks.
pub(crate) fn resume(receiver: &Arc<Receiver>) {
    for note in receiver.unsettled.notes() {
        let repository = receiver.repositories.folder(note.grant.app.id);
        let push = receiver
            .pushes
            .begin(note.grant.clone(), repository, Instant::now());
        receiver.pushes.queued(push.token(), note.build);
        let task = end(Arc::clone(receiver), note, push);
        let shutdown = receiver.shutdown.clone();
        receiver
            .tasks
            .spawn(async move { shutdown.run_until_cancelled(task).await });
    }
}

async fn end(receiver: Arc<Receiver>, note: Note, push: Push) {
    let live = is_released(&receiver.client, note.build).await;
    let unsettled = Arc::clone(&receiver.unsettled);
    let repositories = Arc::clone(&receiver.repositories);
    let (app, build) = (note.grant.app.name.clone(), note.build);
    let settling = tokio::task::spawn_blocking(move || {
        let settled = if live {
            move_branch(&unsettled, &repositories, &note)
        } else {
            Ok(())
        };
        // Kept if it failed: the next start tries again.
        settled.map(|()| unsettled.forget(note.build))
    });
    if let Err(error) = settling.await.map_err(anyhow::Error::from).flatten() {
        tracing::error!(
            %app, %build,
            "a release is live and its branch stays behind; the next push mends it: {error:#}"
        );
    }
    // Only now may the next build of the app look at the branch.
    drop(push);
}

fn move_branch(
    unsettled: &Unsettled,
    repositories: &Repositories,
    note: &Note,
) -> anyhow::Result<()> {
    let repository = repositories.ensure(note.grant.app.id)?;
    unsettled.settle(note, &repository)?;
    settle_head(&repository, note.grant.deploy_branch.as_ref())
}

/// Waits for the verdict. False also when the controller does not know the build any more.
async fn is_released(client: &Client, build: BuildId) -> bool {
    loop {
        match client.push_verdict(build).await {
            Ok(Some(verdict)) => return matches!(verdict, PushVerdict::Released { .. }),
            Ok(None) => {}
            Err(error) if may_pass(&error) => sleep(RETRY_PAUSE).await,
            Err(error) => {
                tracing::debug!(%build, "a push of an earlier builder is not known: {error:#}");
                return false;
            }
        }
    }
}

/// Gives every object of one object folder a second name in another; both are on one file system.
fn link_objects(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        // Loose objects are in folders of two digits, packs in `pack`; nothing lies deeper.
        if entry.file_type()?.is_dir() {
            let folder = to.join(entry.file_name());
            fs::create_dir_all(&folder)?;
            link_files(&entry.path(), &folder)?;
        }
    }
    Ok(())
}

fn link_files(from: &Path, to: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let is = |extension: &str| path.extension().is_some_and(|found| found == extension);
        // `.keep` guards a pack while git works on it.
        if path.is_file() && !is("keep") && !is("lock") {
            files.push((is("idx"), path));
        }
    }
    // An index comes last: with it, git takes the pack for complete.
    files.sort();
    for (_, path) in files {
        let Some(name) = path.file_name() else {
            continue;
        };
        match fs::hard_link(&path, to.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn oid(commit: &CommitId) -> Result<Oid, git2::Error> {
    Oid::from_str(commit.as_str())
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error:#}", folder.display());
        }
        _ => {}
    }
}
