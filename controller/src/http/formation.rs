//! Wanted counts and sizes.

use axum::{Json, Router, extract::State, routing::get};
use fairway_api::{
    formation::{Formation, FormationBatch, FormationPatch, FormationUpdate},
    names::ProcessType,
};

use super::{
    caller::AppAccess,
    extract::{self, TypeSegment},
};
use crate::{
    auth::Caller,
    formation,
    problem::{Answer, Problem},
    state::AppState,
    store::apps::AppRow,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/formation", get(list).patch(scale))
        .route("/apps/{app}/formation/{type}", get(info).patch(scale_one))
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<Formation>>> {
    Ok(Json(
        formation::list(&mut *state.store.read().await?, &app).await?,
    ))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    TypeSegment(which): TypeSegment,
) -> Answer<Json<Formation>> {
    let all = formation::list(&mut *state.store.read().await?, &app).await?;
    one(all, &which).map(Json)
}

async fn scale(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(batch): extract::Json<FormationBatch>,
) -> Answer<Json<Vec<Formation>>> {
    Ok(Json(scaled(&state, &app, &batch.updates, &caller).await?))
}

async fn scale_one(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    TypeSegment(which): TypeSegment,
    extract::Json(patch): extract::Json<FormationPatch>,
) -> Answer<Json<Formation>> {
    let process_type: ProcessType = which
        .parse()
        .map_err(|_| Problem::not_found("process type"))?;
    let update = FormationUpdate {
        process_type,
        quantity: patch.quantity,
        size: patch.size,
    };
    one(scaled(&state, &app, &[update], &caller).await?, &which).map(Json)
}

fn one(all: Vec<Formation>, which: &str) -> Answer<Formation> {
    let found = all
        .into_iter()
        .find(|row| row.process_type.as_str() == which || row.id.to_string() == which);
    found.ok_or_else(|| Problem::not_found("process type"))
}

async fn scaled(
    state: &AppState,
    app: &AppRow,
    updates: &[FormationUpdate],
    caller: &Caller,
) -> Answer<Vec<Formation>> {
    let mut tx = state.store.write().await?;
    let formation = formation::scale(&mut tx, app.id, updates, caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(formation)
}
