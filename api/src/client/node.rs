//! Calls of a node's agent.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use reqwest::Method;

use super::{ByteStream, Client, ClientError};
use crate::{
    ids::{SnapshotId, VolumeId},
    logs::LogLine,
    names::NodeName,
    nodes::{LONG_POLL_SECS, NodePlan, NodeStatus, StatusAnswer},
    volumes::VolumeTaskEnd,
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
    pub async fn report_node(&self, status: &NodeStatus) -> Result<StatusAnswer, ClientError> {
        let path = format!("/internal/nodes/{}/status", status.node);
        let request = self.request(Method::POST, &path).json(status);
        // A controller that has no answer says nothing of the newest plan.
        let answer = self.poll(request, Duration::ZERO).await?;
        Ok(answer.unwrap_or_default())
    }

    /// Sends an archive of a volume, however long it takes.
    pub async fn save_volume(
        &self,
        node: &NodeName,
        (volume, snapshot): (VolumeId, SnapshotId),
        archive: impl Stream<Item = std::io::Result<Bytes>> + Send + Sync + 'static,
    ) -> Result<(), ClientError> {
        let path = snapshot_path(node, volume, snapshot);
        let body = reqwest::Body::wrap_stream(archive);
        let request = self.request(Method::PUT, &path).body(body);
        self.send(request).await.map(drop)
    }

    /// Gets an archive of a volume.
    pub async fn load_volume(
        &self,
        node: &NodeName,
        (volume, snapshot): (VolumeId, SnapshotId),
    ) -> Result<ByteStream, ClientError> {
        let path = snapshot_path(node, volume, snapshot);
        let response = self.send(self.request(Method::GET, &path)).await?;
        let client = self.clone();
        let bytes = response.bytes_stream();
        Ok(Box::pin(
            bytes.map_err(move |source| client.unreachable(source)),
        ))
    }

    /// Says how an order about a volume ended.
    pub async fn end_volume_task(
        &self,
        node: &NodeName,
        (volume, snapshot): (VolumeId, SnapshotId),
        end: &VolumeTaskEnd,
    ) -> Result<(), ClientError> {
        let path = snapshot_path(node, volume, snapshot);
        self.tell(Method::POST, &path, end).await
    }

    /// Hands in log lines, at most [`crate::logs::LOG_BATCH_LINES_MAX`].
    pub async fn send_logs(&self, lines: &[LogLine]) -> Result<(), ClientError> {
        self.tell(Method::POST, "/internal/logs", &lines).await
    }
}

fn snapshot_path(node: &NodeName, volume: VolumeId, snapshot: SnapshotId) -> String {
    format!("/internal/nodes/{node}/volumes/{volume}/snapshots/{snapshot}")
}
