//! An answer that says no: one body for all, written for the user; a fault of ours goes to the log.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use fairway_api::error::{ApiError, ErrorId};

use crate::{
    auth::passwords::LoginError, deploy::DeployError, secrets::SecretsError, store::StoreError,
};

/// An answer that says no.
#[derive(Debug)]
pub struct Problem {
    error: ApiError,
    retry_after_secs: Option<u64>,
}

/// What handlers return.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// An error of this kind.
    pub fn new(id: ErrorId, message: impl Into<String>) -> Self {
        Self {
            error: ApiError::new(id, message),
            retry_after_secs: None,
        }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error = self.error.with_hint(hint);
        self
    }

    /// 404 in the words of the Platform API.
    pub fn not_found(what: &str) -> Self {
        let problem = Self::new(ErrorId::NotFound, format!("Couldn't find that {what}."));
        match what {
            // The same for one that there is not and for one that is somebody else's.
            "app" => problem.hint("Check its name; `app apps` lists those that you can see."),
            _ => problem,
        }
    }

    /// 422: the request is understood and cannot be done as it stands.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorId::InvalidParams, message)
    }

    /// 409: taken, or not possible now.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorId::Conflict, message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(ErrorId::Unauthorized, "Invalid credentials provided.")
            .hint("Log in with `app login`, or send an API token as bearer token.")
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorId::Forbidden, message)
    }

    /// A fault of ours: the log gets the chain, the caller gets no more than that it happened.
    pub fn fault(error: impl Into<anyhow::Error>) -> Self {
        let error: anyhow::Error = error.into();
        tracing::error!("a request failed: {error:#}");
        Self::new(
            ErrorId::InternalServerError,
            "Something went wrong on our side. Try again; if it persists, ask whoever runs this \
             Fairway to look for this request's id in the controller's log.",
        )
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.id.status())
            .expect("every kind of error has a valid status");
        let mut response = (status, Json(self.error)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"Fairway\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(secs) = self.retry_after_secs {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => Self::not_found(what),
            StoreError::Conflict { unique } => {
                let what = unique
                    .rsplit_once('.')
                    .map_or(unique.as_str(), |(_, column)| column);
                Self::conflict(format!("That {what} is already taken."))
            }
            error @ StoreError::DiskFull(_) => {
                tracing::error!("a request failed: {:#}", anyhow::Error::from(error));
                Self::new(
                    ErrorId::Unavailable,
                    "The disk of this Fairway is full; nothing was changed.",
                )
                .hint("Try again when its operator has freed some space.")
            }
            error => Self::fault(error),
        }
    }
}

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Refused(message) => Self::invalid(message),
            DeployError::Store(error) => error.into(),
            DeployError::Config(error) => error.into(),
        }
    }
}

impl From<SecretsError> for Problem {
    fn from(error: SecretsError) -> Self {
        Self::fault(error)
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong => Self::new(ErrorId::Unauthorized, "Invalid credentials provided.")
                .hint("Email or password is wrong."),
            LoginError::TooManyFailures { wait_secs } => Self {
                retry_after_secs: Some(wait_secs),
                ..Self::new(
                    ErrorId::RateLimit,
                    "Too many wrong passwords for this account.",
                )
                .hint(format!("Wait {wait_secs} seconds, or use an API token."))
            },
            LoginError::Busy => Self {
                retry_after_secs: Some(1),
                ..Self::new(ErrorId::RateLimit, "Too many logins at once.").hint("Try again.")
            },
            LoginError::Store(error) => error.into(),
        }
    }
}

/// An error's text as a sentence of an answer.
pub fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(chars).chain(std::iter::once('.')).collect()
}
