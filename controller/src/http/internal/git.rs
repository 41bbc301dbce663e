//! Who may fetch from and push to a repository.

use axum::{Json, Router, extract::State, routing::post};
use fairway_api::build_orders::{GitAuthorize, GitGrant};

use crate::{
    git,
    http::{caller::BuilderRole, extract},
    problem::Answer,
    state::AppState,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/internal/git/authorize", post(authorize))
}

async fn authorize(
    State(state): State<AppState>,
    BuilderRole(_): BuilderRole,
    extract::Json(ask): extract::Json<GitAuthorize>,
) -> Answer<Json<GitGrant>> {
    git::authorize(&state, ask).await.map(Json)
}
