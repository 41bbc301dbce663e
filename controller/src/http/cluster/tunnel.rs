//! The built-in registry for machines that cannot reach its port: a connection that is upgraded to
//! a plain stream of bytes to the registry and back.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use fairway_api::{
    error::ErrorId,
    joining::{TUNNEL_PATH, TUNNEL_PROTOCOL},
};
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, net::TcpStream};

use crate::{
    problem::{Answer, Problem},
    state::AppState,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route(TUNNEL_PATH, get(open))
}

async fn open(State(state): State<AppState>, mut request: Request) -> Answer<Response> {
    let asked = request.headers().get(header::UPGRADE);
    if asked.is_none_or(|asked| asked != TUNNEL_PROTOCOL) {
        return Err(Problem::new(
            ErrorId::BadRequest,
            format!("Ask for an upgrade to {TUNNEL_PROTOCOL}."),
        ));
    }
    // An outside registry is reached by every machine itself.
    let Some(registry) = state.config.registry.loopback() else {
        return Err(Problem::not_found("built-in registry"));
    };
    let mut inside = TcpStream::connect(registry).await.map_err(|error| {
        tracing::error!(%registry, "cannot reach the built-in registry: {error}");
        Problem::new(ErrorId::Unavailable, "The registry does not answer.")
    })?;
    let upgrade = hyper::upgrade::on(&mut request);
    let closing = state.closing.clone();
    tokio::spawn(async move {
        let Ok(outside) = upgrade.await else { return };
        let mut outside = TokioIo::new(outside);
        let copied = copy_bidirectional(&mut outside, &mut inside);
        if let Some(Err(error)) = closing.run_until_cancelled(copied).await {
            tracing::debug!("a tunnel to the registry broke: {error}");
        }
    });
    let upgrade = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static(TUNNEL_PROTOCOL)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response())
}
