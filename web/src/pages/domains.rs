//! An app's hostnames.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Router,
    response::Redirect,
    routing::{get, post},
};
use fairway_api::{
    domains::{Domain, DomainKind, NewDomain},
    names::{AppName, Hostname},
};
use serde::Deserialize;

use super::Frame;
use crate::{
    Config,
    error::PageError,
    extract::{Form, Path},
    session::Session,
};

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route("/dashboard/apps/{app}/domains", get(list).post(add))
        .route("/dashboard/apps/{app}/domains/remove", post(remove))
}

#[derive(Template, WebTemplate)]
#[template(path = "domains.html")]
struct Domains {
    frame: Frame,
    domains: Vec<Domain>,
}

impl Domains {
    fn is_custom(&self, domain: &Domain) -> bool {
        domain.kind == DomainKind::Custom
    }
}

async fn list(session: Session, Path(app): Path<AppName>) -> Result<Domains, PageError> {
    let frame = Frame::fetch(&session, &app, "domains").await?;
    Ok(Domains {
        frame,
        domains: session.client.domains(&app).await?,
    })
}

#[derive(Deserialize)]
struct Claim {
    hostname: String,
}

async fn add(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Claim>,
) -> Result<Redirect, PageError> {
    let hostname: Hostname = form.hostname.trim().parse()?;
    session
        .client
        .add_domain(&app, &NewDomain { hostname })
        .await?;
    Ok(back_to(&app))
}

async fn remove(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Claim>,
) -> Result<Redirect, PageError> {
    session
        .client
        .remove_domain(&app, &form.hostname.parse()?)
        .await?;
    Ok(back_to(&app))
}

fn back_to(app: &AppName) -> Redirect {
    Redirect::to(&format!("/dashboard/apps/{app}/domains"))
}
