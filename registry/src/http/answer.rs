//! Answers: the headers that all have, and the shape of errors.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use tracing::{debug, error};

use crate::{error::Error, ranges};

/// Tells clients of the first hour that this is a registry; they still look for it.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Adds what every answer has.
pub(super) fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    // A blob may look like a page; no browser shall run it.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// An answer without content.
pub(super) fn empty<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
) -> Response {
    (status, headers).into_response()
}

/// An answer in JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    json_as(StatusCode::OK, "application/json", value)
}

/// An answer in JSON with a media type of its own.
pub(super) fn json_as(
    status: StatusCode,
    media_type: &'static str,
    value: &impl Serialize,
) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, media_type)], bytes).into_response(),
        // Only maps with keys that are no text cannot be written, and there are none.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The specification's body of an error.
#[derive(Serialize)]
struct Errors {
    errors: [Line; 1],
}

#[derive(Serialize)]
struct Line {
    code: &'static str,
    message: String,
}

/// Answers a failed request, and logs it if it is our failure.
pub(super) fn failed(error: &Error, parts: &Parts) -> Response {
    let Parts { method, uri, .. } = parts;
    let path = uri.path();
    if let Error::Io { source, .. } = error {
        error!(%method, path, "{error}: {source}");
    } else {
        debug!(%method, path, code = error.code(), "refused: {error}");
    }
    let body = Errors {
        errors: [Line {
            code: error.code(),
            message: error.to_string(),
        }],
    };
    let mut response = finish(json_as(error.status(), "application/json", &body));
    if *method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let header = match error {
        Error::Unauthorized => (
            header::WWW_AUTHENTICATE,
            r#"Basic realm="Fairway registry", charset="UTF-8""#.into(),
        ),
        Error::Method { allow } => (header::ALLOW, (*allow).into()),
        Error::ChunkOutOfOrder { length, .. } | Error::ChunkMalformed { length, .. } => {
            (header::RANGE, ranges::received(*length))
        }
        Error::RangeUnsatisfiable { length } => {
            (header::CONTENT_RANGE, format!("bytes */{length}"))
        }
        // What keeps an upload busy is usually a broken connection that was not yet noticed.
        Error::UploadBusy | Error::UploadsTooMany { .. } => (header::RETRY_AFTER, "1".to_owned()),
        _ => return response,
    };
    if let Ok(value) = HeaderValue::try_from(header.1) {
        response.headers_mut().insert(header.0, value);
    }
    response
}
