//! Sessions with pods that run: a command, forwarded ports, copies.

use axum::{
    Json, Router,
    extract::{State, WebSocketUpgrade},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use chrono::TimeDelta;
use fairway_api::{
    ids::AttachId,
    sessions::{NewSession, Session, SessionPod},
};
use serde::Deserialize;

use super::{
    caller::AppAccess,
    extract::{self, DynoSegment, Id, Query},
    streams::{bounded, signed, verify},
};
use crate::{
    attach::End,
    auth::Caller,
    problem::{Answer, Problem},
    sessions::{self, Grant},
    state::AppState,
    store::{accounts, apps, columns::now},
};

/// How long a session's URL can be dialled; for connections of a long forward, a working day and
/// more. Without an open stream the session itself ends a minute after its last.
const URL_VALID: TimeDelta = TimeDelta::days(7);

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/apps/{app}/dynos/{dyno}/sessions", post(create))
}

/// Paths whose URL is its own proof.
pub(super) fn open_routes() -> Router<AppState> {
    Router::new().route("/streams/sessions/{id}", get(open))
}

async fn create(
    State(state): State<AppState>,
    AppAccess { app, caller }: AppAccess,
    DynoSegment(which): DynoSegment,
    extract::Json(new): extract::Json<NewSession>,
) -> Answer<(StatusCode, Json<Session>)> {
    let mut tx = state.store.write().await?;
    let grant = sessions::create(&mut tx, &app, &which, new, &caller).await?;
    let (id, dyno) = (grant.id, pod_of(&grant));
    // First, so that nothing is on the record that was refused for a limit.
    let unused = state.sessions.grant(grant)?;
    tx.commit().await?;
    let url = signed(&state, &path(id), &(), URL_VALID)?.replacen("http", "ws", 1);
    let expires_at = now() + unused;
    let session = Session {
        id,
        dyno,
        url,
        expires_at,
    };
    Ok((StatusCode::CREATED, Json(session)))
}

fn pod_of(grant: &Grant) -> SessionPod {
    SessionPod {
        id: grant.pod,
        name: grant.pod_name.clone(),
    }
}

fn path(id: AttachId) -> String {
    format!("/streams/sessions/{id}")
}

#[derive(Deserialize)]
struct Dialled {
    sig: String,
    port: Option<u16>,
}

async fn open(
    State(state): State<AppState>,
    id: Id,
    Query(dialled): Query<Dialled>,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let id: AttachId = id.parse("session")?;
    let () = verify(&state, &path(id), &dialled.sig)?;
    if let Some(grant) = state.sessions.granted(id) {
        let mut tx = state.store.read().await?;
        let app = apps::get(&mut tx, grant.app).await?;
        let account = accounts::get(&mut tx, grant.account).await?;
        let caller = Caller {
            account,
            token: None,
        };
        if !caller.may_use(&app) {
            return Err(Problem::not_found("app"));
        }
        sessions::still_allowed(&mut tx, &grant).await?;
    }
    let stream = state.sessions.open(id, dialled.port)?;
    Ok(bounded(upgrade).on_upgrade(move |socket| async move {
        let terms = sessions::terms(&stream.node);
        state
            .attach
            .join(stream.id, End::User, socket, &terms)
            .await;
    }))
}
