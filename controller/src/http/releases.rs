//! Releases, and going back to one.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::get};
use fairway_api::releases::{Release, Rollback};

use super::{
    caller::AppAccess,
    extract::{self, Id},
    range::{Column, Order, Range},
};
use crate::{
    deploy,
    problem::Answer,
    releases,
    state::AppState,
    store::{self, apps::AppRow, releases::ReleaseRow},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/releases", get(list).post(roll_back))
        .route("/apps/{app}/releases/{id}", get(info))
}

const ORDER: Order = Order {
    columns: &[
        Column::number("version", "releases.version"),
        Column::text("id", "releases.id"),
    ],
    descending: true,
    rows: 200,
};

fn shown(app: &AppRow, release: ReleaseRow) -> Release {
    let eligible_for_rollback = deploy::can_return_to(&release).is_ok();
    let (image, processes) = release
        .image
        .map(|built| (built.image, built.processes))
        .unzip();
    let processes = processes.unwrap_or_default().into_iter();
    Release {
        current: app.current_release == Some(release.id),
        eligible_for_rollback,
        id: release.id,
        app: app.app(),
        version: release.version,
        description: release.description,
        status: release.status,
        user: release.user,
        addon_plan_names: Vec::new(),
        slug: None,
        output_stream_url: None,
        image: image.map(|image| image.digest),
        commit: release.commit,
        config_version: release.config_version,
        process_types: processes
            .map(|(name, process)| (name, process.command_line))
            .collect(),
        failure: release.failure,
        created_at: release.created_at,
        updated_at: release.updated_at,
    }
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    range: Range,
) -> Answer<Response> {
    let wanted = range.of(&ORDER)?;
    let mut tx = state.store.read().await?;
    let rows = store::releases::list(&mut tx, app.id, wanted.page()).await?;
    let releases = rows.into_iter().map(|row| shown(&app, row)).collect();
    Ok(
        wanted.answer(releases, |release: &Release, column| match column {
            "version" => release.version.to_string(),
            _ => release.id.to_string(),
        }),
    )
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    id: Id,
) -> Answer<Json<Release>> {
    let release = releases::find(&mut *state.store.read().await?, &app, &id.0).await?;
    Ok(Json(shown(&app, release)))
}

async fn roll_back(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(rollback): extract::Json<Rollback>,
) -> Answer<(StatusCode, Json<Release>)> {
    let mut tx = state.store.write().await?;
    let to = releases::find(&mut tx, &app, &rollback.release).await?;
    let release = releases::roll_back(&state.secrets, &mut tx, app.id, &to, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::CREATED, Json(shown(&app, release))))
}
