//! One app: what runs, with scaling and restarting, and what happened lately.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    Router,
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use fairway_api::{
    apps::AppPatch,
    deployments::Deployment,
    dynos::Dyno,
    events::{Event, EventFilter},
    formation::{Formation, FormationBatch, FormationUpdate, Quantity},
    jobs::{Job, JobPatch, Run, RunState},
    metrics::TypeMetrics,
    names::{AppName, JobName, ProcessType},
    sizes::Size,
    volumes::Volume,
};
use serde::Deserialize;

use super::Frame;
use crate::{
    Config,
    error::PageError,
    extract::{Form, Path},
    session::Session,
    show, stream,
};

/// How many events the page shows.
const EVENTS_SHOWN: usize = 12;
/// How many runs the page shows; `app run:list` shows more.
const RUNS_SHOWN: usize = 8;

pub(super) fn routes() -> Router<Config> {
    Router::new()
        .route("/dashboard/apps/{app}", get(overview))
        .route("/dashboard/apps/{app}/events/stream", get(follow))
        .route("/dashboard/apps/{app}/scale", post(scale))
        .route("/dashboard/apps/{app}/restart", post(restart))
        .route("/dashboard/apps/{app}/jobs", post(job))
        .route("/dashboard/apps/{app}/runs/stop", post(stop))
        .route("/dashboard/apps/{app}/maintenance", post(maintenance))
}

#[derive(Template, WebTemplate)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    formation: Vec<Formation>,
    dynos: Vec<Dyno>,
    sizes: Vec<Size>,
    events: Vec<Event>,
    /// The newest one, if there is one.
    deployment: Option<Deployment>,
    metrics: Vec<TypeMetrics>,
    volumes: Vec<Volume>,
    jobs: Vec<Job>,
    runs: Vec<Run>,
}

impl Overview {
    fn pods_of(&self, process_type: &str) -> Vec<&Dyno> {
        self.dynos
            .iter()
            .filter(|dyno| dyno.process_type == process_type)
            .collect()
    }

    /// What was measured of a process type that has pods.
    fn measured(&self, process_type: &str) -> Option<&TypeMetrics> {
        let mut metrics = self.metrics.iter();
        metrics.find(|row| row.process_type.as_str() == process_type && row.up > 0)
    }

    /// Pods that are neither of the formation nor shown as a run: release phases.
    fn others(&self) -> Vec<&Dyno> {
        let of_run = |dyno: &Dyno| dyno.process_type == "run";
        let of_formation = |dyno: &Dyno| {
            self.formation
                .iter()
                .any(|f| f.process_type.as_str() == dyno.process_type)
        };
        self.dynos
            .iter()
            .filter(|dyno| !of_formation(dyno) && !of_run(dyno))
            .collect()
    }
}

async fn overview(session: Session, Path(app): Path<AppName>) -> Result<Overview, PageError> {
    let frame = Frame::fetch(&session, &app, "").await?;
    let client = &session.client;
    let mut events = client.events(&app, &EventFilter::default()).await?;
    events.truncate(EVENTS_SHOWN);
    let mut runs = client.runs(&app).await?;
    runs.truncate(RUNS_SHOWN);
    Ok(Overview {
        volumes: client.volumes(&app).await?,
        jobs: client.jobs(&app).await?,
        metrics: client.metrics(&app).await?,
        runs,
        frame,
        formation: client.formation(&app).await?,
        dynos: client.dynos(&app).await?,
        sizes: client.sizes().await?,
        events,
        deployment: client.deployments(&app).await?.into_iter().next(),
    })
}

/// Events as they come: the page hears that there is one, and asks for itself again.
async fn follow(
    session: Session,
    Path(app): Path<AppName>,
) -> Result<impl IntoResponse, PageError> {
    let filter = EventFilter::default();
    let events = session.client.follow_events(Some(&app), &filter, None);
    Ok(stream::endless(events.await?))
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
        quantity: Some(Quantity::Exactly(form.quantity)),
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
struct Chosen {
    pod: String,
}

async fn restart(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<Chosen>,
) -> Result<Redirect, PageError> {
    session.client.restart(&app, Some(&form.pod)).await?;
    Ok(back_to(&app))
}

async fn stop(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<ChosenRun>,
) -> Result<Redirect, PageError> {
    session.client.stop_run(&app, &form.run).await?;
    Ok(back_to(&app))
}

#[derive(Deserialize)]
struct ChosenRun {
    run: String,
}

#[derive(Deserialize)]
struct ChosenJob {
    job: JobName,
    verb: JobVerb,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum JobVerb {
    Start,
    Suspend,
    Resume,
}

async fn job(
    session: Session,
    Path(app): Path<AppName>,
    Form(form): Form<ChosenJob>,
) -> Result<Redirect, PageError> {
    let (client, job) = (&session.client, form.job.as_str());
    let suspended = match form.verb {
        JobVerb::Start => {
            client.start_job(&app, job).await?;
            return Ok(back_to(&app));
        }
        JobVerb::Suspend => true,
        JobVerb::Resume => false,
    };
    client
        .update_job(&app, job, &JobPatch { suspended })
        .await?;
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
