//! Where process types may run, as somebody said for an app.

use chrono::{DateTime, Utc};
use fairway_api::{ids::AppId, names::ProcessType, placement::Placement};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, json, micros},
};

/// One process type's placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementRow {
    pub app: AppId,
    pub process_type: ProcessType,
    pub placement: Placement,
}

impl PlacementRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            app: row.parsed("app_id")?,
            process_type: row.parsed("process_type")?,
            placement: row.json("placement")?,
        })
    }
}

/// Every app's.
pub async fn all(db: &mut Db) -> Result<Vec<PlacementRow>, StoreError> {
    let rows = query("SELECT * FROM placements ORDER BY app_id, process_type")
        .fetch_all(db)
        .await?;
    rows.iter().map(PlacementRow::read).collect()
}

/// An app's, by process type.
pub async fn list(db: &mut Db, app: AppId) -> Result<Vec<PlacementRow>, StoreError> {
    let rows = query("SELECT * FROM placements WHERE app_id = $1 ORDER BY process_type")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(PlacementRow::read).collect()
}

/// Sets a process type's, in the place of what was said before.
pub async fn set(db: &mut Db, row: &PlacementRow, now: DateTime<Utc>) -> Result<(), StoreError> {
    query(
        "INSERT INTO placements (app_id, process_type, placement, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (app_id, process_type) DO UPDATE SET placement = $3, updated_at = $4",
    )
    .bind(row.app.to_string())
    .bind(row.process_type.as_str())
    .bind(json(&row.placement)?)
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// Takes back what was said. False if nothing was.
pub async fn remove(
    db: &mut Db,
    app: AppId,
    process_type: &ProcessType,
) -> Result<bool, StoreError> {
    let done = query("DELETE FROM placements WHERE app_id = $1 AND process_type = $2")
        .bind(app.to_string())
        .bind(process_type.as_str())
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}
