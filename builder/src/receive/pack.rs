//! Runs the stock `git upload-pack` and `git receive-pack`, and joins them to a client whatever
//! the transport.
//!
//! ```text
//! client bytes -> input -> [git] -> output: Out, Err ..., Exit -> client
//! ```
//!
//! **A push belongs to the server.** When the client goes away, nothing is killed: git's input
//! ends, and its output is read on and dropped. If the pack was not complete, git notices, refuses
//! it and removes its quarantine; if it was, the hook, the build and the move of the ref go on as
//! if the client were there. A fetch, which serves nobody then, is killed.
//!
//! It must not interpret what passes, but for one refusal ([`size_note`]).

mod size_note;

use std::{
    io,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::size_note::SizeNote;
use super::command::Service;

/// How much is read from git at a time, in bytes; a pipe holds as much.
const READ_BYTES: usize = 64 * 1024;
/// How many chunks wait between git and the client, either way.
const CHUNKS_WAITING_MAX: usize = 4;
/// How long a client may send nothing while git still waits for the rest of a request.
const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(300);
/// How long the client of a fetch may leave git's output unread before it counts as gone. Someone
/// may have paused it.
const FETCH_STALL_MAX: Duration = Duration::from_secs(300);
/// The same for a push, where git and its hook wait meanwhile, and with them the move of the ref.
const PUSH_STALL_MAX: Duration = Duration::from_secs(15);
/// How much of a request is still read and dropped after git has stopped reading, in bytes, so
/// that the client gets to see git's reason instead of a broken connection.
const REFUSED_INPUT_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// One run of git.
pub(crate) struct Invocation<'a> {
    pub(crate) service: Service,
    /// Settings, from [`super::repositories::Repositories::git_args`], and those of this push.
    pub(crate) settings: Vec<String>,
    pub(crate) repository: &'a Path,
    pub(crate) mode: Mode,
    /// The client's wish for a protocol version, as it goes into `GIT_PROTOCOL`.
    pub(crate) protocol: Option<&'a str>,
    /// For the hook.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What to say when git refuses a pack for its size.
    pub(crate) size_note: Option<String>,
}

/// How git talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Both ways at once, over SSH.
    Duplex,
    /// One request and its answer, over HTTP.
    Stateless,
    /// Only the list of refs, over HTTP.
    Advertise,
}

/// A running git, as its client sees it. Dropping `input` ends git's input; dropping `output`
/// means that the client has gone.
pub(crate) struct Exchange {
    pub(crate) input: mpsc::Sender<Bytes>,
    pub(crate) output: mpsc::Receiver<Said>,
}

/// What git says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Out(Bytes),
    Err(Bytes),
    /// The last; `None` when a signal ended it.
    Exit(Option<i32>),
}

/// What a run of git has to do with the rest of the builder.
pub(crate) struct Life {
    /// Set when the push has reached its hook, from where on the client has nothing more to send.
    pub(crate) in_hook: Arc<AtomicBool>,
    /// Where pushes are counted, so that the builder does not leave before they have ended.
    pub(crate) tasks: TaskTracker,
    /// Ends git's input, and with it what is not complete yet.
    pub(crate) shutdown: CancellationToken,
}

/// How a run of git ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) succeeded: bool,
    /// It had something to answer. A push of nothing gets none.
    pub(crate) answered: bool,
}

/// Starts git. `ended` runs when git is done.
pub(crate) fn start(
    invocation: &Invocation<'_>,
    life: Life,
    ended: impl FnOnce(Ended) + Send + 'static,
) -> io::Result<Exchange> {
    let mut child = command(invocation).spawn()?;
    let (input, from_client) = mpsc::channel(CHUNKS_WAITING_MAX);
    let (to_client, output) = mpsc::channel(CHUNKS_WAITING_MAX);
    let stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    tokio::spawn(async move {
        tokio::select! {
            () = feed(from_client, stdin, life.in_hook) => {}
            () = life.shutdown.cancelled() => {}
        }
    });
    let outlives_client = invocation.service == Service::ReceivePack;
    let size_note = invocation.size_note.clone().map(SizeNote::new);
    let relay = async move {
        let answered = AtomicBool::new(false);
        let status = relay(
            &mut child,
            &to_client,
            outlives_client,
            size_note,
            &answered,
        )
        .await;
        ended(Ended {
            succeeded: status == Some(0),
            answered: answered.into_inner(),
        });
        // The client may have gone; then nobody needs the exit code.
        drop(to_client.send(Said::Exit(status)).await);
    };
    if outlives_client {
        life.tasks.spawn(relay);
    } else {
        tokio::spawn(relay);
    }
    Ok(Exchange { input, output })
}

