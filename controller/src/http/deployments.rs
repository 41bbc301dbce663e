//! Deployments: how the next ones go, where those under way stand, and what is asked of them.

use axum::{
    Json, Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use fairway_api::deployments::{Deployment, Strategy, WishKind};

use super::{
    caller::AppAccess,
    extract::{self, ActionSegment, Id},
    range::{Column, Order, Range},
};
use crate::{
    deployments,
    problem::{Answer, Problem},
    state::AppState,
    store,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/deployments", get(list))
        .route("/apps/{app}/deployments/{id}", get(info))
        .route("/apps/{app}/deployments/{id}/actions/{action}", post(ask))
        .route(
            "/apps/{app}/deploy-strategy",
            get(strategy).put(set_strategy).delete(unset_strategy),
        )
}

const ORDER: Order = Order {
    columns: &[Column::text("id", "deployments.id")],
    descending: true,
    rows: 200,
};

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    range: Range,
) -> Answer<Response> {
    let wanted = range.of(&ORDER)?;
    let mut tx = state.store.read().await?;
    let mut all = vec![];
    for row in store::deployments::list(&mut tx, app.id, wanted.page()).await? {
        all.push(deployments::shown(&mut tx, row).await?);
    }
    Ok(wanted.answer(all, |it: &Deployment, _| it.id.to_string()))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Id(which): Id,
) -> Answer<Json<Deployment>> {
    let mut tx = state.store.read().await?;
    let row = deployments::find(&mut tx, &app, &which).await?;
    Ok(Json(deployments::shown(&mut tx, row).await?))
}

async fn ask(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
    ActionSegment(action): ActionSegment,
) -> Answer<Json<Deployment>> {
    let kind: WishKind = action.parse().map_err(|()| {
        Problem::not_found("action").hint("Actions are pause, resume, promote and abort.")
    })?;
    let mut tx = state.store.write().await?;
    let row = deployments::find(&mut tx, &app, &which).await?;
    let row = deployments::ask(&state.secrets, &mut tx, &app, &row, kind, &caller).await?;
    let shown = deployments::shown(&mut tx, row).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(shown))
}

async fn strategy(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Strategy>> {
    let mut tx = state.store.read().await?;
    Ok(Json(deployments::strategy(&mut tx, &app).await?))
}

async fn unset_strategy(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
) -> Answer<Json<Strategy>> {
    let mut tx = state.store.write().await?;
    deployments::unset_strategy(&mut tx, &app, &caller).await?;
    let strategy = deployments::strategy(&mut tx, &app).await?;
    tx.commit().await?;
    Ok(Json(strategy))
}

async fn set_strategy(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(strategy): extract::Json<Strategy>,
) -> Answer<Json<Strategy>> {
    let mut tx = state.store.write().await?;
    deployments::set_strategy(&mut tx, &app, &strategy, &caller).await?;
    tx.commit().await?;
    Ok(Json(strategy))
}
