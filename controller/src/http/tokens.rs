//! API tokens: the Platform API's `oauth-authorization`.

use axum::{
    Json, Router,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    routing::{get, post},
};
use fairway_api::accounts::{NewToken, Token};

use super::{
    caller::{self, User},
    extract::{self, Id},
};
use crate::{
    auth::{self, Caller, Presented},
    problem::{Answer, Problem},
    state::AppState,
    store::{self, columns::now},
    tokens,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/oauth/authorizations", get(list))
        .route("/oauth/authorizations/{id}", get(info).delete(revoke))
}

/// Whoever wants a first token has only a password to show.
pub(super) fn open_routes() -> Router<AppState> {
    Router::new().route("/oauth/authorizations", post(create))
}

/// An account, proven by a token or by email and password.
struct Proven(Caller);

impl FromRequestParts<AppState> for Proven {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Answer<Self> {
        let presented = caller::presented(parts).ok_or_else(Problem::unauthorized)?;
        let by_token = auth::caller(&state.store, presented.token(), now()).await?;
        if let Some(caller) = by_token {
            return Ok(Self(caller));
        }
        let Presented::Basic { username, password } = presented else {
            return Err(Problem::unauthorized());
        };
        let email = username.parse().map_err(|_| Problem::unauthorized())?;
        let account = state.logins.check(&state.store, &email, &password).await?;
        Ok(Self(Caller {
            account,
            token: None,
        }))
    }
}

async fn create(
    State(state): State<AppState>,
    Proven(caller): Proven,
    extract::Json(new): extract::Json<NewToken>,
) -> Answer<(StatusCode, Json<Token>)> {
    Ok((
        StatusCode::CREATED,
        Json(tokens::create(&state, &caller, new).await?),
    ))
}

async fn list(State(state): State<AppState>, User(caller): User) -> Answer<Json<Vec<Token>>> {
    let rows = store::tokens::list(&mut *state.store.read().await?, caller.id(), now()).await?;
    Ok(Json(
        rows.into_iter()
            .map(|row| tokens::shown(row, &caller))
            .collect(),
    ))
}

async fn info(State(state): State<AppState>, User(caller): User, id: Id) -> Answer<Json<Token>> {
    let id = tokens::named(&id.0, &caller)?;
    let rows = store::tokens::list(&mut *state.store.read().await?, caller.id(), now()).await?;
    let row = rows.into_iter().find(|row| row.id == id);
    let row = row.ok_or_else(|| Problem::not_found("authorization"))?;
    Ok(Json(tokens::shown(row, &caller)))
}

async fn revoke(State(state): State<AppState>, User(caller): User, id: Id) -> Answer<Json<Token>> {
    let id = tokens::named(&id.0, &caller)?;
    let mut tx = state.store.write().await?;
    let row = store::tokens::delete(&mut tx, caller.id(), id).await?;
    tx.commit().await?;
    Ok(Json(tokens::shown(row, &caller)))
}
