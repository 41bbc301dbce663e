//! Orders for nodes, by long poll, and what their agents saw.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fairway_api::{
    checks::CHECK_RESPONSE_BYTES_MAX,
    logs::LOG_LINE_BYTES_MAX,
    machines::{HOST_PATHS_MAX, NodeFacts},
    nodes::{LONG_POLL_SECS, NodeStatus, StatusAnswer},
    placement::LABELS_MAX,
    pods::{EXIT_LINES_MAX, PodStatus},
};
use serde::Deserialize;

use crate::{
    http::{
        caller::OwnNode,
        extract::{self, Query},
    },
    nodes,
    orders::{Order, Published},
    problem::{Answer, Problem},
    state::AppState,
    store::columns::now,
    volumes,
};

/// The most bytes of a node's status: a few hundred pods, each with its last lines of output.
const STATUS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most bytes of a text that only people read.
const FACT_BYTES_MAX: usize = 200;

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/internal/nodes/{name}/plan", get(plan))
        .route("/internal/nodes/{name}/status", post(status))
}

/// What a receiver of orders has.
#[derive(Debug, Deserialize)]
pub(super) struct After {
    /// Its generation; 0 before the first.
    #[serde(default)]
    after: u64,
}

impl After {
    pub(super) fn generation(&self) -> u64 {
        self.after
    }
}

async fn plan(
    State(state): State<AppState>,
    OwnNode(node): OwnNode,
    Query(after): Query<After>,
) -> Response {
    let behind = || state.wake.orders(&node);
    newer(&state, &state.cluster.plan(&node), &after, behind).await
}

async fn status(
    State(state): State<AppState>,
    OwnNode(node): OwnNode,
    body: Body,
) -> Answer<Json<StatusAnswer>> {
    let body = extract::read_body(body, STATUS_BYTES_MAX).await?;
    let mut status: NodeStatus = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid(format!("This is no status of a node: {error}.")))?;
    if status.node != node {
        return Err(Problem::forbidden("A node may only report for itself."));
    }
    status.pods.iter_mut().for_each(limit);
    if let Some(facts) = &mut status.facts {
        limit_facts(facts);
    }
    let mut usage = std::mem::take(&mut status.usage);
    state.cluster.keep_own(&node, &mut usage);
    state.metrics.usage(usage, tokio::time::Instant::now());
    if let Some(why) = &mut status.disk.pressure {
        cut(why, FACT_BYTES_MAX);
    }
    if volumes::hear(&state, &status).await? {
        state.wake.volumes();
    }
    let clock_before = state.cluster.clock_ahead(&node);
    let disk_before = state.cluster.disk_pressure(&node);
    if state.cluster.report(status, now()) {
        state.wake.reported();
    }
    nodes::watch_clock(&state, &node, clock_before).await?;
    nodes::watch_disk(&state, &node, disk_before).await?;
    let newest = state.cluster.plan(&node).newest();
    let generation = newest.map_or(0, |plan| plan.generation);
    Ok(Json(StatusAnswer { generation }))
}

/// Answers with a newer order as soon as there is one, or 204 after a while. Calls `behind` when
/// the receiver has newer ones already.
pub(super) async fn newer<T>(
    state: &AppState,
    published: &Published<T>,
    after: &After,
    behind: impl FnOnce(),
) -> Response
where
    T: Order + serde::Serialize,
{
    if published.note_seen(after.after) {
        behind();
    }
    let wait = Duration::from_secs(LONG_POLL_SECS);
    let newer = published.newer_than(after.after, wait);
    match state.closing.run_until_cancelled(newer).await.flatten() {
        Some(order) => Json(&*order).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Cuts what an agent of another version might send too much of: it is kept and shown.
fn limit(status: &mut PodStatus) {
    if let Some(exit) = &mut status.last_exit {
        let surplus = exit.last_lines.len().saturating_sub(EXIT_LINES_MAX);
        exit.last_lines.drain(..surplus);
        exit.last_lines
            .iter_mut()
            .for_each(|line| cut(line, LOG_LINE_BYTES_MAX));
    }
    if let Some(failure) = &mut status.check_failure {
        cut(&mut failure.why, CHECK_RESPONSE_BYTES_MAX);
        if let Some(response) = &mut failure.response {
            cut(response, CHECK_RESPONSE_BYTES_MAX);
        }
    }
}

/// The same for what it tells of its machine.
fn limit_facts(facts: &mut NodeFacts) {
    while facts.labels.len() > LABELS_MAX {
        facts.labels.pop_last();
    }
    facts.host_paths.truncate(HOST_PATHS_MAX);
    cut(&mut facts.kernel, FACT_BYTES_MAX);
    cut(&mut facts.version, FACT_BYTES_MAX);
}

fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_cut_never_splits_a_character() {
        let mut text = "aä".to_owned();
        cut(&mut text, 2);
        assert_eq!(text, "a");
    }
}
