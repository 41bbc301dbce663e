//! One access line per request in the app's own log, in the words Heroku's router made customary.
//!
//! The path is written without its query: password resets, signed links and OAuth answers carry
//! secrets there, and the log is read by every collaborator and by log drains.
//!
//! Logging never holds up a request: the queue is bounded, a line that finds it full is not even
//! written out but counted, and the count is told as a line of its own.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use fairway_api::{
    client::{Client, ClientError},
    ids::AppId,
    logs::{LOG_BATCH_LINES_MAX, LogLine, LogSource, ROUTER_PROCESS},
};
use http::{HeaderValue, Method, Uri};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{failure::Failure, table::Endpoint, traffic::Open};

/// Lines that wait to be sent. At a few hundred bytes each this is some megabytes, and a few
/// seconds of a busy router.
const QUEUE_LINES_MAX: usize = 8_192;
/// How long the first line of a batch waits for company. It is what a reader of the log notices as
/// delay, and it keeps the queue from waking its reader with every request.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait before a batch that could not be sent is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the last lines may take when the router stops.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);
/// How much of a path is written, in bytes; the longest line must stay well below
/// [`fairway_api::logs::LOG_LINE_BYTES_MAX`].
const PATH_BYTES_MAX: usize = 2_048;
/// Room for most lines, so that writing one allocates once.
const LINE_BYTES_USUAL: usize = 384;
/// How much of a header's value is written, in bytes.
const VALUE_BYTES_MAX: usize = 512;

/// Where finished requests leave their lines.
#[derive(Debug)]
pub(crate) struct AccessLog {
    queue: mpsc::Sender<Line>,
    /// Lines that found the queue full, per app. A leaf: touched only when that happens.
    dropped: Mutex<HashMap<AppId, u64>>,
    /// Set when the router gives up on requests that are still open, so that they do not blame
    /// their clients.
    stopping: AtomicBool,
}

/// A line in the queue.
#[derive(Debug)]
pub(crate) struct Line {
    app: AppId,
    at: DateTime<Utc>,
    text: String,
}

impl AccessLog {
    /// The log and the far end of its queue, which [`deliver`] empties.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Line>) {
        let (queue, lines) = mpsc::channel(QUEUE_LINES_MAX);
        (
            Self {
                queue,
                dropped: Mutex::default(),
                stopping: AtomicBool::new(false),
            },
            lines,
        )
    }

    /// From here on a request that ends early ends because the router stops.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    fn count_dropped(&self, app: AppId, lines: u64) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        *dropped.entry(app).or_default() += lines;
    }

    fn take_dropped(&self) -> HashMap<AppId, u64> {
        mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is known about one request of an app. It writes its line when it is dropped, so that there
/// is exactly one line, whatever happens to the request.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) log: Arc<AccessLog>,
    pub(crate) app: AppId,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) host: HeaderValue,
    pub(crate) request_id: HeaderValue,
    /// The value of X-Forwarded-For that the pod gets.
    pub(crate) forwarded_for: HeaderValue,
    pub(crate) scheme: &'static str,
    pub(crate) started: Instant,
    /// The pod last tried.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    pub(crate) connect: Duration,
    /// 0 until there is one.
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    /// The client is to blame until the request has ended otherwise.
    pub(crate) end: End,
    /// Counts it as open.
    pub(crate) open: Open,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Not yet: the record is dropped in this state if the client goes away.
    Open,
    Complete,
    Failed(Failure),
}

impl Record {
    fn write(&self, text: &mut String, end: End) -> fmt::Result {
        let failure = match end {
            End::Complete => None,
            End::Open => Some(Failure::ClientGone),
            End::Failed(failure) => Some(failure),
        };
        match failure {
            None => text.write_str("at=info")?,
            Some(failure) => {
                write!(
                    text,
                    "at=error code={} desc=\"{}\"",
                    failure.code(),
                    failure.describe()
                )?;
            }
        }
        let status = match (self.status, failure) {
            (0, Some(failure)) => failure.status().as_u16(),
            (status, _) => status,
        };
        write!(text, " method={} path=\"", self.method)?;
        write_escaped(text, self.uri.path().as_bytes(), PATH_BYTES_MAX)?;
        text.write_str("\" host=")?;
        write_escaped(text, self.host.as_bytes(), VALUE_BYTES_MAX)?;
        text.write_str(" request_id=")?;
        write_escaped(text, self.request_id.as_bytes(), VALUE_BYTES_MAX)?;
        text.write_str(" fwd=\"")?;
        write_escaped(text, self.forwarded_for.as_bytes(), VALUE_BYTES_MAX)?;
        write!(
            text,
            "\" dyno={} connect={}ms service={}ms status={status} bytes={} protocol={}",
            self.endpoint.as_ref().map_or("", |endpoint| &endpoint.name),
            self.connect.as_millis(),
            self.started
                .elapsed()
                .saturating_sub(self.connect)
                .as_millis(),
            self.bytes,
            self.scheme,
        )
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let end = match self.end {
            End::Open if self.log.stopping.load(Relaxed) => End::Failed(Failure::Shutdown),
            end => end,
        };
        // The place is taken first: under overload a dropped line should cost next to nothing.
        match self.log.queue.try_reserve() {
            Ok(place) => {
                let mut text = String::with_capacity(LINE_BYTES_USUAL);
                let written = self.write(&mut text, end);
                debug_assert!(written.is_ok(), "a String takes every text");
                place.send(Line {
                    app: self.app,
                    at: Utc::now(),
                    text,
                });
            }
            Err(_) => self.log.count_dropped(self.app, 1),
        }
    }
}

