//! Log lines of pods and routers.

use std::collections::HashSet;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use fairway_api::{
    ids::AppId,
    logs::{LOG_BATCH_LINES_MAX, LOG_LINE_BYTES_MAX, LogLine, ROUTER_PROCESS},
    names::NodeName,
};
use tokio::time::Instant;

use crate::{
    cluster_port::peer::Peer,
    config::Role,
    http::{
        caller::AnyRole,
        extract::{self, read_body},
    },
    problem::{Answer, Problem},
    state::AppState,
    store::{self, StoreError},
};

/// The most bytes of a batch: each line at its longest, escaped.
const BATCH_BYTES_MAX: usize = LOG_BATCH_LINES_MAX * LOG_LINE_BYTES_MAX * 2;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/internal/logs", post(append))
}

async fn append(
    State(state): State<AppState>,
    AnyRole(role): AnyRole,
    request: axum::extract::Request,
) -> Answer<StatusCode> {
    let peer = request.extensions().get::<Peer>();
    let routes = peer.is_some_and(|peer| state.members.may_route(peer.id));
    let body = read_body(request.into_body(), BATCH_BYTES_MAX).await?;
    let mut lines: Vec<LogLine> = extract::parse_json(&body)?;
    if lines.len() > LOG_BATCH_LINES_MAX {
        return Err(Problem::invalid(format!(
            "A batch has at most {LOG_BATCH_LINES_MAX} lines."
        )));
    }
    let known = existing(&state, lines.iter().map(|line| line.app).collect()).await?;
    lines.retain(|line| known.contains(&line.app));
    if let Role::Node(node) = &role {
        // A router on the machine tells of the requests to all apps.
        let of_router = |line: &mut LogLine| routes && line.process == ROUTER_PROCESS;
        let of_requests: Vec<LogLine> = lines.extract_if(.., of_router).collect();
        if !lines.is_empty() {
            keep_own(&state, node, &mut lines).await?;
        }
        lines.extend(of_requests);
    }
    state.logs.append(lines).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps the lines of apps that have pods on the machine, which is all that it may hand in.
async fn keep_own(state: &AppState, node: &NodeName, lines: &mut Vec<LogLine>) -> Answer<()> {
    let there = store::pods::apps_on(&mut *state.store.read().await?, node).await?;
    let allowed = state.log_senders.allowed(node, there, Instant::now());
    let before = lines.len();
    lines.retain(|line| allowed.contains(&line.app));
    let foreign = before - lines.len();
    if foreign == 0 {
        return Ok(());
    }
    tracing::warn!(%node, foreign, "a machine handed in log lines of apps that have no pods there");
    if lines.is_empty() {
        return Err(Problem::forbidden(
            "A node may only hand in lines of apps that have pods on it.",
        ));
    }
    Ok(())
}

/// Those of the apps that exist: the last words of a destroyed one must not make it a log again.
async fn existing(state: &AppState, mut apps: HashSet<AppId>) -> Answer<HashSet<AppId>> {
    let mut tx = state.store.read().await?;
    for app in apps.clone() {
        match store::apps::get(&mut tx, app).await {
            Ok(_) => {}
            Err(StoreError::NotFound { .. }) => {
                apps.remove(&app);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(apps)
}
