//! The pod's end of an attached terminal.

use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    response::Response,
    routing::get,
};

use crate::{
    attach::End,
    http::{caller::NodeRole, extract::Id, streams},
    problem::Answer,
    state::AppState,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/internal/attach/{id}", get(join))
}

async fn join(
    State(state): State<AppState>,
    NodeRole(_): NodeRole,
    id: Id,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    Ok(streams::join(
        &state,
        id.parse("terminal")?,
        End::Pod,
        upgrade,
    ))
}
