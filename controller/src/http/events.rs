//! What happened to an app, and to everything: listed, and followed.

use std::io;

use axum::{Router, extract::State, http::HeaderMap, response::Response, routing::get};
use bytes::Bytes;
use fairway_api::{
    events::{Event, EventFilter},
    ids::AppId,
};
use futures_util::StreamExt;
use serde::Deserialize;

use super::{
    caller::{Admin, AppAccess},
    extract::Query,
    range::{Column, Order, Range},
    streams::{Form, LAST_EVENT_ID, streamed},
};
use crate::{
    events,
    problem::{Answer, Problem},
    state::AppState,
    store,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/events", get(list))
        .route("/apps/{app}/events/stream", get(follow))
        .route("/events", get(list_all))
        .route("/events/stream", get(follow_all))
}

const ORDER: Order = Order {
    columns: &[
        Column::number("position", "position"),
        Column::text("id", "id"),
    ],
    descending: true,
    rows: 200,
};

/// What a follower wants.
#[derive(Debug, Deserialize)]
struct Follow {
    #[serde(rename = "type")]
    types: Option<String>,
    process: Option<String>,
    /// Only what comes after this position; from now on without it.
    after: Option<u64>,
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Query(filter): Query<EventFilter>,
    range: Range,
) -> Answer<Response> {
    page(&state, Some(app.id), &filter, &range).await
}

async fn list_all(
    State(state): State<AppState>,
    _: Admin,
    Query(filter): Query<EventFilter>,
    range: Range,
) -> Answer<Response> {
    page(&state, None, &filter, &range).await
}

async fn page(
    state: &AppState,
    app: Option<AppId>,
    filter: &EventFilter,
    range: &Range,
) -> Answer<Response> {
    check(filter)?;
    let wanted = range.of(&ORDER)?;
    let mut tx = state.store.read().await?;
    let events = store::events::list(&mut tx, app, filter, wanted.page()).await?;
    Ok(wanted.answer(events, |event, column| match column {
        "id" => event.id.to_string(),
        _ => event.position.to_string(),
    }))
}

async fn follow(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Query(wanted): Query<Follow>,
    headers: HeaderMap,
) -> Answer<Response> {
    stream(&state, Some(app.id), wanted, &headers).await
}

async fn follow_all(
    State(state): State<AppState>,
    _: Admin,
    Query(wanted): Query<Follow>,
    headers: HeaderMap,
) -> Answer<Response> {
    stream(&state, None, wanted, &headers).await
}

/// A JSON document a line, or server-sent events for who asks for them. One who comes back after a
/// break gets what came meanwhile.
async fn stream(
    state: &AppState,
    app: Option<AppId>,
    wanted: Follow,
    headers: &HeaderMap,
) -> Answer<Response> {
    let filter = EventFilter {
        types: wanted.types,
        process: wanted.process,
    };
    check(&filter)?;
    let seen = headers.get(LAST_EVENT_ID);
    let seen = seen.and_then(|it| it.to_str().ok()?.parse().ok());
    let after = match seen.or(wanted.after) {
        Some(after) => after,
        None => events::newest(state).await?,
    };
    let form = Form::of(headers);
    let content_type = match form {
        Form::Text => "application/x-ndjson",
        Form::Events => form.content_type(),
    };
    let events = events::follow(state, app, filter, after)?;
    let body = events.map(move |event| frame(&event, form));
    Ok(streamed(state, content_type, body))
}

fn frame(event: &Event, form: Form) -> io::Result<Bytes> {
    let json = serde_json::to_string(event).map_err(io::Error::other)?;
    Ok(Bytes::from(match form {
        Form::Text => format!("{json}\n"),
        Form::Events => format!("id: {}\ndata: {json}\n\n", event.position),
    }))
}

fn check(filter: &EventFilter) -> Answer<()> {
    filter.check().map_err(|error| {
        Problem::invalid(format!("This filter is not valid: {error}."))
            .hint("For example: ?type=out-of-memory,pod.crashed&process=web")
    })
}
