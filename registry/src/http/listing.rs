//! Lists: repositories, tags, referrers.

use std::sync::Arc;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    document::Kind,
    error::Error,
    http::{Shared, answer, blocking, query},
    names::{Digest, Repository},
    store::listing::Page,
};

/// Confirms that the list is filtered.
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    n: Option<usize>,
    last: Option<String>,
    artifact_type: Option<String>,
}

impl Wanted {
    fn read(parts: &Parts) -> Result<(Page, Option<String>), Error> {
        let Self {
            n,
            last,
            artifact_type,
        } = query(parts)?;
        Ok((
            Page {
                entries: n,
                after: last,
            },
            artifact_type,
        ))
    }
}

pub(super) async fn catalog(shared: &Shared, parts: &Parts) -> Result<Response, Error> {
    let (page, _) = Wanted::read(parts)?;
    let (store, wanted) = (Arc::clone(&shared.store), page.clone());
    let listing = blocking(move || store.catalog(&wanted)).await?;
    let response = answer::json(&json!({ "repositories": listing.entries }));
    Ok(link_next(response, parts, &page, listing.next, None))
}

pub(super) async fn tags(
    shared: &Shared,
    parts: &Parts,
    name: Repository,
) -> Result<Response, Error> {
    let (page, _) = Wanted::read(parts)?;
    let (store, wanted, repository) = (Arc::clone(&shared.store), page.clone(), name.clone());
    let listing = blocking(move || store.tags(&repository, &wanted)).await?;
    let response = answer::json(&json!({ "name": name.as_str(), "tags": listing.entries }));
    Ok(link_next(response, parts, &page, listing.next, None))
}

pub(super) async fn referrers(
    shared: &Shared,
    parts: &Parts,
    name: Repository,
    subject: Digest,
) -> Result<Response, Error> {
    let (page, artifact_type) = Wanted::read(parts)?;
    let (store, wanted, filter) = (
        Arc::clone(&shared.store),
        page.clone(),
        artifact_type.clone(),
    );
    let listing =
        blocking(move || store.referrers(&name, &subject, filter.as_deref(), &wanted)).await?;
    let media_type = Kind::OciIndex.media_type();
    let index =
        json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": listing.entries });
    let mut response = answer::json_as(StatusCode::OK, media_type, &index);
    if artifact_type.is_some() {
        response
            .headers_mut()
            .insert(FILTERS, HeaderValue::from_static("artifactType"));
    }
    Ok(link_next(
        response,
        parts,
        &page,
        listing.next,
        artifact_type,
    ))
}

/// Says where the list goes on (RFC 8288).
fn link_next(
    mut response: Response,
    parts: &Parts,
    page: &Page,
    next: Option<String>,
    artifact_type: Option<String>,
) -> Response {
    let Some(last) = next else {
        return response;
    };
    let mut pairs = vec![("last", last)];
    pairs.extend(page.entries.map(|n| ("n", n.to_string())));
    pairs.extend(artifact_type.map(|text| ("artifactType", text)));
    let query: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", percent_encoded(value)))
        .collect();
    let link = format!("<{}?{}>; rel=\"next\"", parts.uri.path(), query.join("&"));
    if let Ok(value) = HeaderValue::try_from(link) {
        response.headers_mut().insert(header::LINK, value);
    }
    response
}

/// Escapes all but the characters that RFC 3986 calls unreserved.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
