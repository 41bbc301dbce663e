//! Where pods may run.

use axum::{Json, Router, extract::State, routing::get};
use fairway_api::{
    names::ProcessType,
    placement::{Placement, TypePlacement},
};

use super::{
    caller::AppAccess,
    extract::{self, TypeSegment},
};
use crate::{
    placements,
    problem::{Answer, Problem},
    state::AppState,
    store::{Db, apps::AppRow},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/placement", get(list))
        .route(
            "/apps/{app}/placement/{type}",
            get(info).put(set).delete(unset),
        )
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<TypePlacement>>> {
    let mut tx = state.store.read().await?;
    Ok(Json(placements::list(&mut tx, &app).await?))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    TypeSegment(which): TypeSegment,
) -> Answer<Json<TypePlacement>> {
    let mut tx = state.store.read().await?;
    one(&mut tx, &app, &parse(&which)?).await.map(Json)
}

async fn set(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    TypeSegment(which): TypeSegment,
    extract::Json(placement): extract::Json<Placement>,
) -> Answer<Json<TypePlacement>> {
    let process_type = parse(&which)?;
    let mut tx = state.store.write().await?;
    placements::set(&mut tx, &app, &process_type, placement, &caller).await?;
    let shown = one(&mut tx, &app, &process_type).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(shown))
}

async fn unset(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    TypeSegment(which): TypeSegment,
) -> Answer<Json<TypePlacement>> {
    let process_type = parse(&which)?;
    let mut tx = state.store.write().await?;
    placements::unset(&mut tx, &app, &process_type, &caller).await?;
    let shown = one(&mut tx, &app, &process_type).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(shown))
}

fn parse(which: &str) -> Answer<ProcessType> {
    which
        .parse()
        .map_err(|_| Problem::not_found("process type"))
}

async fn one(db: &mut Db, app: &AppRow, process_type: &ProcessType) -> Answer<TypePlacement> {
    let mut all = placements::list(db, app).await?.into_iter();
    let found = all.find(|row| row.process_type == *process_type);
    found.ok_or_else(|| Problem::not_found(&format!("process type ({process_type})")))
}
