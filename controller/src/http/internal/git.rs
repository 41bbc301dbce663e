//! Who may fetch from and push to a repository, and how large it is.

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use fairway_api::build_orders::{GitAuthorize, GitGrant, GiveUpApp, RepositorySize};

use crate::{
    git,
    http::{caller::BuilderRole, extract},
    problem::Answer,
    state::AppState,
    store::apps,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/internal/git/authorize", post(authorize))
        .route("/internal/git/give-up", post(give_up))
        .route("/internal/git/size", post(size))
}

async fn authorize(
    State(state): State<AppState>,
    BuilderRole(_): BuilderRole,
    extract::Json(ask): extract::Json<GitAuthorize>,
) -> Answer<Json<GitGrant>> {
    git::authorize(&state, ask).await.map(Json)
}

async fn give_up(
    State(state): State<AppState>,
    BuilderRole(_): BuilderRole,
    extract::Json(GiveUpApp { app }): extract::Json<GiveUpApp>,
) -> Answer<StatusCode> {
    git::give_up(&state, app).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn size(
    State(state): State<AppState>,
    BuilderRole(_): BuilderRole,
    extract::Json(size): extract::Json<RepositorySize>,
) -> Answer<StatusCode> {
    // The next push tells it again, should a power cut take it back.
    let mut tx = state.store.write_relaxed().await?;
    apps::set_repository_bytes(&mut tx, size.app, size.bytes).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
