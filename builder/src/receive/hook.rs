//! What becomes of a push, asked by git's pre-receive hook at the moment when all objects are there
//! and no ref has moved.
//!
//! ```text
//! git receive-pack -> hook program -> socket -> decide -> export -> queue the build
//!        ^                                                   |
//!        +---------- exit code <- verdict <- follow output <-+
//! ```
//!
//! Nothing here depends on whoever pushed: git and its hook are the server's.

pub(crate) mod follow;
pub(crate) mod program;
mod updates;
pub(crate) mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use fairway_api::{
    build_orders::{NewBuild, PushVerdict, QueuedBuild},
    builds::PushedCommit,
    phases::Phase,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, timeout},
};

use self::{
    updates::{Decision, Deploy, DeployBranches, decide, parse_updates},
    wire::{HookRequest, REQUEST_BYTES_MAX, TEXT_BYTES_MAX, exit_frame, text_frame},
};
use super::{
    Receiver,
    pushes::PushFacts,
    repositories::DEPLOY_BRANCHES_DEFAULT,
    unsettled::{Kept, Note},
};
use crate::source::{
    Source, SourceFolder,
    export::{ExportError, Exported, export},
};

/// How long a hook has to say what it wants; it does so at once.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a push may take from its hook on, with waiting, build and release. Each of these has a
/// limit of its own, the longest being a canary's steps and a pause of a day each; a push that gave
/// up before would leave its branch behind a release that goes live.
const PUSH_MAX: Duration = Duration::from_secs(72 * 3600);
/// How many empty submodules a note lists.
const SUBMODULES_LISTED_MAX: usize = 10;

/// Refuses the push; what to say about it was said or comes along.
enum Refused {
    Said,
    Because(String),
}

/// Serves hooks until the builder stops.
pub(crate) async fn serve(receiver: Arc<Receiver>, listener: UnixListener) -> anyhow::Result<()> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = receiver.shutdown.cancelled() => return Ok(()),
        };
        let (stream, _) = accepted.context("accept a hook")?;
        let tasks = receiver.tasks.clone();
        let receiver = Arc::clone(&receiver);
        tasks.spawn(async move {
            if let Err(error) = answer(receiver, stream).await {
                tracing::warn!("a hook was not answered: {error:#}");
            }
        });
    }
}

async fn answer(receiver: Arc<Receiver>, stream: UnixStream) -> anyhow::Result<()> {
    let (from, to) = stream.into_split();
    let request = timeout(REQUEST_WAIT_MAX, read_request(from))
        .await
        .context("read it")??;
    let Some(push) = receiver.pushes.enter_hook(&request.token) else {
        bail!("it belongs to no push");
    };
    let mut say = Say {
        to,
        line_open: false,
    };
    let judged = tokio::select! {
        judged = timeout(PUSH_MAX, judge(&receiver, &push, &request, &mut say)) => judged
            .unwrap_or_else(|_| Err(Refused::Because("the push took too long; push again".into()))),
        () = receiver.shutdown.cancelled() => {
            Err(Refused::Because("Fairway stops here.\nA release that was under way still goes live; otherwise push again in a minute".into()))
        }
    };
    let code = match judged {
        Ok(()) => 0,
        Err(Refused::Said) => 1,
        Err(Refused::Because(reason)) => {
            say.error(&reason).await;
            1
        }
    };
    receiver.pushes.judged(&request.token);
    say.exit(code).await;
    Ok(())
}

async fn read_request(from: OwnedReadHalf) -> anyhow::Result<HookRequest> {
    let mut request = Vec::new();
    from.take(REQUEST_BYTES_MAX)
        .read_to_end(&mut request)
        .await?;
    serde_json::from_slice(&request).context("understand it")
}

/// Decides, and deploys where the push asks for it.
async fn judge(
    receiver: &Receiver,
    push: &PushFacts,
    request: &HookRequest,
    say: &mut Say,
) -> Result<(), Refused> {
    if push.created {
        say.header(&format!("Created app {}", push.grant.app.name))
            .await;
    }
    let updates = parse_updates(&request.updates).map_err(Refused::Because)?;
    let branches = DeployBranches {
        chosen: push.grant.deploy_branch.clone(),
        existing: existing_deploy_branches(&push.repository),
    };
    let (deploy, notes) = match decide(&updates, &branches) {
        Decision::Refuse { reason } => return Err(Refused::Because(reason)),
        Decision::Accept { deploy, notes } => (deploy, notes),
    };
    for note in notes {
        say.header(&note).await;
    }
    match deploy {
        Some(wanted) => deploy_commit(receiver, push, request, &wanted, say).await,
        None => Ok(()),
    }
}

