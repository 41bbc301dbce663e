//! Machines, for operators. Ours; the Platform API has nothing like it.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use fairway_api::machines::{NewNodeToken, Node, NodePatch, NodePod, NodeToken};
use serde::Deserialize;

use super::{
    caller::Admin,
    extract::{self, NodeSegment, Query},
};
use crate::{membership, nodes, pods, problem::Answer, state::AppState, store::nodes as rows};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/nodes", get(list))
        .route("/nodes/{node}", get(info).patch(update).delete(remove))
        .route("/nodes/{node}/pods", get(list_pods))
        .route("/node-tokens", post(create_token))
}

async fn list(State(state): State<AppState>, _: Admin) -> Answer<Json<Vec<Node>>> {
    Ok(Json(nodes::list(&state).await?))
}

async fn info(
    State(state): State<AppState>,
    _: Admin,
    NodeSegment(name): NodeSegment,
) -> Answer<Json<Node>> {
    Ok(Json(nodes::find(&state, &name).await?))
}

async fn list_pods(
    State(state): State<AppState>,
    _: Admin,
    NodeSegment(name): NodeSegment,
) -> Answer<Json<Vec<NodePod>>> {
    let mut tx = state.store.read().await?;
    let node = rows::find(&mut tx, &name).await?;
    Ok(Json(pods::of_node(&mut tx, &node.name).await?))
}

async fn update(
    State(state): State<AppState>,
    Admin(caller): Admin,
    NodeSegment(name): NodeSegment,
    extract::Json(patch): extract::Json<NodePatch>,
) -> Answer<Json<Node>> {
    nodes::update(&state, &caller, &name, patch).await?;
    Ok(Json(nodes::find(&state, &name).await?))
}

/// How to remove a machine.
#[derive(Debug, Deserialize)]
struct Removal {
    /// Although it lives and has pods.
    #[serde(default)]
    force: bool,
}

async fn remove(
    State(state): State<AppState>,
    Admin(caller): Admin,
    NodeSegment(name): NodeSegment,
    Query(removal): Query<Removal>,
) -> Answer<Json<Node>> {
    Ok(Json(
        nodes::remove(&state, &caller, &name, removal.force).await?,
    ))
}

async fn create_token(
    State(state): State<AppState>,
    Admin(caller): Admin,
    extract::Json(new): extract::Json<NewNodeToken>,
) -> Answer<(StatusCode, Json<NodeToken>)> {
    let token = membership::create_token(&state, &caller, new).await?;
    Ok((StatusCode::CREATED, Json(token)))
}
