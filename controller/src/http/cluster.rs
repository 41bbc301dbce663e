//! The API on the cluster port: what machines may ask for, each for itself. Only joining is open to
//! those without a certificate.

mod joining;
mod tunnel;

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::HeaderMap,
    middleware::{self, Next},
    response::Response,
};
use fairway_api::{
    error::ErrorId,
    nodes::{PROTOCOL, PROTOCOL_HEADER, PROTOCOL_OLDEST},
};

use super::internal;
use crate::{
    cluster_port::OtherEnd,
    config::Role,
    problem::{Answer, Problem},
    state::AppState,
    store::columns::now,
};

/// All paths of the cluster port, without a fallback.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    let members = Router::new()
        .merge(internal::routes())
        .merge(joining::member_routes())
        .merge(tunnel::routes())
        .route_layer(middleware::from_fn_with_state(
            state.clone(),
            require_member,
        ));
    Router::new()
        .merge(members)
        .merge(joining::open_routes())
        .route_layer(middleware::from_fn(require_protocol))
}

/// Refuses agents of a version that would misunderstand, or be misunderstood.
async fn require_protocol(headers: HeaderMap, request: Request, next: Next) -> Answer<Response> {
    let Some(theirs) = headers.get(PROTOCOL_HEADER) else {
        return Ok(next.run(request).await);
    };
    let theirs = theirs
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    match theirs {
        Some(PROTOCOL_OLDEST..=PROTOCOL) => Ok(next.run(request).await),
        Some(PROTOCOL..) => Err(Problem::new(
            ErrorId::UpgradeRequired,
            "This machine's Fairway is newer than the controller's.",
        )
        .hint("Bring the controller to the same version first.")),
        _ => Err(Problem::new(
            ErrorId::UpgradeRequired,
            "This machine's Fairway is too old for the controller.",
        )
        .hint("Install the controller's version on this machine.")),
    }
}

/// Closes the port to everybody but the machines of the cluster.
async fn require_member(
    State(state): State<AppState>,
    Extension(end): Extension<OtherEnd>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let Some(peer) = end.peer else {
        return Err(Problem::new(
            ErrorId::Unauthorized,
            "A certificate of this cluster is needed here.",
        )
        .hint("Let the machine join: fairway node token"));
    };
    if peer.cluster != state.authority.cluster() || peer.until <= now() {
        return Err(Problem::new(
            ErrorId::Unauthorized,
            "The certificate does not count any more.",
        )
        .hint("Let the machine join again: fairway node join --rejoin"));
    }
    if !state.members.has(peer.id, &peer.name) {
        return Err(Problem::new(
            ErrorId::Removed,
            format!("{} was removed from the cluster.", peer.name),
        )
        .hint("To bring the machine back, let it join with a new token: fairway node token"));
    }
    request
        .extensions_mut()
        .insert(Role::Node(peer.name.clone()));
    request.extensions_mut().insert(peer);
    Ok(next.run(request).await)
}
