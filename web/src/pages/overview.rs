//! One app: what runs, with scaling and restarting, and what happened lately.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Form, Router,
    extract::Path,
    response::Redirect,
    routing::{get, post},
};
use fairway_api::{
    apps::AppPatch,
    dynos::Dyno,
    events::Event,
    formation::{Formation, FormationBatch, FormationUpdate},
    names::{AppName, ProcessType},
    sizes::Size,
};
use serde::Deserialize;

use super::Frame;
use crate::{Config, error::PageError, session::Session, show};

/// How many events the page shows.
const EVENTS_SHOWN: usize = 12;

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route("/dashboard/apps/{app}", get(overview))
        .route("/dashboard/apps/{app}/processes", get(processes))
        .route("/dashboard/apps/{app}/scale", post(scale))
        .route("/dashboard/apps/{app}/restart", post(restart))
        .route("/dashboard/apps/{app}/maintenance", post(maintenance))
}

#[derive(Template, WebTemplate)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    processes: Processes,
    events: Vec<Event>,
}

/// The part that the page fetches again when something changes.
#[derive(Template, WebTemplate)]
#[template(path = "processes.html")]
struct Processes {
    app: AppName,
    formation: Vec<Formation>,
    dynos: Vec<Dyno>,
    sizes: Vec<Size>,
}

impl Processes {
    async fn fetch(session: &Session, app: &AppName) -> Result<Self, PageError> {
        let client = &session.client;
        Ok(Self {
            app: app.clone(),
            formation: client.formation(app).await?,
            dynos: client.dynos(app).await?,
            sizes: client.sizes().await?,
        })
    }

    fn pods_of(&self, process_type: &str) -> Vec<&Dyno> {
        self.dynos
            .iter()
            .filter(|dyno| dyno.process_type == process_type)
            .collect()
    }

    fn one_off(&self) -> Vec<&Dyno> {
        let of_formation = |dyno: &Dyno| {
            self.formation
                .iter()
                .any(|f| f.process_type.as_str() == dyno.process_type)
        };
        self.dynos
            .iter()
            .filter(|dyno| !of_formation(dyno))
            .collect()
    }
}

async fn overview(session: Session, Path(app): Path<AppName>) -> Result<Overview, PageError> {
    let frame = Frame::fetch(&session, &app, "").await?;
    let processes = Processes::fetch(&session, &app).await?;
    let mut events = session.client.events(&app).await?;
    events.truncate(EVENTS_SHOWN);
    Ok(Overview {
        frame,
        processes,
        events,
    })
}

async fn processes(session: Session, Path(app): Path<AppName>) -> Result<Processes, PageError> {
    Processes::fetch(&session, &app).await
}

#[derive(Deserialize)]
struct Scale {
    process_type: ProcessType,
    quantity: u32,
    size: fairway_api::names::SizeName,
}

async fn scale(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Scale>,
) -> Result<Redirect, PageError> {
    let update = FormationUpdate {
        process_type: form.process_type,
        quantity: Some(form.quantity),
        size: Some(form.size),
    };
    session
        .client
        .scale(
            &app,
            &FormationBatch {
                updates: vec![update],
            },
        )
        .await?;
    Ok(back_to(&app))
}

#[derive(Deserialize)]
struct Restart {
    which: String,
}

async fn restart(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Restart>,
) -> Result<Redirect, PageError> {
    let which = Some(form.which.as_str()).filter(|which| !which.is_empty());
    session.client.restart(&app, which).await?;
    Ok(back_to(&app))
}

#[derive(Deserialize)]
struct Maintenance {
    on: bool,
}

async fn maintenance(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Maintenance>,
) -> Result<Redirect, PageError> {
    let patch = AppPatch {
        maintenance: Some(form.on),
        ..AppPatch::default()
    };
    session.client.update_app(&app, &patch).await?;
    Ok(back_to(&app))
}

fn back_to(app: &AppName) -> Redirect {
    Redirect::to(&format!("/dashboard/apps/{app}"))
}
