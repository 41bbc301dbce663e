//! Archives of volumes, from the machines that have them and back.

use axum::{Json, Router, body::Body, extract::State, http::StatusCode, routing::get};
use fairway_api::{
    ids::{SnapshotId, VolumeId},
    volumes::VolumeTaskEnd,
};
use tokio_util::io::ReaderStream;

use crate::{
    http::{
        caller::OwnNode,
        extract::{self, Id, SnapshotSegment},
    },
    problem::Answer,
    state::AppState,
    volumes,
};

/// How much of an archive is read at a time, in bytes.
const PIECE_BYTES: usize = 128 * 1024;

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().route(
        "/internal/nodes/{name}/volumes/{id}/snapshots/{snapshot}",
        get(load).put(save).post(end),
    )
}

fn ids(volume: &Id, SnapshotSegment(snapshot): SnapshotSegment) -> Answer<(VolumeId, SnapshotId)> {
    Ok((volume.parse("volume")?, Id(snapshot).parse("snapshot")?))
}

async fn save(
    State(state): State<AppState>,
    OwnNode(node): OwnNode,
    volume: Id,
    snapshot: SnapshotSegment,
    body: Body,
) -> Answer<StatusCode> {
    let ids = ids(&volume, snapshot)?;
    volumes::keep_archive(&state, &node, ids, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn load(
    State(state): State<AppState>,
    OwnNode(node): OwnNode,
    volume: Id,
    snapshot: SnapshotSegment,
) -> Answer<Body> {
    let file = volumes::archive(&state, &node, ids(&volume, snapshot)?).await?;
    Ok(Body::from_stream(ReaderStream::with_capacity(
        file,
        PIECE_BYTES,
    )))
}

async fn end(
    State(state): State<AppState>,
    OwnNode(node): OwnNode,
    volume: Id,
    snapshot: SnapshotSegment,
    extract::Json(VolumeTaskEnd { failure }): extract::Json<VolumeTaskEnd>,
) -> Answer<Json<serde_json::Value>> {
    volumes::end_task(&state, &node, ids(&volume, snapshot)?, failure).await?;
    Ok(Json(serde_json::json!({})))
}
