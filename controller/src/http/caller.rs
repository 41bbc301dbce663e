//! Who may come in. Nobody by default: each router is closed by a layer of this module, and a
//! handler says by the extractor it takes whom it serves.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{header, request::Parts},
    middleware::Next,
    response::Response,
};
use fairway_api::{
    names::{BuilderName, NodeName, RouterName},
    placement::{ROUTER_LABEL, ROUTER_LABEL_YES},
};

use super::extract;
use crate::{
    auth::{self, Caller, Presented},
    cluster_port::peer::Peer,
    config::Role,
    problem::{Answer, Problem},
    state::AppState,
    store::{
        apps::{self, AppRow},
        columns::now,
    },
};

/// The credential of a request, if it has one that can be read.
pub(crate) fn presented(parts: &Parts) -> Option<Presented> {
    let header = parts.headers.get(header::AUTHORIZATION)?;
    Presented::parse(header.to_str().ok()?)
}

/// Closes the public API to everybody without an account's token.
pub(crate) async fn require_account(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let (mut parts, body) = request.into_parts();
    let presented = presented(&parts).ok_or_else(Problem::unauthorized)?;
    let caller = auth::caller(&state.store, presented.token(), now()).await?;
    parts
        .extensions
        .insert(caller.ok_or_else(Problem::unauthorized)?);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Closes the internal API to everybody but the platform's own parts.
pub(crate) async fn require_role(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let (mut parts, body) = request.into_parts();
    let presented = presented(&parts).ok_or_else(Problem::unauthorized)?;
    match state.roles.role(presented.token()) {
        Some(role) => drop(parts.extensions.insert(role.clone())),
        None if auth::caller(&state.store, presented.token(), now())
            .await?
            .is_some() =>
        {
            return Err(Problem::forbidden(
                "Accounts have no access to the internal API.",
            ));
        }
        None => return Err(Problem::unauthorized()),
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Any account.
#[derive(Debug)]
pub(crate) struct User(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Answer<Self> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Self).ok_or_else(Problem::unauthorized)
    }
}

/// An admin's account.
#[derive(Debug)]
pub(crate) struct Admin(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let User(caller) = User::from_request_parts(parts, state).await?;
        if caller.account.is_admin() {
            Ok(Self(caller))
        } else {
            Err(Problem::forbidden("Only admins may do this.")
                .hint("Ask an admin of this Fairway."))
        }
    }
}

/// The app named `{app}` in the path, and an account that may see and change it. For anybody else
/// the app does not exist.
#[derive(Debug)]
pub(crate) struct AppAccess {
    pub app: AppRow,
    pub caller: Caller,
}

impl FromRequestParts<AppState> for AppAccess {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Answer<Self> {
        let User(caller) = User::from_request_parts(parts, state).await?;
        let which = extract::segment(parts, state, "app").await?;
        let app = apps::find(&mut *state.store.read().await?, &which).await?;
        if caller.may_use(&app) {
            Ok(Self { app, caller })
        } else {
            Err(Problem::not_found("app"))
        }
    }
}

/// Any part of the platform.
#[derive(Debug)]
pub(crate) struct AnyRole(pub Role);

impl<S: Send + Sync> FromRequestParts<S> for AnyRole {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Answer<Self> {
        parts
            .extensions
            .get::<Role>()
            .cloned()
            .map(Self)
            .ok_or_else(Problem::unauthorized)
    }
}

/// A builder.
#[derive(Debug)]
pub(crate) struct BuilderRole(pub BuilderName);

impl<S: Send + Sync> FromRequestParts<S> for BuilderRole {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match AnyRole::from_request_parts(parts, state).await? {
            AnyRole(Role::Builder(name)) => Ok(Self(name)),
            _ => Err(Problem::forbidden("Only builders may do this.")),
        }
    }
}

/// The agent of a node, any node's.
#[derive(Debug)]
pub(crate) struct NodeRole(pub NodeName);

impl<S: Send + Sync> FromRequestParts<S> for NodeRole {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match AnyRole::from_request_parts(parts, state).await? {
            AnyRole(Role::Node(name)) => Ok(Self(name)),
            _ => Err(Problem::forbidden("Only nodes may do this.")),
        }
    }
}

/// The node named `{name}` in the path, calling for itself.
#[derive(Debug)]
pub(crate) struct OwnNode(pub NodeName);

impl<S: Send + Sync> FromRequestParts<S> for OwnNode {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let NodeRole(name) = NodeRole::from_request_parts(parts, state).await?;
        if extract::segment(parts, state, "name").await? == name.as_str() {
            Ok(Self(name))
        } else {
            Err(Problem::forbidden("A node may only act for itself."))
        }
    }
}

/// The router named `{name}` in the path, calling for itself. The router of a machine that joined has
/// the machine's name and certificate.
#[derive(Debug)]
pub(crate) struct OwnRouter(pub RouterName);

impl FromRequestParts<AppState> for OwnRouter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Answer<Self> {
        let AnyRole(role) = AnyRole::from_request_parts(parts, state).await?;
        let named = extract::segment(parts, state, "name").await?;
        match (role, parts.extensions.get::<Peer>()) {
            (Role::Router(name), _) if name.as_str() == named => Ok(Self(name)),
            (Role::Node(name), Some(peer)) if name.as_str() == named => {
                if state.members.may_route(peer.id) {
                    let name = named.parse();
                    return name.map(Self).map_err(|_| Problem::not_found("router"));
                }
                Err(
                    Problem::forbidden(format!("No router may run on {name}.")).hint(format!(
                        "If it should: fairway nodes:label {name} {ROUTER_LABEL}={ROUTER_LABEL_YES}"
                    )),
                )
            }
            (Role::Router(_), _) | (Role::Node(_), Some(_)) => {
                Err(Problem::forbidden("A router may only act for itself."))
            }
            _ => Err(Problem::forbidden("Only routers may do this.")),
        }
    }
}
