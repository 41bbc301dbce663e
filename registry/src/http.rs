//! The protocol: reads requests, calls the store, answers. No file is touched here, and no rule
//! about content is made here.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Query, Request, State},
    http::{HeaderName, Method, header, request::Parts},
    response::Response,
};
use serde::de::DeserializeOwned;

use crate::{
    config::Config,
    error::Error,
    http::auth::Access,
    names::{Digest, Repository},
    route::Route,
    store::{Store, uploads::Uploads},
};

mod answer;
mod auth;
mod blobs;
mod content;
mod listing;
mod manifests;
mod uploads;

/// The digest of what an answer is about.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Shared {
    store: Arc<Store>,
    uploads: Arc<Uploads>,
    access: Option<Access>,
    limits: uploads::Limits,
}

impl Shared {
    pub(crate) fn new(store: Arc<Store>, uploads: Arc<Uploads>, config: &Config) -> Self {
        Self {
            store,
            uploads,
            access: config.access.as_ref().map(Access::new),
            limits: uploads::Limits {
                upload_bytes_max: config.upload_bytes_max,
                disk_reserve_bytes: config.disk_reserve_bytes,
            },
        }
    }
}

/// A router that answers every path.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    match dispatch(&shared, &parts, &mut body).await {
        Ok(response) => answer::finish(response),
        Err(error) => {
            content::linger(&parts, body);
            answer::failed(&error, &parts)
        }
    }
}

async fn dispatch(shared: &Arc<Shared>, parts: &Parts, body: &mut Body) -> Result<Response, Error> {
    if let Some(access) = &shared.access {
        access.check(&parts.headers)?;
    }
    let route = Route::parse(parts.uri.path())?;
    let allow = route.methods();
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    match (route, &parts.method) {
        (Route::Base, _) if reads => Ok(answer::json(&serde_json::json!({}))),
        (Route::Catalog, _) if reads => listing::catalog(shared, parts).await,
        (Route::Tags(name), _) if reads => listing::tags(shared, parts, name).await,
        (Route::Referrers(name, digest), _) if reads => {
            listing::referrers(shared, parts, name, digest).await
        }
        (Route::Manifest(name, reference), _) if reads => {
            manifests::get(shared, name, reference).await
        }
        (Route::Manifest(name, reference), &Method::PUT) => {
            manifests::put(shared, parts, body, name, reference).await
        }
        (Route::Manifest(name, reference), &Method::DELETE) => {
            manifests::delete(shared, name, reference).await
        }
        (Route::Blob(name, digest), _) if reads => blobs::get(shared, parts, name, digest).await,
        (Route::Blob(name, digest), &Method::DELETE) => blobs::delete(shared, name, digest).await,
        (Route::Uploads(name), &Method::POST) => uploads::start(shared, parts, body, name).await,
        (Route::Upload(name, id), _) if reads => uploads::status(shared, name, id).await,
        (Route::Upload(name, id), &Method::PATCH) => {
            uploads::patch(shared, parts, body, name, id).await
        }
        (Route::Upload(name, id), &Method::PUT) => {
            uploads::put(shared, parts, body, name, id).await
        }
        (Route::Upload(name, id), &Method::DELETE) => uploads::cancel(shared, name, id).await,
        _ => Err(Error::Method { allow }),
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(Error::Io {
                action: "finish its work",
                source: std::io::Error::other(error),
            })
        })
}

/// Reads the query string.
fn query<T: DeserializeOwned>(parts: &Parts) -> Result<T, Error> {
    Query::try_from_uri(&parts.uri)
        .map(|Query(query)| query)
        .map_err(|error| Error::Query {
            reason: error.body_text(),
        })
}

fn parse_digest(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|source| Error::DigestInvalid {
        text: text.into(),
        source,
    })
}

/// The address of a blob, relative to the registry, so that proxies need not rewrite it.
fn blob_path(name: &Repository, digest: &Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}

/// The length of a body, if it was announced.
fn content_length(parts: &Parts) -> Option<u64> {
    parts
        .headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
