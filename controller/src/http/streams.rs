//! Streams behind URLs that carry their own proof: logs, build output, terminals.
//!
//! Such a URL goes to things that have no token: `curl`, a browser's page, the heroku CLI's log
//! reader. Its `sig` is sealed with the master key for that path and nothing else, says what may
//! be read, and ends.

use std::io;

use axum::{
    Router,
    body::Body,
    extract::{State, WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    error::ErrorId,
    ids::{AppId, AttachId, BuildId, LogSessionId},
    logs::LogLine,
};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::broadcast::error::RecvError;

use super::extract::{Id, Query};
use crate::{
    attach::{End, MESSAGE_BYTES_MAX, Terms},
    logs::app_logs::{Followed, LogFilter},
    problem::{Answer, Problem},
    state::AppState,
    store::{builds, columns::now},
};

/// How long a log stream's URL can be opened.
const LOGS_VALID: TimeDelta = TimeDelta::minutes(5);
/// How long a build output's URL can be opened: it stands in every answer that shows a build.
const OUTPUT_VALID: TimeDelta = TimeDelta::hours(1);
/// How long a terminal's URL can be dialled.
const ATTACH_VALID: TimeDelta = TimeDelta::minutes(5);

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/streams/logs/{id}", get(logs))
        .route("/streams/builds/{id}", get(build_output))
        .route("/streams/attach/{id}", get(attach))
}

/// What a log stream shows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LogClaim {
    pub app: AppId,
    pub filter: LogFilter,
    pub lines: usize,
    pub tail: bool,
}

/// A claim with its end.
#[derive(Serialize, Deserialize)]
struct Signed<T> {
    until: DateTime<Utc>,
    claim: T,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

/// A URL for a log stream.
pub(super) fn logs_url(state: &AppState, id: LogSessionId, claim: &LogClaim) -> Answer<String> {
    signed(state, &format!("/streams/logs/{id}"), claim, LOGS_VALID)
}

/// A URL for a build's output.
pub(super) fn output_url(state: &AppState, id: BuildId) -> Answer<String> {
    signed(state, &format!("/streams/builds/{id}"), &(), OUTPUT_VALID)
}

/// A WebSocket URL for the user's end of a terminal.
pub(super) fn attach_url(state: &AppState, id: AttachId) -> Answer<String> {
    let url = signed(state, &format!("/streams/attach/{id}"), &(), ATTACH_VALID)?;
    Ok(url.replacen("http", "ws", 1))
}

pub(super) fn signed<T: Serialize>(
    state: &AppState,
    path: &str,
    claim: &T,
    valid: TimeDelta,
) -> Answer<String> {
    let signed = Signed {
        until: now() + valid,
        claim,
    };
    let text = serde_json::to_vec(&signed).map_err(Problem::fault)?;
    let base = state.config.public_url.as_str().trim_end_matches('/');
    Ok(format!(
        "{base}{path}?sig={}",
        state.secrets.seal(&text, path)
    ))
}

/// Opens a signature made for exactly this path.
pub(super) fn verify<T: DeserializeOwned>(state: &AppState, path: &str, sig: &str) -> Answer<T> {
    let wrong = || {
        Problem::forbidden("This URL is not valid, or not any more.")
            .hint("Ask for a fresh one; such URLs end a few minutes after they were made.")
    };
    let text = state.secrets.open_sealed(sig, path).map_err(|_| wrong())?;
    let signed: Signed<T> = serde_json::from_slice(&text).map_err(|_| wrong())?;
    if signed.until > now() {
        Ok(signed.claim)
    } else {
        Err(wrong())
    }
}

async fn logs(
    State(state): State<AppState>,
    id: Id,
    Query(signature): Query<Signature>,
    headers: HeaderMap,
) -> Answer<Response> {
    let path = format!("/streams/logs/{}", id.0);
    let mut claim: LogClaim = verify(&state, &path, &signature.sig)?;
    let form = Form::of(&headers);
    if headers.contains_key(LAST_EVENT_ID) {
        // It was here before and comes back after a break.
        claim.lines = 0;
    }
    let followed = state
        .logs
        .follow(claim.app, claim.filter.clone(), claim.lines);
    let followed = followed.await.map_err(Problem::fault)?.ok_or_else(|| {
        Problem::new(ErrorId::RateLimit, "Too many follow the log of this app.")
            .hint("Close some of the log sessions.")
    })?;
    Ok(streamed(
        &state,
        form.content_type(),
        log_lines(followed, claim, form),
    ))
}

/// The header by which a reader of events says that it comes back.
pub(super) const LAST_EVENT_ID: &str = "last-event-id";

/// How lines are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// As they are: for `curl` and `app`.
    Text,
    /// As server-sent events: the heroku CLI asks for these.
    Events,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
        match accept {
            Some(kinds) if kinds.starts_with(b"text/event-stream") => Self::Events,
            _ => Self::Text,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => PLAIN_TEXT,
            Self::Events => "text/event-stream",
        }
    }

    /// One line, which has no line end.
    fn frame(self, line: &str) -> String {
        match self {
            Self::Text => format!("{line}\n"),
            // Without an id a reader that comes back would not say so, and get the past again.
            Self::Events => format!("id: 1\ndata: {line}\n\n"),
        }
    }
}

