//! Calls of whoever keeps things of apps on a disk, and the loop around them.

use std::time::Duration;

use reqwest::Method;
use tokio::time::{sleep, timeout};

use super::{Client, ClientError};
use crate::{
    nodes::LONG_POLL_SECS,
    wanted::{Notice, Wanted},
};

/// How long it takes at most until something that could not be removed is tried again, in seconds:
/// pods of a destroyed app are still on their way out, or a build of it runs.
const BUSY_SECS: u64 = 5;
/// Pause after the controller did not answer, in seconds.
const AWAY_SECS: u64 = 10;

/// When a [`prune`](Client::prune) loop works.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Pause before each pass: gathers notices, and lets a start do better things first.
    pub pause: Duration,
    /// The longest time between two passes.
    pub every: Duration,
}

/// How a pass went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// All is removed that may go.
    Done,
    /// Something was in use and is left for soon.
    Busy,
}

impl Client {
    /// What is wanted now.
    pub async fn wanted(&self) -> Result<Wanted, ClientError> {
        self.get("/internal/wanted").await
    }

    /// Waits until the notice has another number than `unlike`; `None` when it has not after
    /// [`LONG_POLL_SECS`].
    pub async fn wanted_notice(&self, unlike: u64) -> Result<Option<Notice>, ClientError> {
        let path = format!("/internal/wanted/notice?unlike={unlike}");
        self.poll(
            self.request(Method::GET, &path),
            Duration::from_secs(LONG_POLL_SECS),
        )
        .await
    }

    /// Runs `pass` at the start, after each notice that an app was destroyed, and from time to
    /// time, for ever. A crash is made good by the first pass of the next start.
    pub async fn prune<F, Fut>(&self, pace: Pace, mut pass: F)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Passed>,
    {
        let mut seen = self.another_notice(0).await;
        loop {
            sleep(pace.pause).await;
            let next = match pass().await {
                Passed::Done => pace.every,
                Passed::Busy => Duration::from_secs(BUSY_SECS),
            };
            // What is destroyed during a pass has made another number by now.
            if let Ok(number) = timeout(next, self.another_notice(seen)).await {
                seen = number;
            }
        }
    }

    /// Waits for a number unlike `seen`, also while the controller is away.
    async fn another_notice(&self, seen: u64) -> u64 {
        loop {
            match self.wanted_notice(seen).await {
                Ok(Some(notice)) => return notice.number,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!("cannot ask whether an app was destroyed: {error}");
                    sleep(Duration::from_secs(AWAY_SECS)).await;
                }
            }
        }
    }
}
