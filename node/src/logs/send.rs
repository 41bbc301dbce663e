//! Sends lines to the controller: at once when there is one, in batches when there are many.

use std::{sync::Arc, time::Duration};

use fairway_api::{
    client::{Client, ClientError},
    logs::{LOG_BATCH_LINES_MAX, LogLine},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{LogOutlet, Places, places::Place};

/// The most bytes of text in one batch: below what the controller takes in one body.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Pause between two tries when the controller is away, in milliseconds, at first and at most.
const AGAIN_MILLIS: (u64, u64) = (200, 5_000);
/// How long a batch that is under way at shutdown may take, in seconds: if it arrived but was not
/// confirmed, its lines would be there twice.
const LAST_BATCH_SECS: u64 = 3;

/// Sends until shutdown.
pub(crate) async fn send(
    client: Client,
    mut outlet: LogOutlet,
    places: Arc<Places>,
    shutdown: CancellationToken,
) {
    while let Some(batch) = shutdown.run_until_cancelled(outlet.next_batch()).await {
        if batch.lines.is_empty() {
            return;
        }
        let delivery = deliver(&client, &batch.lines);
        tokio::pin!(delivery);
        let done = tokio::select! {
            () = &mut delivery => true,
            () = shutdown.cancelled() => {
                timeout(Duration::from_secs(LAST_BATCH_SECS), &mut delivery).await.is_ok()
            }
        };
        if !done {
            return;
        }
        places.delivered(batch.places.into_iter());
    }
    outlet.last_words(&client).await;
}

#[derive(Default)]
struct Batch {
    lines: Vec<LogLine>,
    places: Vec<Place>,
    bytes: usize,
}

impl Batch {
    fn has_room(&self) -> bool {
        self.lines.len() < LOG_BATCH_LINES_MAX && self.bytes < BATCH_BYTES_MAX
    }

    fn add(&mut self, line: LogLine, place: Option<Place>) {
        self.bytes += line.text.len();
        self.lines.push(line);
        self.places.extend(place);
    }
}

impl LogOutlet {
    /// Waits for a line and takes what else is there; empty when all writers have gone.
    async fn next_batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        tokio::select! {
            biased;
            Some(line) = self.notices.recv() => batch.add(line, None),
            Some(queued) = self.lines.recv() => batch.add(queued.line, Some(queued.place)),
            else => return batch,
        }
        while batch.has_room() {
            if let Ok(line) = self.notices.try_recv() {
                batch.add(line, None);
            } else if let Ok(queued) = self.lines.try_recv() {
                batch.add(queued.line, Some(queued.place));
            } else {
                break;
            }
        }
        batch
    }

    /// The agent's own lines exist nowhere else: one try to deliver them. Lines of containers are
    /// in the engine's files and are read again at the next start.
    async fn last_words(&mut self, client: &Client) {
        let mut lines = Vec::new();
        while let Ok(line) = self.notices.try_recv() {
            lines.push(line);
        }
        lines.truncate(LOG_BATCH_LINES_MAX);
        if !lines.is_empty() {
            drop(
                timeout(
                    Duration::from_secs(LAST_BATCH_SECS),
                    client.send_logs(&lines),
                )
                .await,
            );
        }
    }
}

/// Tries until the controller has taken the lines or has refused them for good.
async fn deliver(client: &Client, lines: &[LogLine]) {
    let mut pause = AGAIN_MILLIS.0;
    loop {
        match client.send_logs(lines).await {
            Ok(()) => return,
            Err(error) if for_good(&error) => {
                tracing::error!(
                    dropped = lines.len(),
                    "the controller refused log lines: {error}"
                );
                return;
            }
            Err(error) if pause == AGAIN_MILLIS.0 => {
                let error = anyhow::Error::from(error);
                tracing::warn!("cannot send logs, the engine holds them back: {error:#}");
            }
            Err(_) => {}
        }
        sleep(Duration::from_millis(pause)).await;
        pause = (pause * 2).min(AGAIN_MILLIS.1);
    }
}

/// Whether the same lines would be refused again.
fn for_good(error: &ClientError) -> bool {
    let status = error.api().map(|error| error.id.status());
    matches!(status, Some(400 | 404 | 409 | 413 | 422))
}