/// The past in one piece, then, for a tail, each line as it comes.
fn log_lines(
    followed: Followed,
    claim: LogClaim,
    form: Form,
) -> impl Stream<Item = io::Result<Bytes>> {
    let rendered = move |line: &LogLine| form.frame(&line.render());
    let past: String = followed.past.iter().map(rendered).collect();
    let past = stream::iter((!past.is_empty()).then(|| Ok(Bytes::from(past))));
    let live = claim.tail.then_some(followed.live);
    let live = stream::unfold((live, claim.filter), move |(live, filter)| async move {
        let mut live = live?;
        loop {
            match live.recv().await {
                Ok(line) if filter.shows(&line) => {
                    return Some((Ok(Bytes::from(rendered(&line))), (Some(live), filter)));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(lines)) => {
                    let note = format!(
                        "{lines} lines were left out: they came faster than they were read."
                    );
                    return Some((Ok(Bytes::from(form.frame(&note))), (Some(live), filter)));
                }
                // The app is gone.
                Err(RecvError::Closed) => return None,
            }
        }
    });
    past.chain(live)
}

async fn build_output(
    State(state): State<AppState>,
    id: Id,
    Query(signature): Query<Signature>,
) -> Answer<Response> {
    let path = format!("/streams/builds/{}", id.0);
    let () = verify(&state, &path, &signature.sig)?;
    let output = output_of(&state, id.parse("build")?, 0).await?;
    Ok(text(&state, output))
}

/// A build's output from byte `offset` until its push ends.
pub(super) async fn output_of(
    state: &AppState,
    build: BuildId,
    offset: u64,
) -> Answer<impl Stream<Item = io::Result<Bytes>> + use<>> {
    let ended = push_has_ended(state, build).await?;
    if ended {
        return Ok(state.build_output.read(build, offset).left_stream());
    }
    let output = state
        .build_output
        .follow(build, offset)
        .map_err(Problem::fault)?;
    // It may have ended between the question and the start of following.
    if push_has_ended(state, build).await? {
        state.build_output.close(build);
    }
    Ok(output.right_stream())
}

async fn push_has_ended(state: &AppState, build: BuildId) -> Answer<bool> {
    Ok(builds::get(&mut *state.store.read().await?, build)
        .await?
        .verdict
        .is_some())
}

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Plain text that comes over time, at most until the process ends.
pub(super) fn text(
    state: &AppState,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    streamed(state, PLAIN_TEXT, body)
}

pub(super) fn streamed(
    state: &AppState,
    content_type: &'static str,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    let body = body.take_until(state.closing.clone().cancelled_owned());
    let headers = [
        (header::CONTENT_TYPE, content_type),
        // Proxies on the way must not collect it.
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

async fn attach(
    State(state): State<AppState>,
    id: Id,
    Query(signature): Query<Signature>,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let path = format!("/streams/attach/{}", id.0);
    let () = verify(&state, &path, &signature.sig)?;
    let id = id.parse("terminal")?;
    Ok(join(&state, id, End::User, Terms::one_off(), upgrade))
}

/// Brings one end of a terminal to the rendezvous.
pub(super) fn join(
    state: &AppState,
    id: AttachId,
    end: End,
    terms: Terms,
    upgrade: WebSocketUpgrade,
) -> Response {
    let state = state.clone();
    bounded(upgrade)
        .on_upgrade(move |socket| async move { state.attach.join(id, end, socket, &terms).await })
}

/// A WebSocket with a limit to what one message may be.
pub(super) fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
}
