//! What happened to an app.

use axum::{Router, extract::State, response::Response, routing::get};

use super::{
    caller::AppAccess,
    range::{Column, Order, Range},
};
use crate::{problem::Answer, state::AppState, store::events};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/apps/{app}/events", get(list))
}

const ORDER: Order = Order {
    columns: &[Column::text("id", "id")],
    descending: true,
    rows: 200,
};

async fn list(
    State(state): State<AppState>,
    AppAccess { app, .. }: AppAccess,
    range: Range,
) -> Answer<Response> {
    let wanted = range.of(&ORDER)?;
    let events = events::list(&mut *state.store.read().await?, app.id, wanted.page()).await?;
    Ok(wanted.answer(events, |event, _| event.id.to_string()))
}
