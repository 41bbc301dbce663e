//! Volumes, their snapshots, and config vars that are files.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{delete, get, post, put},
};
use fairway_api::{
    config_vars::{ConfigFile, ConfigFileChange, SetConfigFile},
    names::{ConfigName, ProcessType},
    volumes::{MountAt, MoveVolume, NewVolume, RestoreVolume, Snapshot, Volume, VolumeChange},
};

use super::{
    caller::AppAccess,
    extract::{self, Id, TypeSegment},
};
use crate::{
    problem::{Answer, Problem},
    state::AppState,
    store::apps,
    volumes,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/volumes", get(list).post(create))
        .route("/apps/{app}/volumes/{id}", get(info).delete(destroy))
        .route(
            "/apps/{app}/volumes/{id}/mounts/{type}",
            put(mount).delete(unmount),
        )
        .route("/apps/{app}/volumes/{id}/actions/snapshot", post(snapshot))
        .route("/apps/{app}/volumes/{id}/actions/restore", post(restore))
        .route("/apps/{app}/volumes/{id}/actions/move", post(relocate))
        .route("/apps/{app}/volume-snapshots", get(snapshots))
        .route(
            "/apps/{app}/volume-snapshots/{id}",
            delete(destroy_snapshot),
        )
        .route("/apps/{app}/config-files", get(files))
        .route(
            "/apps/{app}/config-files/{id}",
            put(set_file).delete(unset_file),
        )
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<Volume>>> {
    let mut tx = state.store.read().await?;
    Ok(Json(volumes::list(&state, &mut tx, &app).await?))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Id(which): Id,
) -> Answer<Json<Volume>> {
    let mut tx = state.store.read().await?;
    let row = volumes::find(&mut tx, &app, &which).await?;
    let all = volumes::list(&state, &mut tx, &app).await?.into_iter();
    let mut found = all.filter(|volume| volume.id == row.id);
    found
        .next()
        .map(Json)
        .ok_or_else(|| Problem::not_found("volume"))
}

async fn create(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(new): extract::Json<NewVolume>,
) -> Answer<(StatusCode, Json<VolumeChange>)> {
    let mut tx = state.store.write().await?;
    let app = apps::get(&mut tx, app.id).await?;
    let made = volumes::create(&state, &mut tx, &app, new, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::CREATED, Json(made)))
}

async fn destroy(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
) -> Answer<Json<Volume>> {
    let mut tx = state.store.write().await?;
    let row = volumes::find(&mut tx, &app, &which).await?;
    let destroyed = volumes::destroy(&state, &mut tx, &app, row, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(destroyed))
}

fn process_type(text: &str) -> Answer<ProcessType> {
    text.parse()
        .map_err(|error| Problem::invalid(format!("{error}.")))
}

async fn mount(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
    TypeSegment(name): TypeSegment,
    extract::Json(at): extract::Json<MountAt>,
) -> Answer<Json<VolumeChange>> {
    let mut tx = state.store.write().await?;
    let app = apps::get(&mut tx, app.id).await?;
    let row = volumes::find(&mut tx, &app, &which).await?;
    let at_type = (row, process_type(&name)?);
    let change = volumes::mount(&state, &mut tx, &app, at_type, at, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(change))
}

async fn unmount(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
    TypeSegment(name): TypeSegment,
) -> Answer<Json<VolumeChange>> {
    let mut tx = state.store.write().await?;
    let app = apps::get(&mut tx, app.id).await?;
    let row = volumes::find(&mut tx, &app, &which).await?;
    let at_type = (row, process_type(&name)?);
    let change = volumes::unmount(&state, &mut tx, &app, at_type, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(change))
}

async fn snapshot(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
) -> Answer<(StatusCode, Json<Snapshot>)> {
    let mut tx = state.store.write().await?;
    let row = volumes::find(&mut tx, &app, &which).await?;
    let begun = volumes::begin_snapshot(&mut tx, &app, &row, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

async fn restore(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
    extract::Json(RestoreVolume { snapshot }): extract::Json<RestoreVolume>,
) -> Answer<(StatusCode, Json<Volume>)> {
    let mut tx = state.store.write().await?;
    let row = volumes::find(&mut tx, &app, &which).await?;
    let begun = volumes::begin_restore(&state, &mut tx, &app, (row, snapshot), &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

async fn relocate(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
    extract::Json(MoveVolume { to }): extract::Json<MoveVolume>,
) -> Answer<(StatusCode, Json<Volume>)> {
    let mut tx = state.store.write().await?;
    let row = volumes::find(&mut tx, &app, &which).await?;
    let begun = volumes::begin_move(&state, &mut tx, &app, (row, to), &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

async fn snapshots(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<Snapshot>>> {
    let mut tx = state.store.read().await?;
    Ok(Json(volumes::snapshots(&mut tx, &app).await?))
}

async fn destroy_snapshot(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    id: Id,
) -> Answer<Json<Snapshot>> {
    let id = id.parse("snapshot")?;
    let destroyed = volumes::destroy_snapshot(&state, &app, id, &caller).await?;
    Ok(Json(destroyed))
}

async fn files(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<ConfigFile>>> {
    let mut tx = state.store.read().await?;
    let files = volumes::config_files(&state.secrets, &mut tx, &app).await?;
    Ok(Json(files))
}

fn config_name(text: &str) -> Answer<ConfigName> {
    text.parse()
        .map_err(|error| Problem::invalid(format!("{error}.")))
}

async fn set_file(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(name): Id,
    extract::Json(set): extract::Json<SetConfigFile>,
) -> Answer<Json<ConfigFileChange>> {
    let name = config_name(&name)?;
    let mut tx = state.store.write().await?;
    let app = apps::get(&mut tx, app.id).await?;
    let secrets = &state.secrets;
    let change = volumes::set_config_file(secrets, &mut tx, &app, &name, set, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(change))
}

async fn unset_file(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(name): Id,
) -> Answer<Json<ConfigFileChange>> {
    let name = config_name(&name)?;
    let mut tx = state.store.write().await?;
    let app = apps::get(&mut tx, app.id).await?;
    let change = volumes::unset_config_file(&state.secrets, &mut tx, &app, &name, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(change))
}
