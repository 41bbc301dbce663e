//! An app's releases, with rollback.

use askama::Template;
use askama_web::WebTemplate;
use axum::{Router, response::Redirect, routing::get};
use fairway_api::{
    names::AppName,
    releases::{Release, ReleaseStatus, Rollback},
};
use serde::Deserialize;

use super::Frame;
use crate::{
    Config,
    error::PageError,
    extract::{Form, Path},
    session::Session,
    show,
};

pub(super) fn routes() -> Router<Config> {
    Router::new().route("/dashboard/apps/{app}/releases", get(list).post(roll_back))
}

#[derive(Template, WebTemplate)]
#[template(path = "releases.html")]
struct Releases {
    frame: Frame,
    releases: Vec<Release>,
}

impl Releases {
    /// A release that a rollback may go to: it has been live, its image is kept, and it is not live now.
    fn may_return(&self, release: &Release) -> bool {
        let live = release.status == ReleaseStatus::Succeeded;
        live && !release.current && release.eligible_for_rollback
    }
}

async fn list(session: Session, Path(app): Path<AppName>) -> Result<Releases, PageError> {
    let frame = Frame::fetch(&session, &app, "releases").await?;
    Ok(Releases {
        frame,
        releases: session.client.releases(&app).await?,
    })
}

#[derive(Deserialize)]
struct Return {
    release: String,
}

async fn roll_back(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Return>,
) -> Result<Redirect, PageError> {
    session
        .client
        .roll_back(
            &app,
            &Rollback {
                release: form.release,
            },
        )
        .await?;
    Ok(Redirect::to(&format!("/dashboard/apps/{app}/releases")))
}
