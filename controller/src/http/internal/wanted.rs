//! What of all that fills disks is still wanted.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use fairway_api::{nodes::LONG_POLL_SECS, wanted::Wanted};
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    http::{caller::AnyRole, extract::Query},
    problem::Answer,
    state::AppState,
    wanted,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/internal/wanted", get(whole))
        .route("/internal/wanted/notice", get(notice))
}

async fn whole(State(state): State<AppState>, AnyRole(_): AnyRole) -> Answer<Json<Wanted>> {
    wanted::wanted(&state).await.map(Json)
}

/// The number that the caller knows.
#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    unlike: u64,
}

async fn notice(
    State(state): State<AppState>,
    AnyRole(_): AnyRole,
    Query(known): Query<Known>,
) -> Response {
    let wait = Duration::from_secs(LONG_POLL_SECS);
    let another = timeout(wait, state.destroyed.unlike(known.unlike));
    match state.closing.run_until_cancelled(another).await {
        Some(Ok(Some(notice))) => Json(notice).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}
