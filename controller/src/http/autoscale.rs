//! Autoscaling, and what it goes by.

use axum::{Json, Router, extract::State, routing::get};
use fairway_api::{
    autoscale::{Autoscale, Autoscaling},
    metrics::TypeMetrics,
    names::ProcessType,
};

use super::{
    caller::AppAccess,
    extract::{self, TypeSegment},
};
use crate::{
    autoscale, metrics,
    problem::{Answer, Problem},
    state::AppState,
    store::apps::AppRow,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/autoscale", get(list))
        .route(
            "/apps/{app}/autoscale/{type}",
            get(info).put(set).delete(remove),
        )
        .route("/apps/{app}/metrics", get(measured))
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<Autoscaling>>> {
    let mut tx = state.store.read().await?;
    let all = autoscale::list(&mut tx, &app, &state.autoscaling).await?;
    Ok(Json(all))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    TypeSegment(which): TypeSegment,
) -> Answer<Json<Autoscaling>> {
    one(&state, &app, &which).await.map(Json)
}

async fn set(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    TypeSegment(which): TypeSegment,
    extract::Json(policy): extract::Json<Autoscale>,
) -> Answer<Json<Autoscaling>> {
    let process_type = parse(&which)?;
    let mut tx = state.store.write().await?;
    autoscale::set(&mut tx, &app, &process_type, &policy, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    one(&state, &app, &which).await.map(Json)
}

async fn remove(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    TypeSegment(which): TypeSegment,
) -> Answer<Json<Autoscaling>> {
    let before = one(&state, &app, &which).await?;
    let mut tx = state.store.write().await?;
    autoscale::remove(&mut tx, &app, &before.process_type, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(before))
}

async fn measured(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<TypeMetrics>>> {
    let mut tx = state.store.read().await?;
    Ok(Json(metrics::shown(&mut tx, &app, &state.metrics).await?))
}

fn parse(which: &str) -> Answer<ProcessType> {
    which
        .parse()
        .map_err(|_| Problem::not_found("process type"))
}

async fn one(state: &AppState, app: &AppRow, which: &str) -> Answer<Autoscaling> {
    let mut tx = state.store.read().await?;
    let all = autoscale::list(&mut tx, app, &state.autoscaling).await?;
    let found = all
        .into_iter()
        .find(|row| row.process_type.as_str() == which);
    found.ok_or_else(|| {
        Problem::not_found(&format!("autoscaling ({which})")).hint(format!(
            "Set it: app autoscale:set {which} --min 1 --max 5 --cpu 70"
        ))
    })
}
