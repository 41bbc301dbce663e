//! Apps.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::get};
use fairway_api::apps::{App, AppPatch, Named, NewApp};
use uuid::Uuid;

use super::{
    caller::{AppAccess, User},
    extract,
    range::{Column, Order, Range},
};
use crate::{
    apps,
    problem::Answer,
    state::AppState,
    store::{self, Db, apps::AppRow},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps", get(list).post(create))
        .route("/apps/{app}", get(info).patch(update).delete(destroy))
}

const ORDER: Order = Order {
    columns: &[
        Column::text("id", "apps.id"),
        Column::text("name", "apps.name"),
    ],
    descending: false,
    rows: 1_000,
};

/// Fairway runs in one place and has one stack; the Platform API wants both named, with an id that
/// stays.
fn named(id: u128, name: &str) -> Named {
    Named {
        id: Uuid::from_u128(id),
        name: name.into(),
    }
}

/// An app as the Platform API shows it.
pub(super) fn shown(state: &AppState, app: AppRow, slug_size: Option<u64>) -> App {
    let config = &state.config;
    let base = config.public_url.as_str().trim_end_matches('/');
    let ssh_port = if config.ssh_port == 22 {
        String::new()
    } else {
        format!(":{}", config.ssh_port)
    };
    App {
        git_url: format!("{base}/{}.git", app.name),
        git_ssh_url: format!("ssh://git@{}{ssh_port}/{}.git", config.ssh_host, app.name),
        web_url: config.web_url(&app.name),
        region: named(1, "local"),
        build_stack: named(2, "fairway"),
        stack: named(2, "fairway"),
        repo_size: None,
        slug_size,
        buildpack_provided_description: None,
        archived_at: None,
        id: app.id,
        name: app.name,
        owner: app.owner,
        maintenance: app.maintenance,
        deploy_branch: app.deploy_branch,
        created_at: app.created_at,
        updated_at: app.updated_at,
        released_at: app.released_at,
    }
}

/// The same with the size of what is live.
async fn shown_whole(state: &AppState, db: &mut Db, app: AppRow) -> Answer<App> {
    let image = match app.current_release {
        Some(id) => store::releases::get(db, id).await?.image,
        None => None,
    };
    Ok(shown(state, app, image.map(|image| image.size_bytes)))
}

async fn list(State(state): State<AppState>, User(caller): User, range: Range) -> Answer<Response> {
    let wanted = range.of(&ORDER)?;
    let owner = (!caller.account.is_admin()).then(|| caller.id());
    let mut tx = state.store.read().await?;
    let rows = store::apps::list(&mut tx, owner, wanted.page()).await?;
    let apps = rows
        .into_iter()
        .map(|row| shown(&state, row, None))
        .collect();
    Ok(wanted.answer(apps, |app: &App, column| match column {
        "name" => app.name.to_string(),
        _ => app.id.to_string(),
    }))
}

async fn create(
    State(state): State<AppState>,
    User(caller): User,
    extract::Json(new): extract::Json<NewApp>,
) -> Answer<(StatusCode, Json<App>)> {
    let mut tx = state.store.write().await?;
    let app = apps::create(&state, &mut tx, &caller.user(), new.name).await?;
    tx.commit().await?;
    state.wake.notify();
    Ok((StatusCode::CREATED, Json(shown(&state, app, None))))
}

async fn info(State(state): State<AppState>, access: AppAccess) -> Answer<Json<App>> {
    let mut tx = state.store.read().await?;
    Ok(Json(shown_whole(&state, &mut tx, access.app).await?))
}

async fn update(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(patch): extract::Json<AppPatch>,
) -> Answer<Json<App>> {
    let mut tx = state.store.write().await?;
    let app = apps::update(&state, &mut tx, app.id, patch, &caller).await?;
    let shown = shown_whole(&state, &mut tx, app).await?;
    tx.commit().await?;
    state.wake.notify();
    Ok(Json(shown))
}

async fn destroy(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
) -> Answer<Json<App>> {
    let mut tx = state.store.write().await?;
    let builds = store::builds::ids(&mut tx, app.id).await?;
    apps::destroy(&mut tx, &app.app(), &caller).await?;
    tx.commit().await?;
    apps::forget(&state, app.id, builds).await;
    Ok(Json(shown(&state, app, None)))
}
