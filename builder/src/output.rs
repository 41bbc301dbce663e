//! What a build says: a sink for its lines that carries them, in order, to the controller.
//!
//! ```text
//! header, detail, error, raw -> Redactor -> Clip -> pending bytes -> append_build_output
//! ```
//!
//! Writing never waits. A chunk goes out at once when nothing is under way, and what comes in
//! meanwhile goes out together afterwards. Every call keeps the build's lease; when there is
//! nothing to say, a heartbeat does. A lost lease cancels the build. Values of config vars are
//! blacked out here, so nothing past this point can leak them. It must not interpret the output.

mod clip;
mod redact;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use fairway_api::{
    build_orders::{BUILD_HEARTBEAT_SECS, BUILD_LEASE_SECS, BuildLease},
    builds::BUILD_OUTPUT_BYTES_MAX,
    client::{Client, ClientError},
    ids::BuildId,
    secret::Secret,
};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{clip::Clip, redact::Redactor};

/// The most bytes of output in one call to the controller: enough to catch up fast, small enough
/// that whoever follows sees it move.
const CALL_BYTES_MAX: usize = 256 * 1024;
/// How long to wait before a failed call is tried again. The lease leaves time for a few dozen.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Where a build writes. Cheap to clone; all clones write into the same stream.
#[derive(Clone)]
pub(crate) struct Output {
    shared: Arc<Shared>,
}

/// Carries the output of one build to the controller until [`Self::finish`].
pub(crate) struct OutputPump {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    pending: Mutex<Pending>,
    wake: Notify,
}

/// What was written and not sent yet. Bounded by the clip, which lets through a fixed number of
/// bytes in all.
struct Pending {
    redactor: Redactor,
    clip: Clip,
    bytes: Vec<u8>,
    /// The last byte written was not a line end.
    line_open: bool,
    /// Nothing more is taken.
    closed: bool,
}

impl Output {
    /// Starts to carry the output of `build`. `cancel` is set when the controller says that the
    /// build is no longer wanted here, or when it was out of reach for longer than the lease.
    pub(crate) fn start(
        client: Client,
        build: BuildId,
        redact: &[Secret],
        cancel: CancellationToken,
    ) -> (Self, OutputPump) {
        let output = Self::unsent(redact);
        let shared = Arc::clone(&output.shared);
        let task = tokio::spawn(pump(client, build, Arc::clone(&shared), cancel));
        (output, OutputPump { shared, task })
    }

    fn unsent(redact: &[Secret]) -> Self {
        let pending = Pending {
            redactor: Redactor::new(redact),
            clip: Clip::new(BUILD_OUTPUT_BYTES_MAX),
            bytes: Vec::new(),
            line_open: false,
            closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                pending: Mutex::new(pending),
                wake: Notify::new(),
            }),
        }
    }

    /// A step: `-----> Building on fairway-1`.
    pub(crate) fn header(&self, text: impl AsRef<str>) {
        self.lines("-----> ", text.as_ref());
    }

    /// Something within a step, under its header.
    pub(crate) fn detail(&self, text: impl AsRef<str>) {
        self.lines("       ", text.as_ref());
    }

    /// What went wrong: ` !     No matching distribution found`.
    pub(crate) fn error(&self, text: impl AsRef<str>) {
        self.lines(" !     ", text.as_ref());
    }

    /// Bytes as a tool wrote them.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.write(|pending| pending.push(bytes));
    }

    /// Each line with the prefix, on lines of its own.
    fn lines(&self, prefix: &str, text: &str) {
        let mut bytes = String::new();
        for line in text.split('\n') {
            bytes.push_str(format!("{prefix}{}", line.trim_end_matches('\r')).trim_end());
            bytes.push('\n');
        }
        self.write(|pending| {
            if pending.line_open {
                pending.push(b"\n");
            }
            pending.push(bytes.as_bytes());
        });
    }

    fn write(&self, write: impl FnOnce(&mut Pending)) {
        {
            let mut pending = lock(&self.shared);
            if pending.closed {
                return;
            }
            write(&mut pending);
        }
        self.shared.wake.notify_one();
    }
}

impl OutputPump {
    /// Sends the rest, and ends. Later writes are dropped.
    pub(crate) async fn finish(self) {
        lock(&self.shared).close();
        self.shared.wake.notify_one();
        if let Err(error) = self.task.await {
            tracing::error!("the task that sends build output ended badly: {error:#}");
        }
    }
}

impl Pending {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.line_open = *last != b'\n';
            let clear = self.redactor.push(bytes);
            self.clip.push(&clear, &mut self.bytes);
        }
    }

    fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            let clear = self.redactor.finish();
            self.clip.push(&clear, &mut self.bytes);
            self.clip.finish(&mut self.bytes);
        }
    }

    /// The next chunk to send; empty when there is none.
    fn take(&mut self) -> Bytes {
        let rest = self.bytes.split_off(self.bytes.len().min(CALL_BYTES_MAX));
        Bytes::from(std::mem::replace(&mut self.bytes, rest))
    }
}

/// A panic while the lock is held cannot leave the bytes in a state that matters.
fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Pending> {
    shared
        .pending
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Sends what is written until the output is closed and empty, or the lease is lost.
async fn pump(client: Client, build: BuildId, shared: Arc<Shared>, cancel: CancellationToken) {
    loop {
        let (chunk, closed) = {
            let mut pending = lock(&shared);
            (pending.take(), pending.closed)
        };
        if chunk.is_empty() && closed {
            return;
        }
        if chunk.is_empty() {
            let silence = Duration::from_secs(BUILD_HEARTBEAT_SECS);
            if tokio::time::timeout(silence, shared.wake.notified())
                .await
                .is_ok()
            {
                continue;
            }
        }
        if !keep_lease(&client, build, chunk).await {
            cancel.cancel();
            let mut pending = lock(&shared);
            pending.closed = true;
            pending.bytes = Vec::new();
            return;
        }
    }
}

/// Appends `chunk`, or only says that the build is alive when it is empty. False when the build is
/// not this builder's any more.
async fn keep_lease(client: &Client, build: BuildId, chunk: Bytes) -> bool {
    let lost_at = Instant::now() + Duration::from_secs(BUILD_LEASE_SECS);
    loop {
        let answer = if chunk.is_empty() {
            client.heartbeat_build(build).await
        } else {
            client.append_build_output(build, chunk.clone()).await
        };
        match answer {
            Ok(BuildLease { cancelled }) => return !cancelled,
            Err(error) if may_pass(&error) && Instant::now() < lost_at => {
                tracing::debug!(%build, "sending build output failed, trying again: {error:#}");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::warn!(%build, "the build's lease is lost: {error:#}");
                return false;
            }
        }
    }
}

/// True for errors that may be over soon: the controller restarts, or is behind a proxy while it
/// does.
pub(crate) fn may_pass(error: &ClientError) -> bool {
    use fairway_api::error::ErrorId;
    match error {
        ClientError::Unreachable { .. } | ClientError::NotOurs { .. } => true,
        ClientError::Api(error) => matches!(
            error.id,
            ErrorId::Unavailable | ErrorId::InternalServerError | ErrorId::RateLimit
        ),
    }
}

#[cfg(test)]
impl Output {
    /// An output that is kept instead of sent, for tests.
    pub(crate) fn kept(redact: &[Secret]) -> Self {
        Self::unsent(redact)
    }

    /// All that was written so far, as it would have been sent.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.shared).bytes).into_owned()
    }
}

#[cfg(test)]
mod tests;
