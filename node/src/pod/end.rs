//! What becomes of a container: how it ended, and its removal.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use fairway_api::pods::{EXIT_LINES_MAX, Exit};
use tokio::time::{sleep, timeout};

use super::{Running, task::Host};
use crate::{
    engine::{AGAIN_MILLIS, Engine, Inspected},
    logs::Follower,
};

/// How long the last lines of a dead container may take to be read, in seconds.
const LAST_LINES_SECS: u64 = 5;

/// What a second look at a container found.
pub(super) enum Looked {
    Running(Running, Option<i64>),
    Ended(Exit),
}

/// Delivers what is left of a dead container's log and removes it, as often as it takes.
pub(crate) async fn bury(host: Arc<Host>, container: String, follower: Option<Follower>) {
    let work = async {
        if let Some(follower) = follower {
            follower.drain().await;
        }
        while let Err(error) = host.engine.remove(&container).await {
            tracing::warn!(container, "cannot remove a dead container yet: {error}");
            sleep(Duration::from_millis(AGAIN_MILLIS)).await;
        }
        host.places.forget(&container);
    };
    host.shutdown.run_until_cancelled(work).await;
}

/// Finds out how a container is, and if it has ended, how. `code` is what is known in case it was
/// removed.
pub(super) async fn look(engine: Arc<Engine>, container: String, code: i64) -> Looked {
    match engine.inspect_patiently(&container).await {
        Inspected::Running { running, pid } => Looked::Running(running, pid),
        Inspected::Missing => Looked::Ended(exit(code, false, None, vec![])),
        Inspected::Dead {
            code,
            out_of_memory,
            at,
        } => {
            let lines = engine.last_lines(&container, EXIT_LINES_MAX);
            let lines = timeout(Duration::from_secs(LAST_LINES_SECS), lines).await;
            let lines = lines.ok().and_then(Result::ok).unwrap_or_default();
            Looked::Ended(exit(code, out_of_memory, at, lines))
        }
    }
}

fn exit(
    code: i64,
    out_of_memory: bool,
    at: Option<DateTime<Utc>>,
    last_lines: Vec<String>,
) -> Exit {
    Exit {
        code,
        out_of_memory,
        stopped_because: None,
        at: at.unwrap_or_else(Utc::now),
        last_lines,
    }
}
