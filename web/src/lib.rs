//! The dashboard: askama pages over the public API, nothing else.
//!
//! It holds no state and knows no database. Whoever logs in trades email and password for an API
//! token; the token is the session cookie, so that revoking it ends the session. Every page fetches
//! what it shows from the API with that token and can do nothing that a script could not.

// A page is one file: fetch, template, handler.
mod pages;

// What all pages share.
mod assets;
mod error;
mod extract;
mod session;
mod show;
mod stream;

use axum::{
    Router,
    http::{HeaderValue, header},
    response::Redirect,
    routing::get,
};
use fairway_api::client::Client;
use tower::ServiceBuilder;
use tower_http::{csrf::CsrfLayer, set_header::SetResponseHeaderLayer};

/// The largest form that is read, in bytes: a config var's value is at most 64 KiB.
const FORM_BYTES_MAX: usize = 256 * 1024;

/// Scripts and styles come from us only, and nobody may frame the dashboard.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// What the dashboard needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The API, without a token: each request uses its session's.
    pub client: Client,
    /// True when people reach the dashboard over HTTPS: the cookie is then never sent without it.
    pub secure_cookie: bool,
}

/// The dashboard's routes: `/`, `/login`, `/logout`, `/dashboard/...`, `/assets/...`. Without a
/// fallback, so that it can be merged with others.
pub fn router(config: Config) -> Router {
    let header =
        |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    Router::new()
        .route("/", get(|| async { Redirect::to("/dashboard") }))
        .merge(assets::routes())
        .merge(pages::routes())
        .layer(
            ServiceBuilder::new()
                .layer(header(
                    header::CONTENT_SECURITY_POLICY,
                    CONTENT_SECURITY_POLICY,
                ))
                .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .layer(header(header::REFERRER_POLICY, "same-origin"))
                .layer(CsrfLayer::new())
                .layer(axum::extract::DefaultBodyLimit::max(FORM_BYTES_MAX)),
        )
        .with_state(config)
}

#[cfg(test)]
mod tests;
