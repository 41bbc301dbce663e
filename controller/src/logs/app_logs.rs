//! The apps' logs: a bounded file history per app, and whoever follows it.
//!
//! One thread owns all of it and takes commands from a bounded queue:
//!
//! ```text
//! nodes, routers, loops --append--> [writer thread] --> <folder>/<app id>/<n>.log   (JSON lines)
//!                                        |
//! log sessions --------open------------- +--> broadcast to those who follow
//! ```
//!
//! Opening a session goes through the same queue, so that the writer names the exact place where
//! the past ends and the live lines begin: no line is shown twice or lost in between. A line is in
//! the page cache when it is taken, so it survives a killed process; a power cut may take the
//! newest, and a line torn by one is skipped when read.

mod history;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use fairway_api::{
    ids::AppId,
    logs::{LOG_LINE_BYTES_MAX, LogLine, LogSource},
};
use tokio::sync::{broadcast, mpsc, oneshot};

use history::{History, Position};

/// Batches that wait for the writer. It writes each in well under a millisecond; a full queue means
/// that the disk stands still, and then senders wait (nodes) or lose the line (loops).
const QUEUE_BATCHES_MAX: usize = 256;
/// Lines that a follower may be behind before it is told that some were left out.
const FOLLOWER_LINES_MAX: usize = 4096;
/// Followers of one app at once; each holds a connection.
const FOLLOWERS_MAX: usize = 200;

/// The apps' logs.
#[derive(Debug)]
pub struct AppLogs {
    folder: PathBuf,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Append(Vec<LogLine>),
    Open {
        app: AppId,
        reply: oneshot::Sender<Option<(Position, broadcast::Receiver<Arc<LogLine>>)>>,
    },
    Forget {
        app: AppId,
        reply: oneshot::Sender<()>,
    },
}

/// Which lines a session shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogFilter {
    /// `web.1`, `web.1/proxy` for one container of it, `web` for all pods of the type, or `import.4821` for all pods of a run.
    pub process: Option<String>,
    pub source: Option<LogSource>,
}

impl LogFilter {
    /// True for lines that the session shows.
    pub fn shows(&self, line: &LogLine) -> bool {
        let of_process = self.process.as_ref().is_none_or(|wanted| {
            let rest = line.process.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
        });
        of_process && self.source.is_none_or(|wanted| line.source == wanted)
    }
}

/// An app's log as a session reads it.
#[derive(Debug)]
pub struct Followed {
    /// The last lines so far, oldest first.
    pub past: Vec<LogLine>,
    /// What comes after them, unfiltered.
    pub live: broadcast::Receiver<Arc<LogLine>>,
}

impl AppLogs {
    /// Opens the folder and starts the writer, which ends when this is dropped.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (commands, queue) = mpsc::channel(QUEUE_BATCHES_MAX);
        let writer = Writer {
            folder: folder.into(),
            apps: HashMap::new(),
        };
        thread::Builder::new()
            .name("app-logs".into())
            .spawn(move || writer.run(queue))?;
        Ok(Self {
            folder: folder.into(),
            commands,
        })
    }

    /// Hands in lines; waits while the writer is behind.
    pub async fn append(&self, lines: Vec<LogLine>) {
        // The writer lives as long as `self`, so nobody can be gone here.
        drop(self.commands.send(Command::Append(lines)).await);
    }

    /// Hands in one line of the platform's own. Never waits: a loop must not stand still for a log
    /// line, so one is lost when the disk is far behind.
    pub fn append_app(&self, line: LogLine) {
        if self.commands.try_send(Command::Append(vec![line])).is_err() {
            tracing::warn!("the writer of app logs is behind; a line was lost");
        }
    }

    /// The last `lines` lines that `filter` shows, and a place to hear what comes next; `None` when
    /// as many follow the app already as may.
    pub async fn follow(
        &self,
        app: AppId,
        filter: LogFilter,
        lines: usize,
    ) -> io::Result<Option<Followed>> {
        let (reply, answer) = oneshot::channel();
        drop(self.commands.send(Command::Open { app, reply }).await);
        let Some((until, live)) = answer.await.map_err(io::Error::other)? else {
            return Ok(None);
        };
        let folder = self.folder.join(app.to_string());
        let read = move || history::last_lines(&folder, app, until, &filter, lines);
        let past = tokio::task::spawn_blocking(read)
            .await
            .map_err(io::Error::other)??;
        Ok(Some(Followed { past, live }))
    }

    /// Removes an app's log and ends those who follow it.
    pub async fn forget(&self, app: AppId) {
        let (reply, done) = oneshot::channel();
        drop(self.commands.send(Command::Forget { app, reply }).await);
        drop(done.await);
    }

    /// Removes the logs of apps that do not exist; for the start, since a crash can come between
    /// the end of an app and that of its log.
    pub fn retain(&self, apps: &HashSet<AppId>) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let app = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if app.is_some_and(|app: AppId| !apps.contains(&app)) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

struct Writer {
    folder: PathBuf,
    apps: HashMap<AppId, AppLog>,
}

/// What the writer knows of one app.
struct AppLog {
    history: History,
    /// Only while somebody follows.
    live: Option<broadcast::Sender<Arc<LogLine>>>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.blocking_recv() {
            match command {
                Command::Append(lines) => self.append(lines),
                Command::Open { app, reply } => {
                    let log = self.log(app);
                    let live = log
                        .live
                        .get_or_insert_with(|| broadcast::Sender::new(FOLLOWER_LINES_MAX));
                    let free = live.receiver_count() < FOLLOWERS_MAX;
                    drop(reply.send(free.then(|| (log.history.position(), live.subscribe()))));
                }
                Command::Forget { app, reply } => {
                    self.apps.remove(&app);
                    match fs::remove_dir_all(self.folder.join(app.to_string())) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            tracing::warn!(%app, "cannot remove the app's log: {error}");
                        }
                        _ => {}
                    }
                    // Whoever asked may have left; the log is gone all the same.
                    reply.send(()).unwrap_or_default();
                }
            }
        }
    }

    fn log(&mut self, app: AppId) -> &mut AppLog {
        let folder = self.folder.join(app.to_string());
        self.apps.entry(app).or_insert_with(|| AppLog {
            history: History::open(folder),
            live: None,
        })
    }

    /// One write per app in the batch: lines of one app keep their order.
    fn append(&mut self, lines: Vec<LogLine>) {
        let mut by_app: HashMap<AppId, Vec<LogLine>> = HashMap::new();
        for line in lines.into_iter().flat_map(split) {
            by_app.entry(line.app).or_default().push(line);
        }
        for (app, lines) in by_app {
            let log = self.log(app);
            if let Err(error) = log.history.append(&lines) {
                tracing::warn!(%app, lines = lines.len(), "cannot keep log lines: {error}");
            }
            log.live = log.live.take().filter(|live| live.receiver_count() > 0);
            if let Some(live) = &log.live {
                for line in lines {
                    // Nobody listening any more is no failure.
                    drop(live.send(Arc::new(line)));
                }
            }
        }
    }
}

/// One line of a log per line of text, none longer than [`LOG_LINE_BYTES_MAX`].
fn split(line: LogLine) -> Vec<LogLine> {
    if line.text.len() <= LOG_LINE_BYTES_MAX && !line.text.contains('\n') {
        return vec![line];
    }
    let mut pieces = Vec::new();
    for mut rest in line.text.split('\n') {
        loop {
            let end = rest.floor_char_boundary(LOG_LINE_BYTES_MAX);
            let (piece, more) = rest.split_at(end);
            pieces.push(LogLine {
                text: piece.into(),
                ..line.clone()
            });
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests;
