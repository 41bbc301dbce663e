//! Snapshots of volumes. Their archives are files, not rows.

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, SnapshotId, VolumeId},
    names::VolumeName,
    volumes::SnapshotState,
};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, micros, number, word},
};

/// A snapshot as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    pub id: SnapshotId,
    pub app: AppId,
    pub volume: VolumeId,
    pub volume_name: VolumeName,
    pub state: SnapshotState,
    pub failure: Option<String>,
    pub bytes: Option<u64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl SnapshotRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            volume: row.parsed("volume_id")?,
            volume_name: row.parsed("volume_name")?,
            state: row.word("state")?,
            failure: row.text_opt("failure")?,
            bytes: row.number_opt("bytes")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// Adds a snapshot.
pub async fn insert(db: &mut Db, row: &SnapshotRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO volume_snapshots (id, app_id, volume_id, volume_name, state, failure, bytes,
                                       created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(row.id.to_string())
    .bind(row.app.to_string())
    .bind(row.volume.to_string())
    .bind(row.volume_name.as_str())
    .bind(word(row.state)?)
    .bind(&row.failure)
    .bind(row.bytes.map(number))
    .bind(micros(row.created_at))
    .bind(micros(row.updated_at))
    .execute(db)
    .await?;
    Ok(())
}

/// An app's snapshots, newest first.
pub async fn of_app(db: &mut Db, app: AppId) -> Result<Vec<SnapshotRow>, StoreError> {
    let rows = query("SELECT * FROM volume_snapshots WHERE app_id = $1 ORDER BY id DESC")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(SnapshotRow::read).collect()
}

/// Ends a snapshot that is pending.
pub async fn end(
    db: &mut Db,
    id: SnapshotId,
    ended: Result<u64, &str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let state = match ended {
        Ok(_) => SnapshotState::Complete,
        Err(_) => SnapshotState::Failed,
    };
    query(
        "UPDATE volume_snapshots SET state = $2, failure = $3, bytes = $4, updated_at = $5
         WHERE id = $1 AND state = 'pending'",
    )
    .bind(id.to_string())
    .bind(word(state)?)
    .bind(ended.err())
    .bind(ended.ok().map(number))
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets a snapshot.
pub async fn delete(db: &mut Db, id: SnapshotId) -> Result<(), StoreError> {
    query("DELETE FROM volume_snapshots WHERE id = $1")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}
