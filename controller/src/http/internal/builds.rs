//! Builds as builders see them: queued, claimed, told about, ended.

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fairway_api::{
    build_orders::{BuildLease, BuildResult, ClaimBuild, NewBuild, QueuedBuild},
    ids::BuildId,
};
use serde::Deserialize;

use crate::{
    builds,
    http::{
        caller::BuilderRole,
        extract::{self, Id, Query, read_body},
        streams,
    },
    problem::{Answer, Problem},
    state::AppState,
    store,
};

/// The most bytes of output in one request.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/internal/builds", post(queue))
        .route("/internal/builds/claim", post(claim))
        .route("/internal/builds/{id}/heartbeat", post(heartbeat))
        .route("/internal/builds/{id}/output", get(follow).post(append))
        .route("/internal/builds/{id}/result", post(finish))
        .route("/internal/builds/{id}/verdict", get(verdict))
}

async fn queue(
    State(state): State<AppState>,
    BuilderRole(builder): BuilderRole,
    extract::Json(new): extract::Json<NewBuild>,
) -> Answer<(StatusCode, Json<QueuedBuild>)> {
    only_itself(&builder, &new.builder)?;
    Ok((StatusCode::CREATED, Json(builds::queue(&state, new).await?)))
}

async fn claim(
    State(state): State<AppState>,
    BuilderRole(builder): BuilderRole,
    extract::Json(claim): extract::Json<ClaimBuild>,
) -> Answer<Response> {
    only_itself(&builder, &claim.builder)?;
    Ok(match builds::claim(&state, &claim).await? {
        Some(order) => Json(order).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

fn only_itself(caller: &Name, named: &Name) -> Answer<()> {
    if caller == named {
        return Ok(());
    }
    Err(Problem::forbidden("A builder may only act for itself."))
}

type Name = fairway_api::names::BuilderName;

async fn heartbeat(
    State(state): State<AppState>,
    BuilderRole(builder): BuilderRole,
    id: Id,
) -> Answer<Json<BuildLease>> {
    Ok(Json(
        builds::touch(&state, &builder, id.parse("build")?).await?,
    ))
}

async fn append(
    State(state): State<AppState>,
    BuilderRole(builder): BuilderRole,
    id: Id,
    request: Request,
) -> Answer<Json<BuildLease>> {
    let id: BuildId = id.parse("build")?;
    let bytes = read_body(request.into_body(), OUTPUT_BYTES_MAX).await?;
    let lease = builds::touch(&state, &builder, id).await?;
    if !lease.cancelled {
        state
            .build_output
            .append(id, bytes)
            .await
            .map_err(Problem::fault)?;
    }
    Ok(Json(lease))
}

async fn finish(
    State(state): State<AppState>,
    BuilderRole(builder): BuilderRole,
    id: Id,
    extract::Json(result): extract::Json<BuildResult>,
) -> Answer<StatusCode> {
    builds::finish(&state, &builder, id.parse("build")?, result).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where to go on reading.
#[derive(Deserialize)]
struct Offset {
    #[serde(default)]
    offset: u64,
}

async fn follow(
    State(state): State<AppState>,
    BuilderRole(builder): BuilderRole,
    id: Id,
    Query(from): Query<Offset>,
) -> Answer<Response> {
    let id = own(&state, &builder, &id).await?;
    let output = streams::output_of(&state, id, from.offset).await?;
    Ok(streams::text(&state, output))
}

async fn verdict(
    State(state): State<AppState>,
    BuilderRole(builder): BuilderRole,
    id: Id,
) -> Answer<Response> {
    let id = own(&state, &builder, &id).await?;
    Ok(match builds::verdict(&state, id).await? {
        Some(verdict) => Json(verdict).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// The build, if it is this builder's.
async fn own(state: &AppState, builder: &Name, id: &Id) -> Answer<BuildId> {
    let id = id.parse("build")?;
    let build = store::builds::get(&mut *state.store.read().await?, id).await?;
    if build.builder == *builder {
        Ok(id)
    } else {
        Err(Problem::not_found("build"))
    }
}
