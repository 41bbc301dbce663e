//! Public SSH keys of one's own account.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use fairway_api::keys::{Key, NewKey};

use super::{
    caller::User,
    extract::{self, Id},
};
use crate::{auth::Caller, keys, problem::Answer, state::AppState, store, store::keys::KeyRow};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/account/keys", get(list).post(create))
        .route("/account/keys/{id}", get(info).delete(remove))
}

fn shown(row: KeyRow, caller: &Caller) -> Key {
    let public_key = format!("{} {}", row.public_key, row.comment);
    Key {
        id: row.id,
        fingerprint: row.fingerprint,
        public_key: public_key.trim_end().into(),
        comment: row.comment,
        email: caller.account.email.clone(),
        created_at: row.created_at,
        updated_at: row.created_at,
    }
}

async fn list(State(state): State<AppState>, User(caller): User) -> Answer<Json<Vec<Key>>> {
    let rows = store::keys::list(&mut *state.store.read().await?, caller.id()).await?;
    Ok(Json(
        rows.into_iter().map(|row| shown(row, &caller)).collect(),
    ))
}

async fn create(
    State(state): State<AppState>,
    User(caller): User,
    extract::Json(new): extract::Json<NewKey>,
) -> Answer<(StatusCode, Json<Key>)> {
    let mut tx = state.store.write().await?;
    let row = keys::add(&mut tx, &new.public_key, &caller).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(shown(row, &caller))))
}

async fn info(State(state): State<AppState>, User(caller): User, id: Id) -> Answer<Json<Key>> {
    let row = store::keys::find(&mut *state.store.read().await?, caller.id(), &id.0).await?;
    Ok(Json(shown(row, &caller)))
}

async fn remove(State(state): State<AppState>, User(caller): User, id: Id) -> Answer<Json<Key>> {
    let mut tx = state.store.write().await?;
    let row = keys::remove(&mut tx, &id.0, &caller).await?;
    tx.commit().await?;
    Ok(Json(shown(row, &caller)))
}
