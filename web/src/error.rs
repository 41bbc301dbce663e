//! Errors are pages too: what happened, and a way on.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
};
use fairway_api::{
    client::ClientError,
    error::{ApiError, ErrorId},
    names::InvalidName,
};

/// Why a page could not be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("log in first")]
    LoggedOut,
    #[error(transparent)]
    Client(ClientError),
    #[error(transparent)]
    Input(#[from] InvalidName),
}

impl From<ClientError> for PageError {
    fn from(error: ClientError) -> Self {
        match error.api() {
            // The token was revoked or has ended.
            Some(ApiError {
                id: ErrorId::Unauthorized,
                ..
            }) => Self::LoggedOut,
            _ => Self::Client(error),
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    message: String,
    hint: Option<String>,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, title, hint) = match &self {
            Self::LoggedOut => return Redirect::to("/login").into_response(),
            Self::Input(_) => (StatusCode::UNPROCESSABLE_ENTITY, "That does not work", None),
            Self::Client(ClientError::Api(error)) => (
                StatusCode::from_u16(error.id.status()).unwrap_or(StatusCode::BAD_GATEWAY),
                if error.id == ErrorId::NotFound {
                    "Not found"
                } else {
                    "That does not work"
                },
                error.hint.clone(),
            ),
            Self::Client(error) => {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "ask the API for a page"
                );
                (
                    StatusCode::BAD_GATEWAY,
                    "The API does not answer",
                    Some("Try again.".into()),
                )
            }
        };
        let page = ErrorPage {
            title,
            message: sentence(&self.to_string()),
            hint,
        };
        (status, Html(page.render().unwrap_or_default())).into_response()
    }
}

/// API messages begin in lower case where they continue a line of a terminal.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}
