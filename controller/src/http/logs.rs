//! Log sessions: a URL that shows an app's log.

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use fairway_api::{
    ids::LogSessionId,
    logs::{
        LOG_SESSION_LINES_DEFAULT, LOG_SESSION_LINES_MAX, LogSession, LogSource, NewLogSession,
    },
};

use super::{
    caller::AppAccess,
    extract,
    streams::{self, LogClaim},
};
use crate::{
    logs::app_logs::LogFilter,
    problem::{Answer, Problem},
    state::AppState,
    store::columns::now,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/apps/{app}/log-sessions", post(create))
}

async fn create(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    extract::Json(new): extract::Json<NewLogSession>,
) -> Answer<(StatusCode, Json<LogSession>)> {
    let lines = new.lines.unwrap_or(LOG_SESSION_LINES_DEFAULT);
    if lines > LOG_SESSION_LINES_MAX {
        return Err(Problem::invalid(format!(
            "A log session shows at most {LOG_SESSION_LINES_MAX} lines of the past."
        )));
    }
    let source = new.source.as_deref().map(source).transpose()?;
    let process = new.dyno.or(new.process_type.map(String::from));
    let claim = LogClaim {
        app: app.id,
        filter: LogFilter { process, source },
        lines: lines as usize,
        tail: new.tail.unwrap_or(false),
    };
    let (id, now) = (LogSessionId::generate(), now());
    let logplex_url = streams::logs_url(&state, id, &claim)?;
    let session = LogSession {
        id,
        logplex_url,
        created_at: now,
        updated_at: now,
    };
    Ok((StatusCode::CREATED, Json(session)))
}

fn source(word: &str) -> Answer<LogSource> {
    match word {
        "app" => Ok(LogSource::App),
        "fairway" | "heroku" => Ok(LogSource::Fairway),
        _ => Err(Problem::invalid("A log's source is app or fairway.")),
    }
}
