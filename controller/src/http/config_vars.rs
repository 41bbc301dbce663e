//! Config vars.

use axum::{Json, Router, extract::State, routing::get};
use fairway_api::config_vars::{ConfigPatch, ConfigVars};

use super::{
    caller::AppAccess,
    extract::{self, Id},
};
use crate::{
    config_vars,
    problem::{Answer, Problem},
    releases,
    state::AppState,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/config-vars", get(list).patch(update))
        .route("/apps/{app}/releases/{id}/config-vars", get(of_release))
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<ConfigVars>> {
    let mut tx = state.store.read().await?;
    Ok(Json(
        config_vars::load(&state.secrets, &mut tx, app.id, app.config_version).await?,
    ))
}

async fn of_release(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Id(which): Id,
) -> Answer<Json<ConfigVars>> {
    let mut tx = state.store.read().await?;
    let release = releases::find(&mut tx, &app, &which).await?;
    let version = release.config_version;
    Ok(Json(
        config_vars::load(&state.secrets, &mut tx, app.id, version).await?,
    ))
}

async fn update(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(patch): extract::Json<ConfigPatch>,
) -> Answer<Json<ConfigVars>> {
    let mut tx = state.store.write().await?;
    let vars = config_vars::update(&state.secrets, &mut tx, app.id, patch, &caller.user()).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok::<_, Problem>(Json(vars))
}
