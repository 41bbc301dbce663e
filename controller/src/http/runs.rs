//! Jobs and runs.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use fairway_api::jobs::{Job, JobPatch, NewRun, Run};

use super::{
    caller::AppAccess,
    extract::{self, Id},
    range::{Column, Order, Range},
};
use crate::{problem::Answer, runs, state::AppState};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/jobs", get(jobs))
        .route("/apps/{app}/jobs/{id}", get(job).patch(change_job))
        .route("/apps/{app}/jobs/{id}/runs", post(start_job))
        .route("/apps/{app}/runs", get(list).post(start))
        .route("/apps/{app}/runs/{id}", get(info))
        .route("/apps/{app}/runs/{id}/actions/stop", post(stop))
}

const ORDER: Order = Order {
    columns: &[Column::text("id", "id")],
    descending: true,
    rows: 200,
};

async fn jobs(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<Job>>> {
    let mut tx = state.store.read().await?;
    Ok(Json(runs::jobs(&mut tx, &state.secrets, &app).await?))
}

async fn job(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Id(which): Id,
) -> Answer<Json<Job>> {
    let mut tx = state.store.read().await?;
    Ok(Json(
        runs::job(&mut tx, &state.secrets, &app, &which).await?,
    ))
}

async fn change_job(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
    extract::Json(patch): extract::Json<JobPatch>,
) -> Answer<Json<Job>> {
    let mut tx = state.store.write().await?;
    let secrets = &state.secrets;
    let job = runs::change_job(&mut tx, secrets, &app, &which, &patch, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(job))
}

async fn start_job(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
) -> Answer<(StatusCode, Json<Run>)> {
    let mut tx = state.store.write().await?;
    let run = runs::start_job(&mut tx, &state.secrets, &app, &which, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::CREATED, Json(run)))
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    range: Range,
) -> Answer<Response> {
    let wanted = range.of(&ORDER)?;
    let mut tx = state.store.read().await?;
    let runs = runs::list(&mut tx, &state.secrets, &app, wanted.page()).await?;
    Ok(wanted.answer(runs, |run: &Run, _| run.id.to_string()))
}

async fn start(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(new): extract::Json<NewRun>,
) -> Answer<(StatusCode, Json<Run>)> {
    let mut tx = state.store.write().await?;
    let run = runs::start(&mut tx, &state.secrets, &app, new, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::CREATED, Json(run)))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Id(which): Id,
) -> Answer<Json<Run>> {
    let mut tx = state.store.read().await?;
    Ok(Json(
        runs::find(&mut tx, &state.secrets, &app, &which).await?,
    ))
}

async fn stop(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
) -> Answer<(StatusCode, Json<Run>)> {
    let mut tx = state.store.write().await?;
    let run = runs::stop(&mut tx, &state.secrets, &app, &which, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::ACCEPTED, Json(run)))
}
