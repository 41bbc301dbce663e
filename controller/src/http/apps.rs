//! Apps.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::get};
use fairway_api::{
    apps::{App, AppPatch, NewApp},
    ids::UserId,
};

use super::{
    caller::{AppAccess, User},
    constants,
    extract::{self, Id},
    range::{Column, Order, Range},
};
use crate::{
    apps,
    problem::{Answer, Problem},
    state::AppState,
    store::{self, Db, apps::AppRow},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps", get(list).post(create))
        .route("/users/{id}/apps", get(list_of_user))
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
        region: constants::region(),
        build_stack: constants::stack(),
        stack: constants::stack(),
        repo_size: app.repository_bytes,
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

/// All that the caller may see.
async fn list(State(state): State<AppState>, User(caller): User, range: Range) -> Answer<Response> {
    let owner = (!caller.account.is_admin()).then(|| caller.id());
    list_of(&state, owner, &range).await
}

/// Those of one account; `~` is the caller's own. For all but admins there are no others.
async fn list_of_user(
    State(state): State<AppState>,
    User(caller): User,
    Id(user): Id,
    range: Range,
) -> Answer<Response> {
    let owner = if user == "~" {
        caller.id()
    } else {
        let accounts = store::accounts::list(&mut *state.store.read().await?).await?;
        let mut visible = accounts
            .into_iter()
            .filter(|account| caller.account.is_admin() || account.id == caller.id());
        let found = visible.find(|account| {
            account.email.as_str().eq_ignore_ascii_case(&user) || account.id.to_string() == user
        });
        found.ok_or_else(|| Problem::not_found("account"))?.id
    };
    list_of(&state, Some(owner), &range).await
}

async fn list_of(state: &AppState, owner: Option<UserId>, range: &Range) -> Answer<Response> {
    let wanted = range.of(&ORDER)?;
    let mut tx = state.store.read().await?;
    let rows = store::apps::list(&mut tx, owner, wanted.page()).await?;
    let apps = rows
        .into_iter()
        .map(|row| shown(state, row, None))
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
    state.wake.app(app.id);
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
    let (id, app) = (
        app.id,
        apps::update(&state, &mut tx, app.id, patch, &caller).await?,
    );
    let shown = shown_whole(&state, &mut tx, app).await?;
    tx.commit().await?;
    state.wake.app(id);
    Ok(Json(shown))
}

async fn destroy(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
) -> Answer<Json<App>> {
    let mut tx = state.store.write().await?;
    let builds = store::builds::ids(&mut tx, app.id).await?;
    let message = format!("App {} was destroyed.", app.name);
    let actor = caller.account.email.as_str();
    apps::destroy(&mut tx, &app.app(), actor, &message).await?;
    tx.commit().await?;
    apps::forget(&state, app.id, builds).await;
    Ok(Json(shown(&state, app, None)))
}
