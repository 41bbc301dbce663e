//! An app's log as it grows.

use askama::Template;
use askama_web::WebTemplate;
use axum::{Router, extract::Query, response::IntoResponse, routing::get};
use fairway_api::{logs::NewLogSession, names::AppName};
use serde::Deserialize;

use super::Frame;
use crate::{Config, error::PageError, extract::Path, session::Session, stream};

/// How many lines of the past the page begins with.
const LINES_SHOWN: u32 = 200;

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route("/dashboard/apps/{app}/logs", get(show))
        .route("/dashboard/apps/{app}/logs/stream", get(follow))
}

#[derive(Template, WebTemplate)]
#[template(path = "logs.html")]
struct Logs {
    frame: Frame,
    /// Only its lines are shown.
    process: Option<String>,
}

#[derive(Deserialize)]
struct Show {
    process: Option<String>,
}

async fn show(
    session: Session,
    Path(app): Path<AppName>,
    Query(query): Query<Show>,
) -> Result<Logs, PageError> {
    Ok(Logs {
        frame: Frame::fetch(&session, &app, "logs").await?,
        process: query.process,
    })
}

#[derive(Deserialize)]
struct Follow {
    /// Lines of the past; a page that only wants to notice changes wants none.
    lines: Option<u32>,
    source: Option<String>,
    /// A pod, a process type or a run.
    process: Option<String>,
}

async fn follow(
    session: Session,
    Path(app): Path<AppName>,
    Query(query): Query<Follow>,
) -> Result<impl IntoResponse, PageError> {
    let wanted = NewLogSession {
        lines: Some(query.lines.unwrap_or(LINES_SHOWN)),
        source: query.source,
        dyno: query.process,
        tail: Some(true),
        ..NewLogSession::default()
    };
    let opened = session.client.open_logs(&app, &wanted).await?;
    Ok(stream::endless(
        session.client.stream_path(&opened.logplex_url).await?,
    ))
}
