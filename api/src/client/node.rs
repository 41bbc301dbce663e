//! Calls of a node's agent.

use std::time::Duration;

use reqwest::Method;

use super::{Client, ClientError};
use crate::{
    logs::LogLine,
    names::NodeName,
    nodes::{LONG_POLL_SECS, NodePlan, NodeStatus},
};

impl Client {
    /// Waits for a plan newer than generation `after`; `None` when there was none for
    /// [`LONG_POLL_SECS`].
    pub async fn node_plan(
        &self,
        node: &NodeName,
        after: u64,
    ) -> Result<Option<NodePlan>, ClientError> {
        let path = format!("/internal/nodes/{node}/plan?after={after}");
        self.poll(
            self.request(Method::GET, &path),
            Duration::from_secs(LONG_POLL_SECS),
        )
        .await
    }

    /// Reports everything that was seen on a node.
    pub async fn report_node(&self, status: &NodeStatus) -> Result<(), ClientError> {
        self.tell(
            Method::POST,
            &format!("/internal/nodes/{}/status", status.node),
            status,
        )
        .await
    }

    /// Hands in log lines, at most [`crate::logs::LOG_BATCH_LINES_MAX`].
    pub async fn send_logs(&self, lines: &[LogLine]) -> Result<(), ClientError> {
        self.tell(Method::POST, "/internal/logs", &lines).await
    }
}
