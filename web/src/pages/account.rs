//! One's own account: password and API tokens.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use fairway_api::{
    accounts::{PasswordChange, Token},
    client::ClientError,
    error::ErrorId,
    ids::TokenId,
    names::Email,
    secret::Secret,
};
use serde::Deserialize;

use crate::{
    Config,
    error::PageError,
    extract::{Form, Path},
    session::Session,
    show,
};

const PAGE: &str = "/dashboard/account";

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route(PAGE, get(show_page))
        .route("/dashboard/account/password", post(change_password))
        .route("/dashboard/account/tokens/{id}/revoke", post(revoke))
}

#[derive(Template, WebTemplate)]
#[template(path = "account.html")]
struct Account {
    email: Email,
    tokens: Vec<Token>,
    /// The one that this session is.
    own: TokenId,
    /// What came of a change.
    notice: Option<Notice>,
}

struct Notice {
    class: &'static str,
    text: String,
}

impl Account {
    fn is_own(&self, token: &Token) -> bool {
        token.id == self.own
    }

    async fn fetch(session: &Session, notice: Option<Notice>) -> Result<Self, ClientError> {
        let client = &session.client;
        Ok(Self {
            email: client.account().await?.email,
            tokens: client.tokens().await?,
            own: client.current_token().await?.id,
            notice,
        })
    }
}

async fn show_page(session: Session) -> Result<Account, PageError> {
    Ok(Account::fetch(&session, None).await?)
}

#[derive(Deserialize)]
struct Change {
    password: Secret,
    new_password: Secret,
    again: Secret,
}

async fn change_password(
    session: Session,
    Form(form): Form<Change>,
) -> Result<Response, PageError> {
    let outcome = if form.new_password == form.again {
        let change = PasswordChange {
            password: form.password,
            new_password: form.new_password,
        };
        match session.client.change_password(&change).await {
            Ok(_) => Ok(()),
            Err(ClientError::Api(error)) if error.id == ErrorId::InvalidParams => {
                Err(error.message)
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        Err("The two new passwords differ.".into())
    };
    let (status, class, text) = match outcome {
        Ok(()) => (
            StatusCode::OK,
            "good",
            "The password was changed. Whoever was logged in elsewhere has to log in again.".into(),
        ),
        Err(text) => (StatusCode::UNPROCESSABLE_ENTITY, "bad", text),
    };
    let page = Account::fetch(&session, Some(Notice { class, text })).await?;
    Ok((status, page).into_response())
}

async fn revoke(session: Session, Path(id): Path<TokenId>) -> Result<Redirect, PageError> {
    session.client.revoke_token(id).await?;
    Ok(Redirect::to(PAGE))
}
