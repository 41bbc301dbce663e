//! What can be switched on for an app.

use axum::{Json, Router, extract::State, routing::get};
use fairway_api::features::{Feature, FeaturePatch};

use super::{
    caller::AppAccess,
    extract::{self, Id},
};
use crate::{
    features,
    problem::{Answer, Problem},
    state::AppState,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/features", get(list))
        .route("/apps/{app}/features/{id}", get(info).patch(set))
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<Feature>>> {
    let mut tx = state.store.read().await?;
    Ok(Json(features::list(&mut tx, &app).await?))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Id(which): Id,
) -> Answer<Json<Feature>> {
    let mut tx = state.store.read().await?;
    let all = features::list(&mut tx, &app).await?.into_iter();
    let mut found = all.filter(|it| it.name == which || it.id.to_string() == which);
    found
        .next()
        .map(Json)
        .ok_or_else(|| Problem::not_found("feature"))
}

async fn set(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
    extract::Json(FeaturePatch { enabled }): extract::Json<FeaturePatch>,
) -> Answer<Json<Feature>> {
    let mut tx = state.store.write().await?;
    let set = features::set(&mut tx, &state.secrets, &app, &which, enabled, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(set))
}
