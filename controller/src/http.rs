//! The API over HTTP: one file per noun. A handler takes apart a request, says by its extractors
//! whom it serves, calls one function and answers; rules live outside of here.
//!
//! Three routers, closed by default: the public API needs an account's token, the internal one a
//! role's, and [`open`] holds the few paths that check by themselves who comes.

mod caller;
mod extract;
mod range;

// The public API.
mod accounts;
mod apps;
mod autoscale;
mod builds;
mod config_vars;
mod constants;
mod deployments;
mod domains;
mod dynos;
mod events;
mod features;
mod formation;
mod keys;
mod logs;
mod network;
mod nodes;
mod placements;
mod rebalance;
mod releases;
mod runs;
mod sessions;
mod sizes;
mod tokens;
mod volumes;

// Without a token of the caller's.
mod streams;

// Between the parts of the platform.
mod cluster;
mod internal;

use std::any::Any;

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use fairway_api::error::ErrorId;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use uuid::Uuid;

use crate::{problem::Problem, state::AppState};

/// The header that names a request, in answers and in the log.
const REQUEST_ID: &str = "request-id";

/// All of the controller's paths, without a fallback.
pub(crate) fn router(state: AppState) -> Router {
    let public = public().route_layer(middleware::from_fn_with_state(
        state.clone(),
        caller::require_account,
    ));
    let internal = internal::routes().route_layer(middleware::from_fn_with_state(
        state.clone(),
        caller::require_role,
    ));
    Router::new()
        .merge(public)
        .merge(internal)
        .merge(open())
        .method_not_allowed_fallback(not_found)
        .route_layer(CatchPanicLayer::custom(panicked))
        .route_layer(middleware::from_fn(name_request))
        .with_state(state)
}

/// All of the cluster port's paths.
pub(crate) fn cluster_router(state: AppState) -> Router {
    cluster::routes(&state)
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(name_request))
        .with_state(state)
}

fn public() -> Router<AppState> {
    Router::new()
        .merge(accounts::routes())
        .merge(apps::routes())
        .merge(autoscale::routes())
        .merge(builds::routes())
        .merge(config_vars::routes())
        .merge(constants::routes())
        .merge(deployments::routes())
        .merge(domains::routes())
        .merge(dynos::routes())
        .merge(events::routes())
        .merge(features::routes())
        .merge(formation::routes())
        .merge(keys::routes())
        .merge(logs::routes())
        .merge(network::routes())
        .merge(nodes::routes())
        .merge(placements::routes())
        .merge(rebalance::routes())
        .merge(releases::routes())
        .merge(runs::routes())
        .merge(sessions::routes())
        .merge(sizes::routes())
        .merge(tokens::routes())
        .merge(volumes::routes())
}

/// Paths that carry their own proof: a password, or a signature in the URL.
fn open() -> Router<AppState> {
    Router::new()
        .merge(tokens::open_routes())
        .merge(sessions::open_routes())
        .merge(streams::routes())
}

/// The answer to a path or method that the API does not have; the process installs it as the
/// fallback of everything on the API's port.
pub async fn not_found(method: Method, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        ErrorId::NotFound,
        format!("The API has no {method} {path}."),
    )
    .into_response()
}

/// Gives each request an id that stands in its answer and in whatever is logged on its way.
async fn name_request(request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let span = tracing::info_span!("request", %id, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A bug must not cost more than the request that met it.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default();
    Problem::fault(anyhow::anyhow!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests;
