//! What passes between the controller and the other parts of the platform: whole orders out,
//! observations in. No account can call it.

mod attach;
mod builds;
mod git;
mod logs;
mod nodes;
mod routers;
mod sessions;
mod volumes;
mod wanted;

use axum::Router;

use crate::state::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .merge(attach::routes())
        .merge(builds::routes())
        .merge(git::routes())
        .merge(logs::routes())
        .merge(nodes::routes())
        .merge(routers::routes())
        .merge(sessions::routes())
        .merge(volumes::routes())
        .merge(wanted::routes())
}
