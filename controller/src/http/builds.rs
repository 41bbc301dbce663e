//! Builds. They are made by `git push`; here they are read and cancelled.

use axum::{Json, Router, extract::State, response::Response, routing::get};
use fairway_api::{
    apps::AppRef,
    builds::{Build, BuildRelease, SourceBlob},
};

use super::{
    caller::AppAccess,
    extract::Id,
    range::{Column, Order, Range},
    streams,
};
use crate::{
    builds,
    problem::{Answer, Problem},
    state::AppState,
    store::{self, builds::BuildRow},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/builds", get(list).post(create))
        .route("/apps/{app}/builds/{id}", get(info).delete(cancel))
}

const ORDER: Order = Order {
    columns: &[Column::text("id", "builds.id")],
    descending: true,
    rows: 200,
};

fn shown(state: &AppState, app: AppRef, build: BuildRow) -> Answer<Build> {
    Ok(Build {
        output_stream_url: streams::output_url(state, build.id)?,
        id: build.id,
        app,
        status: build.phase.status(),
        phase: build.phase,
        failure: build.failure,
        source_blob: SourceBlob {
            checksum: None,
            url: format!("git push of {}", build.source.branch),
            version: Some(build.source.id.to_string()),
            version_description: Some(build.source.summary),
        },
        user: build.user,
        release: build.release.map(|id| BuildRelease { id }),
        buildpacks: build.result.map(|image| image.buildpacks),
        stack: "fairway".into(),
        created_at: build.created_at,
        updated_at: build.updated_at,
    })
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    range: Range,
) -> Answer<Response> {
    let wanted = range.of(&ORDER)?;
    let rows = store::builds::list(&mut *state.store.read().await?, app.id, wanted.page()).await?;
    let builds = rows.into_iter().map(|row| shown(&state, app.app(), row));
    let builds = builds.collect::<Answer<Vec<_>>>()?;
    Ok(wanted.answer(builds, |build, _| build.id.to_string()))
}

async fn create(State(state): State<AppState>, AppAccess { app, .. }: AppAccess) -> Problem {
    let base = state.config.public_url.as_str().trim_end_matches('/');
    Problem::invalid("Builds from source blobs are not supported yet.").hint(format!(
        "Push with git: git push {base}/{}.git HEAD:main",
        app.name
    ))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    id: Id,
) -> Answer<Json<Build>> {
    let mut tx = state.store.read().await?;
    let build = builds::of_app(&mut tx, app.id, id.parse("build")?).await?;
    Ok(Json(shown(&state, app.app(), build)?))
}

async fn cancel(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    id: Id,
) -> Answer<Json<Build>> {
    let build = builds::cancel(&state, app.id, id.parse("build")?, &caller).await?;
    Ok(Json(shown(&state, app.app(), build)?))
}
