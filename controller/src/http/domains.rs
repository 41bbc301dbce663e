//! Hostnames of apps.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::get};
use fairway_api::domains::{Domain, DomainKind, NewDomain};

use super::{
    caller::AppAccess,
    extract::{self, Id},
    range::{Column, Order, Range},
};
use crate::{
    domains,
    problem::Answer,
    state::AppState,
    store::{self, apps::AppRow, domains::DomainRow},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/domains", get(list).post(create))
        .route("/apps/{app}/domains/{id}", get(info).delete(remove))
}

const ORDER: Order = Order {
    columns: &[
        Column::text("hostname", "hostname"),
        Column::text("id", "id"),
    ],
    descending: false,
    rows: 1_000,
};

fn shown(state: &AppState, app: &AppRow, domain: DomainRow) -> Domain {
    let custom = domain.kind == DomainKind::Custom;
    Domain {
        id: domain.id,
        app: app.app(),
        hostname: domain.hostname,
        kind: domain.kind,
        cname: custom.then(|| format!("{}.{}", app.name, state.config.base_domain)),
        status: "none".into(),
        acm_status: None,
        acm_status_reason: None,
        created_at: domain.created_at,
        updated_at: domain.created_at,
    }
}

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    range: Range,
) -> Answer<Response> {
    let wanted = range.of(&ORDER)?;
    let rows = store::domains::list(&mut *state.store.read().await?, app.id, wanted.page()).await?;
    let domains = rows
        .into_iter()
        .map(|row| shown(&state, &app, row))
        .collect();
    Ok(
        wanted.answer(domains, |domain: &Domain, column| match column {
            "hostname" => domain.hostname.to_string(),
            _ => domain.id.to_string(),
        }),
    )
}

async fn create(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    extract::Json(new): extract::Json<NewDomain>,
) -> Answer<(StatusCode, Json<Domain>)> {
    let mut tx = state.store.write().await?;
    let base = &state.config.base_domain;
    let domain = domains::claim(&mut tx, &app.app(), new.hostname, base, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok((StatusCode::CREATED, Json(shown(&state, &app, domain))))
}

async fn info(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    Id(which): Id,
) -> Answer<Json<Domain>> {
    let domain = domains::find(&mut *state.store.read().await?, app.id, &which).await?;
    Ok(Json(shown(&state, &app, domain)))
}

async fn remove(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    Id(which): Id,
) -> Answer<Json<Domain>> {
    let mut tx = state.store.write().await?;
    let domain = domains::release(&mut tx, &app.app(), &which, &caller).await?;
    tx.commit().await?;
    state.wake.app(app.id);
    Ok(Json(shown(&state, &app, domain)))
}
