//! From containers' output to the controller's log store, every line once.
//!
//! ```text
//! engine's log file -> follow (one per container) -> LogQueue -> send -> controller
//!        ^                                                        |
//!        +---- starts after the place that was delivered <- places (ledger)
//! ```
//!
//! While the controller is away the queue fills, the followers stop reading, and the engine's
//! files hold the lines back. Only what a container that must go has not delivered in time is
//! dropped, and counted.

mod follow;
mod places;
mod send;

use chrono::Utc;
use fairway_api::{
    ids::{AppId, PodId},
    logs::{LogLine, LogSource},
    names::ContainerName,
    pods::PodSpec,
};
use tokio::sync::mpsc;

pub(crate) use follow::{Follower, follow};
pub(crate) use places::Places;
pub(crate) use send::send;

/// Lines that wait to be sent; at most this many times `LOG_LINE_BYTES_MAX` of memory.
const QUEUE_LINES_MAX: usize = 512;
/// The agent's own lines that wait to be sent: a few per state change.
const NOTICES_MAX: usize = 1_024;

/// Whose lines they are.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) app: AppId,
    pub(crate) pod: PodId,
    /// `web.1`, `web.1/proxy`.
    pub(crate) process: String,
}

impl Writer {
    pub(crate) fn of(spec: &PodSpec) -> Self {
        Self {
            app: spec.app,
            pod: spec.id,
            process: spec.name.clone(),
        }
    }

    /// Of one container of a pod.
    pub(crate) fn of_container(spec: &PodSpec, container: &ContainerName) -> Self {
        let mut writer = Self::of(spec);
        if !container.is_main() {
            writer.process = format!("{}/{container}", spec.name);
        }
        writer
    }

    fn line(&self, at: chrono::DateTime<Utc>, source: LogSource, text: String) -> LogLine {
        LogLine {
            app: self.app,
            at,
            source,
            process: self.process.clone(),
            pod: Some(self.pod),
            text,
        }
    }
}

/// A line and the place in its container's log that it ends at.
#[derive(Debug)]
struct Queued {
    line: LogLine,
    place: places::Place,
}

/// The way to the controller.
#[derive(Debug, Clone)]
pub(crate) struct LogQueue {
    lines: mpsc::Sender<Queued>,
    notices: mpsc::Sender<LogLine>,
}

/// The other end, for [`send`].
#[derive(Debug)]
pub(crate) struct LogOutlet {
    lines: mpsc::Receiver<Queued>,
    notices: mpsc::Receiver<LogLine>,
}

/// Makes both ends.
pub(crate) fn queue() -> (LogQueue, LogOutlet) {
    let (lines, lines_out) = mpsc::channel(QUEUE_LINES_MAX);
    let (notices, notices_out) = mpsc::channel(NOTICES_MAX);
    (
        LogQueue { lines, notices },
        LogOutlet {
            lines: lines_out,
            notices: notices_out,
        },
    )
}

impl LogQueue {
    /// Writes a line of Fairway's own into the app's log. Never waits: a state change must not
    /// hang on a log.
    pub(crate) fn say(&self, writer: &Writer, text: String) {
        let line = writer.line(Utc::now(), LogSource::Fairway, text);
        if let Err(refused) = self.notices.try_send(line) {
            let line = refused.into_inner();
            tracing::warn!(
                process = line.process,
                text = line.text,
                "the log queue is full"
            );
        }
    }
}
