//! Logging in and out.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_extra::extract::cookie::CookieJar;
use fairway_api::{accounts::NewToken, client::ClientError, names::Email, secret::Secret};
use serde::Deserialize;

use crate::{
    Config,
    error::PageError,
    extract::Form,
    session::{self, SESSION_SECS, Session},
};

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route("/login", get(show).post(log_in))
        .route("/logout", post(log_out))
}

#[derive(Template, WebTemplate)]
#[template(path = "login.html")]
struct Login {
    email: String,
    refused: Option<String>,
}

async fn show() -> Login {
    Login {
        email: String::new(),
        refused: None,
    }
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: Secret,
}

async fn log_in(
    State(config): State<Config>,
    jar: CookieJar,
    Form(form): Form<Credentials>,
) -> Result<Response, PageError> {
    let again = |refused: String| {
        let page = Login {
            email: form.email.clone(),
            refused: Some(refused),
        };
        Ok((StatusCode::UNAUTHORIZED, page).into_response())
    };
    let Ok(email) = form.email.trim().parse::<Email>() else {
        return again("That is not an email address.".into());
    };
    let wanted = NewToken {
        description: Some("Dashboard".into()),
        expires_in: Some(SESSION_SECS),
    };
    match config.client.log_in(&email, &form.password, &wanted).await {
        Ok(token) => match token.access_token {
            Some(access) => {
                let jar = jar.add(session::start(&access.token, config.secure_cookie));
                Ok((jar, Redirect::to("/dashboard")).into_response())
            }
            None => again("The API gave no token.".into()),
        },
        Err(ClientError::Api(error)) => again(error.message),
        Err(error) => Err(error.into()),
    }
}

async fn log_out(session: Option<Session>, jar: CookieJar) -> impl IntoResponse {
    if let Some(session) = session
        && let Err(error) = session.client.log_out().await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "revoke a dashboard token"
        );
    }
    (jar.remove(session::end()), Redirect::to("/login"))
}
