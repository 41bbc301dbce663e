//! Log lines of apps, and log sessions (Platform API: `log-session`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, LogSessionId, PodId},
    names::ProcessType,
};

/// The longest line kept, in bytes; a longer one is cut into several.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;
/// The most lines in one `POST /internal/logs`.
pub const LOG_BATCH_LINES_MAX: usize = 1_000;
/// The most lines a session shows of the past.
pub const LOG_SESSION_LINES_MAX: u32 = 10_000;
/// What a session shows of the past when it does not say.
pub const LOG_SESSION_LINES_DEFAULT: u32 = 100;
/// What routers call themselves in the lines that they write of requests.
pub const ROUTER_PROCESS: &str = "router";

/// One line of an app's log, as nodes, routers and the controller hand it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub app: AppId,
    pub at: DateTime<Utc>,
    pub source: LogSource,
    /// `web.1`, `run.4821`, `router`, `api`.
    pub process: String,
    pub pod: Option<PodId>,
    pub text: String,
}

/// Who wrote a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSource {
    /// The app's own output.
    App,
    /// Fairway: the router's access lines, state changes of pods, releases.
    Fairway,
}

impl LogSource {
    /// The word in front of the bracket: `app[web.1]:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Fairway => "fairway",
        }
    }
}

impl LogLine {
    /// The line as people read it, without a line end:
    /// `2026-11-21T21:30:43.123456+00:00 app[web.1]: text`.
    pub fn render(&self) -> String {
        let at = self.at.format("%Y-%m-%dT%H:%M:%S%.6f+00:00");
        format!(
            "{at} {}[{}]: {}",
            self.source.as_str(),
            self.process,
            self.text
        )
    }
}

/// `POST /apps/{app}/log-sessions`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NewLogSession {
    /// Only lines of this process (`web.1`) or process type (`web`).
    pub dyno: Option<String>,
    /// Only lines of this process type. Heroku's newer name for the filter.
    #[serde(rename = "type")]
    pub process_type: Option<ProcessType>,
    /// Only `app` or only `fairway` lines; `heroku` is accepted for `fairway`.
    pub source: Option<String>,
    /// Lines of the past, at most [`LOG_SESSION_LINES_MAX`].
    pub lines: Option<u32>,
    /// True goes on with new lines until the client leaves.
    pub tail: Option<bool>,
}

/// An opened log stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSession {
    pub id: LogSessionId,
    /// `GET` it without credentials within five minutes: a line of plain text per log line. The
    /// name is Heroku's.
    pub logplex_url: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}
