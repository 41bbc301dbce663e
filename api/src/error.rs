//! The one error body of the API, as the Platform API has it, plus a `hint`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, in words written for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    pub id: ErrorId,
    pub message: String,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What to do next. Ours, not Heroku's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kinds of error, each with one HTTP status. Names follow the Platform API where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorId {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    /// The name or hostname is taken, or the state does not allow it now.
    Conflict,
    InvalidParams,
    RequestTooLarge,
    RateLimit,
    /// The machine that calls was removed from the cluster.
    Removed,
    /// The caller speaks a protocol that this controller does not.
    UpgradeRequired,
    /// Something the platform needs is away; try again.
    Unavailable,
    /// A fault of ours. The text says nothing more; the log has the chain.
    #[serde(other)]
    InternalServerError,
}

impl ErrorId {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::Removed => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::InvalidParams => 422,
            Self::RequestTooLarge => 413,
            Self::UpgradeRequired => 426,
            Self::RateLimit => 429,
            Self::Unavailable => 503,
            Self::InternalServerError => 500,
        }
    }
}

impl ApiError {
    /// An error without a hint.
    pub fn new(id: ErrorId, message: impl Into<String>) -> Self {
        Self {
            id,
            message: message.into(),
            url: None,
            hint: None,
        }
    }

    /// The same with a hint: what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
