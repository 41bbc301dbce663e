//! The archives of volumes on the controller's disk: `volumes/APP/SNAPSHOT.tar`. An archive has its
//! name only when it is whole and on the platter.

use std::{
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Body;
use fairway_api::{
    error::ErrorId,
    ids::{AppId, SnapshotId, VolumeId},
    names::NodeName,
    volumes::VolumeTask,
};
use futures_util::StreamExt as _;
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
    time::timeout,
};

use super::{own_work, saved};
use crate::{
    problem::{Answer, Problem},
    state::AppState,
};

/// How long a machine may say nothing in the middle of an archive, in seconds.
const QUIET_SECS: u64 = 120;

/// The folder of an app's archives.
fn archives(state: &AppState, app: AppId) -> PathBuf {
    state.config.data_dir.join("volumes").join(app.to_string())
}

fn path(state: &AppState, app: AppId, snapshot: SnapshotId) -> PathBuf {
    archives(state, app).join(format!("{snapshot}.tar"))
}

/// Keeps an archive that a machine sends, as far as it is asked for it.
pub(crate) async fn keep(
    state: &AppState,
    node: &NodeName,
    ids: (VolumeId, SnapshotId),
    body: Body,
) -> Answer<()> {
    let mut read = state.store.read().await?;
    let (row, _, task) = own_work(&mut read, node, ids).await?;
    drop(read);
    if !matches!(task, VolumeTask::Save { .. }) {
        return Err(Problem::conflict(
            "No archive of that volume is asked for now.",
        ));
    }
    let whole = path(state, row.app, ids.1);
    let bytes = write(&whole, body).await?;
    let mut tx = state.store.write().await?;
    // It may have been given up meanwhile.
    let work = own_work(&mut tx, node, ids).await;
    let (row, work, _) = match work {
        Ok(work) => work,
        Err(problem) => {
            remove(state, row.app, ids.1).await;
            return Err(problem);
        }
    };
    saved(&mut tx, &row, &work, bytes).await?;
    tx.commit().await?;
    state.wake.app(row.app);
    Ok(())
}

/// Writes an archive beside its place, then moves it there.
async fn write(whole: &Path, body: Body) -> Answer<u64> {
    let part = whole.with_extension("part");
    let written = async {
        if let Some(folder) = whole.parent() {
            let mut make = std::fs::DirBuilder::new();
            make.recursive(true).mode(0o700).create(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = File::from_std(options.open(&part)?);
        let mut pieces = body.into_data_stream();
        let mut bytes = 0_u64;
        loop {
            let piece = timeout(Duration::from_secs(QUIET_SECS), pieces.next()).await?;
            let Some(piece) = piece else { break };
            let piece = piece.map_err(io::Error::other)?;
            file.write_all(&piece).await?;
            bytes += piece.len() as u64;
        }
        file.flush().await?;
        file.sync_all().await?;
        fs::rename(&part, whole).await?;
        io::Result::Ok(bytes)
    };
    match written.await {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            drop(fs::remove_file(&part).await);
            tracing::error!(path = %whole.display(), "cannot keep an archive: {error}");
            Err(Problem::new(
                ErrorId::Unavailable,
                format!("The controller cannot keep the archive: {error}."),
            )
            .hint("See whether the disk of the controller's machine is full."))
        }
    }
}

/// An archive that a machine is to load.
pub(crate) async fn archive(
    state: &AppState,
    node: &NodeName,
    ids: (VolumeId, SnapshotId),
) -> Answer<File> {
    let mut read = state.store.read().await?;
    let (row, _, task) = own_work(&mut read, node, ids).await?;
    drop(read);
    if !matches!(task, VolumeTask::Load { .. }) {
        return Err(Problem::conflict("That archive is not to be loaded now."));
    }
    let opened = File::open(path(state, row.app, ids.1)).await;
    opened.map_err(|error| {
        tracing::error!(snapshot = %ids.1, "cannot open an archive: {error}");
        Problem::new(
            ErrorId::NotFound,
            "The archive of that snapshot is not there.",
        )
        .hint("Restore from another snapshot.")
    })
}

/// Removes all archives of an app that was destroyed.
pub(crate) async fn forget(state: &AppState, app: AppId) {
    let folder = archives(state, app);
    match fs::remove_dir_all(&folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(path = %folder.display(), "cannot remove archives: {error}");
        }
        _ => {}
    }
}

pub(super) async fn remove(state: &AppState, app: AppId, snapshot: SnapshotId) {
    let path = path(state, app, snapshot);
    match fs::remove_file(&path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(path = %path.display(), "cannot remove an archive: {error}");
        }
        _ => {}
    }
}
