//! Sessions that wait for an agent, by long poll.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use fairway_api::nodes::LONG_POLL_SECS;
use tokio::time::timeout;

use crate::{http::caller::OwnNode, state::AppState};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/internal/nodes/{name}/sessions", get(wait))
}

async fn wait(State(state): State<AppState>, OwnNode(node): OwnNode) -> Response {
    let orders = timeout(
        Duration::from_secs(LONG_POLL_SECS),
        state.sessions.orders(&node),
    );
    match state.closing.run_until_cancelled(orders).await {
        Some(Ok(orders)) => Json(orders).into_response(),
        Some(Err(_)) | None => StatusCode::NO_CONTENT.into_response(),
    }
}
