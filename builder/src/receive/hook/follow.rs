//! Stays with a build until the push it belongs to has ended, through restarts of the controller.

use std::time::Duration;

use fairway_api::{
    build_orders::{NewBuild, PushVerdict, QueuedBuild},
    client::{Client, ClientError},
    error::ErrorId,
    ids::BuildId,
};
use futures_util::TryStreamExt;
use tokio::time::{Instant, sleep, timeout};

use super::Say;
use crate::output::may_pass;

/// How long the controller may be out of reach before a push gives up on it. A restart takes
/// seconds; a failover to another controller less than a minute.
const CONTROLLER_AWAY_MAX: Duration = Duration::from_secs(120);
/// How long to wait before a failed call is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long output may be silent before the connection is made anew: a machine that is gone does
/// not close its connections.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Why a push lost its build; the texts are for the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The controller has a reason of its own.
    #[error("{0}")]
    Refused(String),
    #[error("Fairway cannot queue the build right now; push again in a minute")]
    NotQueued,
    #[error(
        "the connection to Fairway's controller was lost, and with it sight of the build; it may \
         still finish (app builds), and pushing again is safe"
    )]
    Away,
}

/// Queues a build. Tried once: a second try after an answer that got lost would build twice.
pub(crate) async fn queue(client: &Client, build: &NewBuild) -> Result<QueuedBuild, Lost> {
    client
        .queue_build(build)
        .await
        .map_err(|error| match error {
            ClientError::Api(error) if error.id != ErrorId::InternalServerError => {
                let hint = error
                    .hint
                    .map(|hint| format!("\n{hint}"))
                    .unwrap_or_default();
                Lost::Refused(format!("{}{hint}", error.message))
            }
            error => {
                let error = anyhow::Error::new(error);
                tracing::warn!(app = %build.app, "cannot queue a build: {error:#}");
                Lost::NotQueued
            }
        })
}

/// Passes on the output of a build as it comes, and gives the verdict on its push.
pub(crate) async fn follow(
    client: &Client,
    build: BuildId,
    say: &mut Say,
) -> Result<PushVerdict, Lost> {
    let mut seen = Seen {
        offset: 0,
        heard_at: Instant::now(),
    };
    loop {
        let step = match output(client, build, &mut seen, say).await {
            Ok(Followed::ToTheEnd) => client.push_verdict(build).await,
            Ok(Followed::IntoSilence) => Ok(None),
            Err(error) => Err(error),
        };
        match step {
            Ok(Some(verdict)) => return Ok(verdict),
            Ok(None) => seen.heard_at = Instant::now(),
            Err(error) if may_pass(&error) && seen.heard_at.elapsed() < CONTROLLER_AWAY_MAX => {
                tracing::debug!(%build, "following a build was interrupted: {error:#}");
                sleep(RETRY_PAUSE).await;
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::warn!(%build, "a push lost its build: {error:#}");
                return Err(Lost::Away);
            }
        }
    }
}

/// How far a build was followed.
struct Seen {
    /// Bytes of its output that were passed on.
    offset: u64,
    /// When the controller last gave a sign of life.
    heard_at: Instant,
}

enum Followed {
    ToTheEnd,
    IntoSilence,
}

/// Passes on output until it has ended, or was silent for long.
async fn output(
    client: &Client,
    build: BuildId,
    seen: &mut Seen,
    say: &mut Say,
) -> Result<Followed, ClientError> {
    let opening = client.follow_build_output(build, seen.offset);
    let Ok(opened) = timeout(SILENCE_MAX, opening).await else {
        return Ok(Followed::IntoSilence);
    };
    let mut stream = Box::pin(opened?);
    while let Ok(next) = timeout(SILENCE_MAX, stream.try_next()).await {
        seen.heard_at = Instant::now();
        let Some(chunk) = next? else {
            return Ok(Followed::ToTheEnd);
        };
        seen.offset += chunk.len() as u64;
        say.raw(&chunk).await;
    }
    Ok(Followed::IntoSilence)
}