async fn deploy_commit(
    receiver: &Receiver,
    push: &PushFacts,
    request: &HookRequest,
    wanted: &Deploy,
    say: &mut Say,
) -> Result<(), Refused> {
    let since = Instant::now();
    let quarantine = quarantine(push, request)?;
    let (exported, folder, kept) = export_commit(receiver, push, quarantine, wanted).await?;
    Phase::Source.log(push.grant.app.id, since.elapsed());
    note_submodules(&exported, say).await;
    let build = NewBuild {
        app: push.grant.app.name.clone(),
        user: push.grant.user.clone(),
        builder: receiver.builder.clone(),
        commit: PushedCommit {
            id: wanted.new.clone(),
            branch: wanted.branch.clone(),
            summary: exported.summary,
            author: exported.author,
        },
    };
    let since = Instant::now();
    let queueing = receiver.sources.queueing();
    let QueuedBuild { id, waits_for } = follow::queue(&receiver.client, &build)
        .await
        .map_err(|error| Refused::Because(error.to_string()))?;
    let source = Source {
        folder,
        app: push.grant.app.id,
        repository: push.repository.clone(),
        reference: format!("refs/heads/{}", wanted.branch),
        old: wanted.old.clone(),
        since,
    };
    receiver.pushes.queued(&push.token, id);
    let note = Note {
        build: id,
        grant: push.grant.clone(),
        reference: source.reference.clone(),
        old: wanted.old.clone(),
        new: wanted.new.clone(),
    };
    if let Err(error) = kept.note(&note) {
        // Goes on without: only a crash in the next minutes would be noticed.
        tracing::warn!(app = %push.grant.app.name, "cannot note a push down: {error:#}");
    }
    receiver.sources.put(id, source);
    drop(queueing);
    if let Some(other) = waits_for {
        let (user, commit) = (&other.user.email, &other.commit);
        say.header(&format!(
            "Waiting for the build of {user} ({commit}) to end"
        ))
        .await;
    }
    let verdict = follow::follow(&receiver.client, id, say).await;
    // Taken by the worker unless the build was cancelled before it began.
    receiver.sources.forget(id);
    match verdict {
        Ok(PushVerdict::Released { .. }) => Ok(()),
        Ok(PushVerdict::Failed { .. }) => {
            receiver.unsettled.forget(id);
            Err(Refused::Said)
        }
        Err(error) => Err(Refused::Because(error.to_string())),
    }
}

async fn export_commit(
    receiver: &Receiver,
    push: &PushFacts,
    quarantine: Option<PathBuf>,
    wanted: &Deploy,
) -> Result<(Exported, SourceFolder, Kept), Refused> {
    let folder = receiver.sources.new_folder();
    let (repository, commit) = (push.repository.clone(), wanted.new.clone());
    let unsettled = Arc::clone(&receiver.unsettled);
    let exporting = tokio::task::spawn_blocking(move || {
        let exported = export(&repository, quarantine.as_deref(), &commit, folder.path())?;
        let kept = unsettled.keep(quarantine.as_deref());
        let kept = kept.map_err(|source| ExportError::Write {
            path: "objects".into(),
            source,
        })?;
        Ok::<_, ExportError>((exported, folder, kept))
    });
    let internal = || "the commit cannot be read; the operator finds more in the log".to_owned();
    match exporting.await {
        Ok(Ok(exported)) => Ok(exported),
        Ok(Err(error @ (ExportError::Read { .. } | ExportError::Write { .. }))) => {
            let error = anyhow::Error::new(error);
            tracing::error!(app = %push.grant.app.name, "cannot export a commit: {error:#}");
            Err(Refused::Because(internal()))
        }
        Ok(Err(error)) => Err(Refused::Because(error.to_string())),
        Err(error) => {
            tracing::error!("the export of a commit ended badly: {error:#}");
            Err(Refused::Because(internal()))
        }
    }
}

/// The quarantine that git named, if it is one of this repository.
fn quarantine(push: &PushFacts, request: &HookRequest) -> Result<Option<PathBuf>, Refused> {
    let Some(path) = &request.quarantine else {
        return Ok(None);
    };
    let path = push.repository.join(path);
    let objects = push.repository.join("objects");
    if path.parent() == Some(objects.as_path()) {
        return Ok(Some(path));
    }
    tracing::error!(
        "git named {} as quarantine, which is not in {}",
        path.display(),
        objects.display()
    );
    Err(Refused::Because(
        "git keeps its objects in a place that is not its own".into(),
    ))
}

async fn note_submodules(exported: &Exported, say: &mut Say) {
    if exported.submodules.is_empty() {
        return;
    }
    say.header("Submodules are not fetched; these folders stay empty:")
        .await;
    for path in exported.submodules.iter().take(SUBMODULES_LISTED_MAX) {
        say.detail(path).await;
    }
    if let more @ 1.. = exported
        .submodules
        .len()
        .saturating_sub(SUBMODULES_LISTED_MAX)
    {
        say.detail(&format!("and {more} more")).await;
    }
}

fn existing_deploy_branches(repository: &std::path::Path) -> Vec<&'static str> {
    let Ok(repository) = git2::Repository::open_bare(repository) else {
        return Vec::new();
    };
    let exists = |branch: &&str| {
        repository
            .find_reference(&format!("refs/heads/{branch}"))
            .is_ok()
    };
    DEPLOY_BRANCHES_DEFAULT.into_iter().filter(exists).collect()
}

/// Speaks to whoever pushed, through the hook. When the hook has gone, nobody hears it, and that
/// changes nothing.
pub(crate) struct Say {
    to: OwnedWriteHalf,
    /// The last text did not end its line.
    line_open: bool,
}

impl Say {
    async fn header(&mut self, text: &str) {
        self.lines("-----> ", text).await;
    }

    async fn detail(&mut self, text: &str) {
        self.lines("       ", text).await;
    }

    async fn error(&mut self, text: &str) {
        self.lines(" !     ", text).await;
    }

    async fn lines(&mut self, prefix: &str, text: &str) {
        let start = if self.line_open { "\n" } else { "" };
        let lines: String = text
            .lines()
            .map(|line| format!("{prefix}{line}\n"))
            .collect();
        self.raw(format!("{start}{lines}").as_bytes()).await;
    }

    /// Bytes as they came.
    pub(crate) async fn raw(&mut self, text: &[u8]) {
        self.line_open = text.last().map_or(self.line_open, |last| *last != b'\n');
        for text in text.chunks(TEXT_BYTES_MAX) {
            drop(self.to.write_all(&text_frame(text)).await);
        }
    }

    async fn exit(&mut self, code: u8) {
        drop(self.to.write_all(&exit_frame(code)).await);
    }
}
