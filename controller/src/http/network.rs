//! Rules between apps on the pod network, and names of things outside.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{delete, get, put},
};
use fairway_api::{
    names::ServiceName,
    network::DNS_SUFFIX,
    reach::{ExternalNameInfo, NetworkRule, NewExternalName, NewNetworkRule},
};

use super::{
    caller::AppAccess,
    extract::{self, Id},
};
use crate::{
    problem::{Answer, Problem},
    reach,
    state::AppState,
    store::{
        apps::AppRow,
        network::{self, ExternalNameRow},
    },
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/network", get(rules).post(allow))
        .route("/apps/{app}/network/{id}", delete(deny))
        .route("/apps/{app}/external-names", get(names))
        .route("/apps/{app}/external-names/{id}", put(set).delete(remove))
}

async fn rules(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<NetworkRule>>> {
    let rules = network::rules_of(&mut *state.store.read().await?, app.id).await?;
    Ok(Json(rules))
}

async fn allow(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(new): extract::Json<NewNetworkRule>,
) -> Answer<(StatusCode, Json<NetworkRule>)> {
    let mut tx = state.store.write().await?;
    let rule = reach::allow(&mut tx, &app.app(), &new, &caller).await?;
    tx.commit().await?;
    state.wake.app(rule.to.id);
    Ok((StatusCode::CREATED, Json(rule)))
}

async fn deny(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
) -> Answer<Json<NetworkRule>> {
    let mut tx = state.store.write().await?;
    let rule = reach::deny(&mut tx, &app.app(), &which, &caller).await?;
    tx.commit().await?;
    state.wake.app(rule.to.id);
    Ok(Json(rule))
}

fn shown(app: &AppRow, row: ExternalNameRow) -> ExternalNameInfo {
    ExternalNameInfo {
        dns: format!("{}.{}.{DNS_SUFFIX}", row.name.name, app.name),
        name: row.name.name,
        target: row.name.target,
        created_at: row.created_at,
    }
}

async fn names(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
) -> Answer<Json<Vec<ExternalNameInfo>>> {
    let rows = network::external_names_of(&mut *state.store.read().await?, app.id).await?;
    Ok(Json(rows.into_iter().map(|row| shown(&app, row)).collect()))
}

async fn set(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(name): Id,
    extract::Json(new): extract::Json<NewExternalName>,
) -> Answer<Json<ExternalNameInfo>> {
    let name: ServiceName = name
        .parse()
        .map_err(|error| Problem::invalid(format!("{error}.")))?;
    let mut tx = state.store.write().await?;
    let row = reach::set_external_name(&mut tx, &app.app(), name, new, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(shown(&app, row)))
}

async fn remove(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(name): Id,
) -> Answer<Json<ExternalNameInfo>> {
    let mut tx = state.store.write().await?;
    let row = reach::remove_external_name(&mut tx, &app.app(), &name, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(shown(&app, row)))
}
