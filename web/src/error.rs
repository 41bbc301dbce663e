//! Errors are pages too: what happened, and a way on.

use askama::Template;
use axum::{
    extract::rejection::{FormRejection, PathRejection},
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
};
use fairway_api::{
    client::ClientError,
    error::{ApiError, ErrorId},
    names::InvalidName,
};

use crate::show;

const NOT_FOUND: &str = "Not found";
const REFUSED: &str = "That does not work";

/// Why a page could not be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("log in first")]
    LoggedOut,
    #[error("There is nothing at this address.")]
    NotFound,
    #[error(transparent)]
    Client(ClientError),
    #[error(transparent)]
    Input(#[from] InvalidName),
    #[error("{}", .0.body_text())]
    Form(FormRejection),
}

impl From<PathRejection> for PageError {
    fn from(_: PathRejection) -> Self {
        Self::NotFound
    }
}

impl From<FormRejection> for PageError {
    fn from(error: FormRejection) -> Self {
        Self::Form(error)
    }
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
            Self::NotFound => (StatusCode::NOT_FOUND, NOT_FOUND, None),
            Self::Input(_) => (StatusCode::UNPROCESSABLE_ENTITY, REFUSED, None),
            Self::Form(error) => (error.status(), REFUSED, None),
            Self::Client(ClientError::Api(error)) => (
                StatusCode::from_u16(error.id.status()).unwrap_or(StatusCode::BAD_GATEWAY),
                if error.id == ErrorId::NotFound {
                    NOT_FOUND
                } else {
                    REFUSED
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
            message: show::sentence(&self.to_string()),
            hint,
        };
        (status, Html(page.render().unwrap_or_default())).into_response()
    }
}
