//! What handlers take from a request, with errors in the API's own form.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::request::Parts,
};
use bytes::Bytes;
use fairway_api::error::ErrorId;
use serde::de::DeserializeOwned;

use crate::problem::{Problem, sentence};

/// The most bytes of a JSON body: config vars of 64 KiB, escaped, leave room to spare.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a body may take to arrive; a client that stops in the middle must not keep a task.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body. An empty one counts as `{}`: the Platform API's clients leave it out where all
/// fields are optional. Its content type is not looked at.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let body = read_body(request.into_body(), BODY_BYTES_MAX).await?;
        parse_json(&body).map(Self)
    }
}

/// Reads a JSON body that has arrived.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| bad_json(&error))
}

/// Reads a whole body within its limits of size and time.
pub(crate) async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let slow = || Problem::new(ErrorId::BadRequest, "The body did not arrive in time.");
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, bytes_max));
    read.await.map_err(|_| slow())?.map_err(|error| {
        if std::error::Error::source(&error)
            .is_some_and(|e| e.is::<http_body_util::LengthLimitError>())
        {
            Problem::new(ErrorId::RequestTooLarge, "The request's body is too large.")
                .hint(format!("At most {bytes_max} bytes are accepted here."))
        } else {
            Problem::new(ErrorId::BadRequest, "The request's body broke off.")
        }
    })
}

fn bad_json(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    if !error.is_data() {
        return Problem::new(
            ErrorId::BadRequest,
            format!("The body is not JSON: {text}."),
        )
        .hint("Send a JSON object.");
    }
    // The place in the body says nothing to who typed a name; the rule does.
    let rule = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(rule, _)| rule);
    Problem::invalid(sentence(&rule))
}

/// A query string.
#[derive(Debug)]
pub(crate) struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| Problem::new(ErrorId::BadRequest, sentence(&error.body_text())))
    }
}

/// The text of one segment of the path.
pub(crate) async fn segment<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<String, Problem> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|error| Problem::new(ErrorId::BadRequest, sentence(&error.body_text())))?;
    let value = params
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned());
    value.ok_or_else(|| Problem::fault(anyhow::anyhow!("the route has no segment {name}")))
}

macro_rules! segments {
    ($($(#[$doc:meta])* $name:ident = $segment:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name(pub String);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                segment(parts, state, $segment).await.map(Self)
            }
        }
    )+};
}

segments! {
    /// `{id}`: a row's id, or what else names it there.
    Id = "id";
    /// `{action}`: what is to be done with what the path names.
    ActionSegment = "action";
    /// `{node}`: a machine's name.
    NodeSegment = "node";
    /// `{type}`: a process type.
    TypeSegment = "type";
    /// `{snapshot}`: a copy of a volume.
    SnapshotSegment = "snapshot";
    /// `{dyno}`: a pod by id or name, or a process type.
    DynoSegment = "dyno";
}

impl Id {
    /// The id; text that is none names nothing, which is a 404 and not a syntax error.
    pub(crate) fn parse<T: std::str::FromStr>(&self, what: &str) -> Result<T, Problem> {
        self.0.parse().map_err(|_| Problem::not_found(what))
    }
}
