//! Calls of a router. Log lines go in by [`Client::send_logs`].

use std::time::Duration;

use reqwest::Method;

use super::{Client, ClientError};
use crate::{
    names::RouterName,
    nodes::LONG_POLL_SECS,
    routes::{RouteUpdate, RouterStatus, WakeNotice},
};

impl Client {
    /// Waits for a table newer than generation `after`; `None` when there was none for
    /// [`LONG_POLL_SECS`]. With `changes` what is different in it may come alone.
    pub async fn route_table(
        &self,
        router: &RouterName,
        after: u64,
        changes: bool,
    ) -> Result<Option<RouteUpdate>, ClientError> {
        let path = format!("/internal/routers/{router}/table?after={after}&changes={changes}");
        self.poll(
            self.request(Method::GET, &path),
            Duration::from_secs(LONG_POLL_SECS),
        )
        .await
    }

    /// Acknowledges a table and reports what still drains.
    pub async fn report_router(&self, status: &RouterStatus) -> Result<(), ClientError> {
        self.tell(
            Method::POST,
            &format!("/internal/routers/{}/status", status.router),
            status,
        )
        .await
    }

    /// Says that apps have requests and no pod.
    pub async fn wake_apps(
        &self,
        router: &RouterName,
        notice: &WakeNotice,
    ) -> Result<(), ClientError> {
        let path = format!("/internal/routers/{router}/wake");
        self.tell(Method::POST, &path, notice).await
    }
}
