//! Orders for nodes, by long poll, and what their agents saw.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
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

/// The type of what is written as JSON elsewhere.
pub(super) const JSON: &str = "application/json";

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/internal/nodes/{name}/plan", get(plan))
        .route("/internal/nodes/{name}/status", post(status))
}

/// What a receiver of orders has.
#[derive(Debug, Deserialize)]
struct After {
    /// Its generation; 0 before the first.
    #[serde(default)]
    after: u64,
}

async fn plan(
    State(state): State<AppState>,
    OwnNode(node): OwnNode,
    Query(After { after }): Query<After>,
) -> Response {
    let plans = state.cluster.plan(&node);
    if let Some(newest) = plans.newest().filter(|it| it.generation() == after) {
        newest.delivered();
    }
    loop {
        let newest = plans.newest().filter(|it| it.generation() > after);
        if let Some(newest) = newest.filter(|it| !it.is_at_hand()) {
            newest.want();
            state.wake.orders(&node);
        }
        let behind = || state.wake.orders(&node);
        let Some(order) = newer(&state, &plans, after, behind).await else {
            return StatusCode::NO_CONTENT.into_response();
        };
        // Another poll of the same machine may just have said that it has it.
        if let Some(body) = order.body() {
            return ([(header::CONTENT_TYPE, JSON)], body).into_response();
        }
    }
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
    let generation = newest.map_or(0, |plan| plan.generation());
    Ok(Json(StatusAnswer { generation }))
}

/// A newer order as soon as there is one, or `None` after a while. Calls `behind` when the receiver
/// has newer ones already.
pub(super) async fn newer<T: Order>(
    state: &AppState,
    published: &Published<T>,
    after: u64,
    behind: impl FnOnce(),
) -> Option<Arc<T>> {
    if published.note_seen(after) {
        behind();
    }
    let wait = Duration::from_secs(LONG_POLL_SECS);
    let newer = published.newer_than(after, wait);
    state.closing.run_until_cancelled(newer).await.flatten()
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
