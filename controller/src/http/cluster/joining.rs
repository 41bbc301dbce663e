//! Joining, and the next certificate.

use axum::{Extension, Json, Router, extract::State, http::StatusCode, routing::post};
use fairway_api::joining::{CertificateRequest, IssuedCertificate, JoinRequest, Joined};

use crate::{
    cluster_port::{OtherEnd, peer::Peer},
    http::{caller::OwnNode, extract},
    membership,
    problem::Answer,
    state::AppState,
};

/// For whoever has a join token.
pub(super) fn open_routes() -> Router<AppState> {
    Router::new().route("/join", post(join))
}

pub(super) fn member_routes() -> Router<AppState> {
    Router::new().route("/internal/nodes/{name}/certificate", post(renew))
}

async fn join(
    State(state): State<AppState>,
    Extension(end): Extension<OtherEnd>,
    extract::Json(request): extract::Json<JoinRequest>,
) -> Answer<(StatusCode, Json<Joined>)> {
    let joined = membership::join(&state, request, Some(end.address.ip())).await?;
    Ok((StatusCode::CREATED, Json(joined)))
}

async fn renew(
    State(state): State<AppState>,
    OwnNode(name): OwnNode,
    Extension(peer): Extension<Peer>,
    extract::Json(request): extract::Json<CertificateRequest>,
) -> Answer<Json<IssuedCertificate>> {
    Ok(Json(
        membership::renew(&state, peer.id, &name, &request).await?,
    ))
}
