//! stub
use crate::state::AppState;
/// nf
pub async fn not_found() -> &'static str {
    ""
}
pub(crate) fn router(_state: AppState) -> axum::Router {
    axum::Router::new()
}