fn command(invocation: &Invocation<'_>) -> Command {
    let mut command = Command::new("git");
    command
        .args(&invocation.settings)
        .arg(invocation.service.subcommand());
    match invocation.mode {
        Mode::Duplex => {}
        Mode::Stateless => drop(command.arg("--stateless-rpc")),
        Mode::Advertise => drop(command.args(["--stateless-rpc", "--advertise-refs"])),
    }
    command.arg(invocation.repository);
    environment(&mut command);
    command.envs(
        invocation
            .environment
            .iter()
            .map(|(name, value)| (name, value)),
    );
    if let Some(protocol) = invocation.protocol {
        command.env("GIT_PROTOCOL", protocol);
    }
    // A push must survive the drop of everything that waits for it.
    command.kill_on_drop(invocation.service == Service::UploadPack);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The whole environment of a git process: nothing of ours reaches git or a hook by accident, and
/// no config of the machine changes what git does.
pub(crate) fn environment(command: &mut Command) {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
}

/// Carries the client's bytes into git until either ends.
async fn feed(
    mut from_client: mpsc::Receiver<Bytes>,
    mut stdin: ChildStdin,
    in_hook: Arc<AtomicBool>,
) {
    let mut refused = 0;
    loop {
        match timeout(CLIENT_SILENCE_MAX, from_client.recv()).await {
            Ok(Some(chunk)) if refused == 0 => {
                if stdin.write_all(&chunk).await.is_err() {
                    refused = chunk.len().max(1);
                }
            }
            Ok(Some(chunk)) if refused < REFUSED_INPUT_BYTES_MAX => refused += chunk.len(),
            // Silence is right while the hook runs, and it is not ours to end then.
            Err(_) if in_hook.load(Ordering::Relaxed) => {}
            Ok(Some(_) | None) | Err(_) => return,
        }
    }
}

/// Carries what git says to the client until git has ended; gives its exit code.
async fn relay(
    child: &mut Child,
    to_client: &mpsc::Sender<Said>,
    outlives_client: bool,
    mut size_note: Option<SizeNote>,
    answered: &AtomicBool,
) -> Option<i32> {
    let (stdout, stderr) = (child.stdout.take()?, child.stderr.take()?);
    let gone = AtomicBool::new(false);
    let out = |bytes| {
        answered.store(true, Ordering::Relaxed);
        Said::Out(match &mut size_note {
            Some(note) => note.pass(bytes),
            None => bytes,
        })
    };
    let both = async {
        tokio::join!(
            carry(stdout, to_client, out, &gone, outlives_client),
            carry(stderr, to_client, Said::Err, &gone, outlives_client),
        )
    };
    let (out, err) = both.await;
    if !(out && err) {
        // It may have ended by itself in the meantime.
        drop(child.start_kill());
    }
    match child.wait().await {
        Ok(status) => status.code(),
        Err(error) => {
            tracing::error!("cannot wait for git: {error:#}");
            None
        }
    }
}

/// Carries one stream to its end. False when the client left and git shall not go on without it.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    to_client: &mpsc::Sender<Said>,
    mut wrap: impl FnMut(Bytes) -> Said,
    gone: &AtomicBool,
    outlives_client: bool,
) -> bool {
    let stall_max = if outlives_client {
        PUSH_STALL_MAX
    } else {
        FETCH_STALL_MAX
    };
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
        let chunk = wrap(buffer.split().freeze());
        if gone.load(Ordering::Relaxed) {
            continue;
        }
        if !matches!(timeout(stall_max, to_client.send(chunk)).await, Ok(Ok(()))) {
            gone.store(true, Ordering::Relaxed);
            if !outlives_client {
                return false;
            }
        }
    }
}
