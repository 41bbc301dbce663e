//! Log lines of pods and routers.

use std::collections::HashMap;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use fairway_api::{
    ids::AppId,
    logs::{LOG_BATCH_LINES_MAX, LOG_LINE_BYTES_MAX, LogLine},
};

use crate::{
    http::{
        caller::AnyRole,
        extract::{self, read_body},
    },
    problem::{Answer, Problem},
    state::AppState,
    store::{StoreError, apps},
};

/// The most bytes of a batch: each line at its longest, escaped.
const BATCH_BYTES_MAX: usize = LOG_BATCH_LINES_MAX * LOG_LINE_BYTES_MAX * 2;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/internal/logs", post(append))
}

async fn append(
    State(state): State<AppState>,
    AnyRole(_): AnyRole,
    request: axum::extract::Request,
) -> Answer<StatusCode> {
    let body = read_body(request.into_body(), BATCH_BYTES_MAX).await?;
    let mut lines: Vec<LogLine> = extract::parse_json(&body)?;
    if lines.len() > LOG_BATCH_LINES_MAX {
        return Err(Problem::invalid(format!(
            "A batch has at most {LOG_BATCH_LINES_MAX} lines."
        )));
    }
    let known = known_apps(&state, &lines).await?;
    lines.retain(|line| known[&line.app]);
    state.logs.append(lines).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Which of the lines' apps exist: the last words of a destroyed app must not make it a log again.
async fn known_apps(state: &AppState, lines: &[LogLine]) -> Answer<HashMap<AppId, bool>> {
    let mut known = HashMap::new();
    let mut tx = state.store.read().await?;
    for line in lines {
        if !known.contains_key(&line.app) {
            let exists = match apps::get(&mut tx, line.app).await {
                Ok(_) => true,
                Err(StoreError::NotFound { .. }) => false,
                Err(error) => return Err(error.into()),
            };
            known.insert(line.app, exists);
        }
    }
    Ok(known)
}
