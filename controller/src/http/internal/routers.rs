//! The route table for routers, by long poll, and their acknowledgements.

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fairway_api::routes::{RouterStatus, WakeNotice};
use serde::Deserialize;

use super::nodes::{JSON, newer};
use crate::{
    autoscale,
    http::{
        caller::OwnRouter,
        extract::{self, Query},
    },
    problem::{Answer, Problem},
    state::AppState,
};

/// The most bytes of a router's status: a count for each of a hundred thousand draining pods.
const STATUS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/internal/routers/{name}/table", get(table))
        .route("/internal/routers/{name}/status", post(status))
        .route("/internal/routers/{name}/wake", post(wake))
}

/// What a router has, and whether it can do with what has changed since.
#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    changes: bool,
}

async fn table(
    State(state): State<AppState>,
    OwnRouter(router): OwnRouter,
    Query(Wanted { after, changes }): Query<Wanted>,
) -> Answer<Response> {
    if state.routers.meet(&router, after) {
        state.wake.reported();
    }
    let table = &state.routers.table;
    let behind = || state.wake.reported();
    if newer(&state, &table.published, after, behind)
        .await
        .is_none()
    {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let body = table.answer(after, changes).map_err(Problem::fault)?;
    Ok(([(header::CONTENT_TYPE, JSON)], body).into_response())
}

async fn status(
    State(state): State<AppState>,
    OwnRouter(router): OwnRouter,
    body: Body,
) -> Answer<Json<serde_json::Value>> {
    let body = extract::read_body(body, STATUS_BYTES_MAX).await?;
    let mut status: RouterStatus = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid(format!("This is no status of a router: {error}.")))?;
    if status.router != router {
        return Err(Problem::forbidden("A router may only report for itself."));
    }
    let traffic = std::mem::take(&mut status.traffic);
    let now = tokio::time::Instant::now();
    state.metrics.traffic(router.clone(), traffic, now);
    let is_news = (state.routers.reports).note(router, status, |before, status| before != status);
    if is_news {
        state.wake.reported();
    }
    Ok(Json(serde_json::json!({})))
}

async fn wake(
    State(state): State<AppState>,
    OwnRouter(_): OwnRouter,
    extract::Json(notice): extract::Json<WakeNotice>,
) -> Answer<Json<serde_json::Value>> {
    autoscale::wake(&state, notice.apps).await?;
    Ok(Json(serde_json::json!({})))
}