/// Writes at most `max` bytes of what a client sent, with everything that could end the quotes, the
/// field or the line as `%XX`. The blank after a comma, usual in lists, is left out.
fn write_escaped(text: &mut String, bytes: &[u8], max: usize) -> fmt::Result {
    let mut before = 0;
    for &byte in &bytes[..bytes.len().min(max)] {
        if matches!(byte, b'!' | b'#'..=b'~') {
            text.push(char::from(byte));
        } else if (before, byte) != (b',', b' ') {
            write!(text, "%{byte:02X}")?;
        }
        before = byte;
    }
    if bytes.len() > max {
        text.write_str("...")
    } else {
        Ok(())
    }
}

/// Sends lines to the controller in batches until `stop`, then what is left.
pub(crate) async fn deliver(
    mut lines: mpsc::Receiver<Line>,
    log: Arc<AccessLog>,
    client: Client,
    stop: CancellationToken,
) {
    let mut batch = Vec::new();
    let gather = async {
        let mut failing = false;
        loop {
            if batch.is_empty() {
                let Some(line) = lines.recv().await else {
                    return;
                };
                batch.push(line.into_log_line());
            }
            if batch.len() + lines.len() < LOG_BATCH_LINES_MAX {
                tokio::time::sleep(GATHER).await;
            }
            fill(&mut batch, &mut lines, &log);
            match client.send_logs(&batch).await {
                Ok(()) => failing = false,
                Err(error) if is_temporary(&error) => {
                    if !mem::replace(&mut failing, true) {
                        let error = anyhow::Error::new(error);
                        tracing::warn!("cannot hand in access lines, will try on: {error:#}");
                    }
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    tracing::warn!(lines = batch.len(), "access lines were refused: {error:#}");
                    for line in &batch {
                        log.count_dropped(line.app, 1);
                    }
                }
            }
            batch.clear();
        }
    };
    tokio::select! {
        () = gather => {}
        () = stop.cancelled() => {}
    }
    let flush = async {
        loop {
            fill(&mut batch, &mut lines, &log);
            if batch.is_empty() || client.send_logs(&batch).await.is_err() {
                return;
            }
            batch.clear();
        }
    };
    if timeout(FLUSH_DEADLINE, flush).await.is_err() {
        tracing::warn!("the last access lines could not be handed in before the router stopped");
    }
}

/// Adds what waits, as far as one batch may hold, and the counts of what was dropped.
fn fill(batch: &mut Vec<LogLine>, lines: &mut mpsc::Receiver<Line>, log: &AccessLog) {
    while batch.len() < LOG_BATCH_LINES_MAX {
        let Ok(line) = lines.try_recv() else { break };
        batch.push(line.into_log_line());
    }
    for (app, count) in log.take_dropped() {
        if batch.len() >= LOG_BATCH_LINES_MAX {
            log.count_dropped(app, count);
            continue;
        }
        let text = format!(
            "at=warning code=lines-dropped desc=\"Requests came faster than their access lines \
             could be logged\" lines={count}"
        );
        batch.push(
            Line {
                app,
                at: Utc::now(),
                text,
            }
            .into_log_line(),
        );
    }
}

/// True if the same lines may succeed later. A batch that is refused for what it says must not
/// block those behind it.
fn is_temporary(error: &ClientError) -> bool {
    error.api().is_none_or(|error| {
        let status = error.id.status();
        status >= 500 || status == 429 || status == 401
    })
}

impl Line {
    fn into_log_line(self) -> LogLine {
        LogLine {
            app: self.app,
            at: self.at,
            source: LogSource::Fairway,
            process: ROUTER_PROCESS.into(),
            pod: None,
            text: self.text,
        }
    }
}

#[cfg(test)]
mod tests;
