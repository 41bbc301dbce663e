//! All apps, and a form for a new one.

use askama::Template;
use askama_web::WebTemplate;
use axum::{Router, response::Redirect, routing::get};
use fairway_api::{
    apps::{App, NewApp},
    names::Email,
};
use serde::Deserialize;

use crate::{Config, error::PageError, extract::Form, session::Session, show};

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route("/dashboard", get(list))
        .route("/dashboard/apps", get(list).post(create))
}

#[derive(Template, WebTemplate)]
#[template(path = "apps.html")]
struct Apps {
    email: Email,
    apps: Vec<App>,
}

async fn list(session: Session) -> Result<Apps, PageError> {
    let email = session.client.account().await?.email;
    Ok(Apps {
        email,
        apps: session.client.apps().await?,
    })
}

#[derive(Deserialize)]
struct Create {
    name: String,
}

async fn create(session: Session, Form(form): Form<Create>) -> Result<Redirect, PageError> {
    let name = match form.name.trim() {
        "" => None,
        name => Some(name.parse()?),
    };
    let app = session.client.create_app(&NewApp { name }).await?;
    Ok(Redirect::to(&format!("/dashboard/apps/{}", app.name)))
}
