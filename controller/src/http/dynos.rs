//! Pods as the Platform API has them: `dyno`.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use fairway_api::dynos::{Dyno, NewDyno};
use serde_json::{Value, json};

use super::{
    caller::AppAccess,
    extract::{self, DynoSegment},
    streams,
};
use crate::{pods, problem::Answer, state::AppState};

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/dynos", get(list).post(run).delete(restart_all))
        .route("/apps/{app}/dynos/{dyno}", get(info).delete(restart))
        .route("/apps/{app}/dynos/{dyno}/actions/stop", post(stop))
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<Dyno>>> {
    let mut tx = state.store.read().await?;
    Ok(Json(pods::list(&mut tx, &state.secrets, &app).await?))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    DynoSegment(which): DynoSegment,
) -> Answer<Json<Dyno>> {
    let mut tx = state.store.read().await?;
    Ok(Json(
        pods::find(&mut tx, &state.secrets, &app, &which).await?,
    ))
}

async fn run(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(new): extract::Json<NewDyno>,
) -> Answer<(StatusCode, Json<Dyno>)> {
    let mut tx = state.store.write().await?;
    let (mut dyno, attach) = pods::run(&mut tx, &state.secrets, &app, new, &caller).await?;
    tx.commit().await?;
    dyno.attach_url = attach
        .map(|id| streams::attach_url(&state, id))
        .transpose()?;
    state.wake.app(app.id);
    Ok((StatusCode::CREATED, Json(dyno)))
}

async fn restart_all(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
) -> Answer<(StatusCode, Json<Value>)> {
    let mut tx = state.store.write().await?;
    pods::restart(&mut tx, &app, None, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}

async fn restart(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    DynoSegment(which): DynoSegment,
) -> Answer<(StatusCode, Json<Value>)> {
    let mut tx = state.store.write().await?;
    pods::restart(&mut tx, &app, Some(&which), &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}

async fn stop(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    DynoSegment(which): DynoSegment,
) -> Answer<(StatusCode, Json<Value>)> {
    let mut tx = state.store.write().await?;
    pods::stop(&mut tx, &app, &which, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}
