//! Volumes, what mounts them, and those whose data has to go.

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, SnapshotId, VolumeId},
    names::{NodeName, ProcessType, VolumeName},
    volumes::{Mount, VolumeMount, VolumeSource},
};
use serde::{Deserialize, Serialize};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros, number},
    releases::ReleaseMount,
};

/// A volume as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRow {
    pub id: VolumeId,
    pub app: AppId,
    pub name: VolumeName,
    pub source: VolumeSource,
    pub shared: bool,
    pub size_bytes: Option<u64>,
    pub node: Option<NodeName>,
    pub work: Option<Work>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What is being done to a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    pub kind: WorkKind,
    /// The archive that is made or read.
    pub snapshot: SnapshotId,
    /// When it is given up.
    pub deadline_at: DateTime<Utc>,
}

/// What kind of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WorkKind {
    Snapshot,
    Restore,
    /// First the machine that has it saves it, then the other one loads it.
    Move {
        to: NodeName,
        saved: bool,
    },
}

/// A volume whose data has to go from a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemovedVolume {
    pub node: NodeName,
    pub volume: VolumeId,
}

const NOT_FOUND: StoreError = StoreError::NotFound { what: "volume" };

impl VolumeRow {
    /// As a pod has it, at a path that the caller puts in place of this one.
    pub fn mount(&self) -> Option<Mount> {
        Some(Mount {
            volume: self.id,
            name: self.name.clone(),
            source: self.source.clone(),
            size_bytes: self.size_bytes,
            path: "/volume".parse().ok()?,
            read_only: false,
            leased: !self.source.is_on_a_machine() && !self.shared,
        })
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            name: row.parsed("name")?,
            source: row.json("source")?,
            shared: row.flag("shared")?,
            size_bytes: row.number_opt("size_bytes")?,
            node: row.parsed_opt("node")?,
            work: row.json_opt("work")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// Adds a volume; conflicts on `volumes.name`.
pub async fn insert(db: &mut Db, row: &VolumeRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO volumes (id, app_id, name, source, shared, size_bytes, node, work,
                              created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(row.id.to_string())
    .bind(row.app.to_string())
    .bind(row.name.as_str())
    .bind(columns::json(&row.source)?)
    .bind(row.shared)
    .bind(row.size_bytes.map(number))
    .bind(row.node.as_ref().map(NodeName::as_str))
    .bind(row.work.as_ref().map(columns::json).transpose()?)
    .bind(micros(row.created_at))
    .bind(micros(row.updated_at))
    .execute(db)
    .await?;
    Ok(())
}

/// Every volume of every app.
pub async fn all(db: &mut Db) -> Result<Vec<VolumeRow>, StoreError> {
    let rows = query("SELECT * FROM volumes").fetch_all(db).await?;
    rows.iter().map(VolumeRow::read).collect()
}

/// An app's volumes by name.
pub async fn of_app(db: &mut Db, app: AppId) -> Result<Vec<VolumeRow>, StoreError> {
    let rows = query("SELECT * FROM volumes WHERE app_id = $1 ORDER BY name")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(VolumeRow::read).collect()
}

/// One volume, whoever's it is.
pub async fn get(db: &mut Db, id: VolumeId) -> Result<VolumeRow, StoreError> {
    let row = query("SELECT * FROM volumes WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    row.as_ref().map(VolumeRow::read).unwrap_or(Err(NOT_FOUND))
}

/// Notes where a volume is, if that is not decided yet.
pub async fn settle(db: &mut Db, id: VolumeId, node: &NodeName) -> Result<(), StoreError> {
    query("UPDATE volumes SET node = $2 WHERE id = $1 AND node IS NULL")
        .bind(id.to_string())
        .bind(node.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// Notes where a volume is from now on, and what is being done to it.
pub async fn set_work(
    db: &mut Db,
    id: VolumeId,
    node: Option<&NodeName>,
    work: Option<&Work>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("UPDATE volumes SET node = $2, work = $3, updated_at = $4 WHERE id = $1")
        .bind(id.to_string())
        .bind(node.map(NodeName::as_str))
        .bind(work.map(columns::json).transpose()?)
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Volumes that something is being done to.
pub async fn worked_on(db: &mut Db) -> Result<Vec<VolumeRow>, StoreError> {
    let rows = query("SELECT * FROM volumes WHERE work IS NOT NULL")
        .fetch_all(db)
        .await?;
    rows.iter().map(VolumeRow::read).collect()
}

/// Forgets a volume, and notes that its machine has to remove its data.
pub async fn delete(db: &mut Db, row: &VolumeRow, now: DateTime<Utc>) -> Result<(), StoreError> {
    if let Some(node) = row
        .node
        .as_ref()
        .filter(|_| row.source == VolumeSource::Local)
    {
        remove_from(db, row.id, node, now).await?;
    }
    query("DELETE FROM volumes WHERE id = $1")
        .bind(row.id.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// Notes that a machine has to remove a volume's data.
pub async fn remove_from(
    db: &mut Db,
    id: VolumeId,
    node: &NodeName,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO removed_volumes (volume_id, node, removed_at) VALUES ($1, $2, $3)
         ON CONFLICT (volume_id, node) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(node.as_str())
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// What machines have to remove.
pub async fn removed(db: &mut Db) -> Result<Vec<RemovedVolume>, StoreError> {
    let rows = query("SELECT volume_id, node FROM removed_volumes")
        .fetch_all(db)
        .await?;
    let read = |row: &SqliteRow| {
        Ok(RemovedVolume {
            node: row.parsed("node")?,
            volume: row.parsed("volume_id")?,
        })
    };
    rows.iter().map(read).collect()
}

/// A machine has removed it, or is to have it again.
pub async fn forget_removed(db: &mut Db, id: VolumeId, node: &NodeName) -> Result<(), StoreError> {
    query("DELETE FROM removed_volumes WHERE volume_id = $1 AND node = $2")
        .bind(id.to_string())
        .bind(node.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets what machines had to remove that are no part of the cluster any more.
pub async fn forget_removed_nodes(db: &mut Db) -> Result<(), StoreError> {
    query("DELETE FROM removed_volumes WHERE node NOT IN (SELECT name FROM nodes)")
        .execute(db)
        .await?;
    Ok(())
}

/// What an app's next release mounts, by volume and process type.
pub async fn mounts_of(db: &mut Db, app: AppId) -> Result<Vec<ReleaseMount>, StoreError> {
    let rows = query(
        "SELECT volume_mounts.* FROM volume_mounts
         JOIN volumes ON volumes.id = volume_mounts.volume_id
         WHERE volumes.app_id = $1 ORDER BY volume_mounts.volume_id, process_type",
    )
    .bind(app.to_string())
    .fetch_all(db)
    .await?;
    let read = |row: &SqliteRow| {
        Ok(ReleaseMount {
            volume: row.parsed("volume_id")?,
            process_type: row.parsed("process_type")?,
            path: row.parsed("path")?,
            read_only: row.flag("read_only")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Mounts a volume, or changes where.
pub async fn set_mount(
    db: &mut Db,
    id: VolumeId,
    mount: &VolumeMount,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO volume_mounts (volume_id, process_type, path, read_only, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (volume_id, process_type)
         DO UPDATE SET path = excluded.path, read_only = excluded.read_only",
    )
    .bind(id.to_string())
    .bind(mount.process_type.as_str())
    .bind(mount.path.as_str())
    .bind(mount.read_only)
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// Ends a mount. False if there was none.
pub async fn delete_mount(
    db: &mut Db,
    id: VolumeId,
    process_type: &ProcessType,
) -> Result<bool, StoreError> {
    let done = query("DELETE FROM volume_mounts WHERE volume_id = $1 AND process_type = $2")
        .bind(id.to_string())
        .bind(process_type.as_str())
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}
