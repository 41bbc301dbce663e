//! An app's config vars. Values are hidden until a person asks to see them.

use std::collections::BTreeMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Router,
    response::Redirect,
    routing::{get, post},
};
use fairway_api::{
    config_vars::ConfigVars,
    names::{AppName, ConfigName},
    secret::Secret,
};
use serde::Deserialize;

use super::Frame;
use crate::{
    Config,
    error::PageError,
    extract::{Form, Path},
    session::Session,
};

/// The most lines of a value that are shown without scrolling.
const ROWS_MAX: usize = 10;

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route("/dashboard/apps/{app}/config", get(list).post(set))
        .route("/dashboard/apps/{app}/config/unset", post(unset))
}

#[derive(Template, WebTemplate)]
#[template(path = "config.html")]
struct ConfigPage {
    frame: Frame,
    vars: ConfigVars,
}

impl ConfigPage {
    /// The height of the field that shows a value, in lines.
    fn rows(&self, value: &Secret) -> usize {
        value.expose().lines().count().clamp(1, ROWS_MAX)
    }
}

async fn list(session: Session, Path(app): Path<AppName>) -> Result<ConfigPage, PageError> {
    let frame = Frame::fetch(&session, &app, "config").await?;
    Ok(ConfigPage {
        frame,
        vars: session.client.config_vars(&app).await?,
    })
}

#[derive(Deserialize)]
struct Set {
    name: String,
    value: Secret,
}

async fn set(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Set>,
) -> Result<Redirect, PageError> {
    let name: ConfigName = form.name.trim().parse()?;
    // Browsers send every line break as two characters; a key in PEM must arrive as it was pasted.
    let value = Secret::new(form.value.expose().replace("\r\n", "\n"));
    let patch = BTreeMap::from([(name, Some(value))]);
    session.client.update_config_vars(&app, &patch).await?;
    Ok(back_to(&app))
}

#[derive(Deserialize)]
struct Unset {
    name: ConfigName,
}

async fn unset(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Unset>,
) -> Result<Redirect, PageError> {
    session
        .client
        .update_config_vars(&app, &BTreeMap::from([(form.name, None)]))
        .await?;
    Ok(back_to(&app))
}

fn back_to(app: &AppName) -> Redirect {
    Redirect::to(&format!("/dashboard/apps/{app}/config"))
}
