//! An app's builds, and one build's output as it grows.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Router,
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use fairway_api::{
    builds::{Build, BuildPhase},
    ids::BuildId,
    names::AppName,
};

use super::Frame;
use crate::{Config, error::PageError, extract::Path, session::Session, show, stream};

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route("/dashboard/apps/{app}/builds", get(list))
        .route("/dashboard/apps/{app}/builds/{id}", get(one))
        .route("/dashboard/apps/{app}/builds/{id}/cancel", post(cancel))
        .route("/dashboard/apps/{app}/builds/{id}/output", get(output))
}

#[derive(Template, WebTemplate)]
#[template(path = "builds.html")]
struct Builds {
    frame: Frame,
    builds: Vec<Build>,
}

impl Builds {
    fn path(&self, build: &Build) -> String {
        format!(
            "/dashboard/apps/{}/builds/{}",
            self.frame.app.name, build.id
        )
    }
}

async fn list(session: Session, Path(app): Path<AppName>) -> Result<Builds, PageError> {
    let frame = Frame::fetch(&session, &app, "builds").await?;
    Ok(Builds {
        frame,
        builds: session.client.builds(&app).await?,
    })
}

#[derive(Template, WebTemplate)]
#[template(path = "build.html")]
struct OneBuild {
    frame: Frame,
    build: Build,
}

async fn one(
    session: Session,
    Path((app, id)): Path<(AppName, BuildId)>,
) -> Result<OneBuild, PageError> {
    let frame = Frame::fetch(&session, &app, "builds").await?;
    Ok(OneBuild {
        frame,
        build: session.client.build(&app, id).await?,
    })
}

async fn cancel(
    session: Session,
    Path((app, id)): Path<(AppName, BuildId)>,
) -> Result<Redirect, PageError> {
    session.client.cancel_build(&app, id).await?;
    Ok(Redirect::to(&format!("/dashboard/apps/{app}/builds/{id}")))
}

async fn output(
    session: Session,
    Path((app, id)): Path<(AppName, BuildId)>,
) -> Result<impl IntoResponse, PageError> {
    let build = session.client.build(&app, id).await?;
    Ok(stream::whole(
        session.client.stream_path(&build.output_stream_url).await?,
    ))
}
