//! Accounts: one's own, and, for admins, everybody's.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{delete, get},
};
use fairway_api::accounts::{Account, NewAccount, PasswordChange, RemoveAccount};

use super::{
    caller::{Admin, User},
    extract::{self, Id},
};
use crate::{accounts, problem::Answer, state::AppState, store};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/account", get(info).patch(update))
        .route("/users", get(list).post(create))
        .route("/users/{id}", delete(remove))
}

async fn info(User(caller): User) -> Json<Account> {
    Json(caller.account.into())
}

async fn update(
    State(state): State<AppState>,
    User(caller): User,
    extract::Json(change): extract::Json<PasswordChange>,
) -> Answer<Json<Account>> {
    accounts::change_password(&state, &caller, change).await?;
    Ok(Json(
        store::accounts::get(&mut *state.store.read().await?, caller.id())
            .await?
            .into(),
    ))
}

async fn list(State(state): State<AppState>, Admin(_): Admin) -> Answer<Json<Vec<Account>>> {
    let rows = store::accounts::list(&mut *state.store.read().await?).await?;
    Ok(Json(rows.into_iter().map(Account::from).collect()))
}

async fn create(
    State(state): State<AppState>,
    Admin(caller): Admin,
    extract::Json(new): extract::Json<NewAccount>,
) -> Answer<(StatusCode, Json<Account>)> {
    let account = accounts::create(&state, new, caller.account.email.as_str()).await?;
    Ok((StatusCode::CREATED, Json(account.into())))
}

async fn remove(
    State(state): State<AppState>,
    Admin(caller): Admin,
    Id(which): Id,
    extract::Json(remove): extract::Json<RemoveAccount>,
) -> Answer<Json<Account>> {
    let account = accounts::remove(&state, &caller, &which, remove.transfer_to).await?;
    Ok(Json(account.into()))
}
