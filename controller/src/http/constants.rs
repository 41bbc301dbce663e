//! What Heroku's clients read about every app and Fairway has exactly one or none of. `heroku info`,
//! `domains:add` and others stop when such a list cannot be read; the true one is short.

use axum::{Json, Router, routing::get};
use chrono::{DateTime, Utc};
use fairway_api::apps::Named;
use serde_json::{Value, json};
use uuid::Uuid;

use super::caller::{AppAccess, User};
use crate::state::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/apps/{app}/addon-attachments", get(none_yet))
        .route("/apps/{app}/addons", get(none_yet))
        // Buildpacks are found by looking at the code.
        .route("/apps/{app}/buildpack-installations", get(none_yet))
        .route("/apps/{app}/collaborators", get(collaborators))
        .route("/apps/{app}/log-drains", get(none_yet))
        .route("/apps/{app}/sni-endpoints", get(none_yet))
        .route("/regions", get(regions))
        .route("/stacks", get(stacks))
}

/// The place where everything runs, with an id that stays.
pub(super) fn region() -> Named {
    named(1, "local")
}

/// What every app is built and run on, with an id that stays.
pub(super) fn stack() -> Named {
    named(2, "fairway")
}

fn named(id: u128, name: &str) -> Named {
    Named {
        id: Uuid::from_u128(id),
        name: name.into(),
    }
}

async fn none_yet(_app: AppAccess) -> Json<[(); 0]> {
    Json([])
}

/// An app has its owner and nobody else.
async fn collaborators(AppAccess { app, .. }: AppAccess) -> Json<Value> {
    Json(json!([{
        "id": app.owner.id,
        "app": app.app(),
        "user": { "id": app.owner.id, "email": app.owner.email, "federated": false },
        "role": "owner",
        "permissions": [],
        "created_at": app.created_at,
        "updated_at": app.created_at,
    }]))
}

async fn regions(User(_): User) -> Json<Value> {
    let Named { id, name } = region();
    Json(json!([{
        "id": id,
        "name": name,
        "description": "Here",
        "country": "",
        "locale": "",
        "private_capable": false,
        "provider": { "name": "fairway", "region": name },
        "created_at": DateTime::<Utc>::UNIX_EPOCH,
        "updated_at": DateTime::<Utc>::UNIX_EPOCH,
    }]))
}

async fn stacks(User(_): User) -> Json<Value> {
    let Named { id, name } = stack();
    Json(json!([{
        "id": id,
        "name": name,
        "default": true,
        "state": "public",
        "created_at": DateTime::<Utc>::UNIX_EPOCH,
        "updated_at": DateTime::<Utc>::UNIX_EPOCH,
    }]))
}
