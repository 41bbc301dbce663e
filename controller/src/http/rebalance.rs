//! Moving pods to better machines, for operators.

use std::collections::BTreeMap;

use axum::{Json, Router, extract::State, routing::get};
use fairway_api::{
    apps::AppRef,
    ids::AppId,
    rebalance::{MoveGain, PlannedMove, Rebalance},
};
use fairway_scheduler::{
    rebalance::{Gain, Move},
    snapshot::App,
};

use super::caller::Admin;
use crate::{
    problem::Answer,
    reconcile::rebalance,
    state::AppState,
    store::{columns::now, events},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/rebalance", get(plan).post(ask))
}

async fn plan(State(state): State<AppState>, _: Admin) -> Answer<Json<Rebalance>> {
    let (snapshot, moves) = rebalance::planned(&state, now()).await?;
    let moves = moves.into_iter();
    Ok(Json(Rebalance {
        enabled: snapshot.policy.rebalance,
        moves: moves.filter_map(|it| shown(&snapshot.apps, it)).collect(),
    }))
}

async fn ask(State(state): State<AppState>, Admin(caller): Admin) -> Answer<Json<Rebalance>> {
    let planned = plan(State(state.clone()), Admin(caller.clone())).await?;
    let mut tx = state.store.write().await?;
    let who = caller.account.email.as_str();
    let message = "Pods move to better machines for an hour.";
    events::record(&mut tx, None, who, "nodes.rebalanced", message).await?;
    tx.commit().await?;
    state.wake.rebalance();
    Ok(planned)
}

fn shown(apps: &BTreeMap<AppId, App>, it: Move) -> Option<PlannedMove> {
    let app = apps.get(&it.app)?;
    Some(PlannedMove {
        app: AppRef {
            id: app.id,
            name: app.name.clone(),
        },
        pod: it.name,
        process_type: it.process_type,
        from: it.from,
        to: it.to,
        why: match it.why {
            Gain::Rule => MoveGain::Rule,
            Gain::Spread => MoveGain::Spread,
            Gain::Load => MoveGain::Load,
        },
    })
}
