//! The pod's end of an attached terminal or of a session.

use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    response::Response,
    routing::get,
};

use crate::{
    attach::{End, Terms},
    http::{caller::NodeRole, extract::Id, streams},
    problem::{Answer, Problem},
    sessions::{self, Claim},
    state::AppState,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/internal/attach/{id}", get(join))
}

async fn join(
    State(state): State<AppState>,
    NodeRole(node): NodeRole,
    id: Id,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let id = id.parse("terminal")?;
    let terms = match state.sessions.claim(id, &node) {
        Claim::Session => sessions::terms(&node),
        Claim::Unknown => Terms::one_off(),
        Claim::NotYours => {
            return Err(Problem::forbidden(
                "A node may only answer sessions of its own pods.",
            ));
        }
    };
    Ok(streams::join(&state, id, End::Pod, terms, upgrade))
}
