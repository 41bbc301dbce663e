//! stub
use crate::state::AppState;
use tokio_util::sync::CancellationToken;
#[derive(Debug, Default)]
pub(crate) struct Leases;
pub(crate) async fn sweep(_state: &AppState, shutdown: &CancellationToken) {
    shutdown.cancelled().await;
}
