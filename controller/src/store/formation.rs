//! Wanted counts and sizes per process type.

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, FormationId},
    names::{ProcessType, SizeName},
};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, micros},
};

/// One process type's wanted count and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormationRow {
    pub id: FormationId,
    pub app: AppId,
    pub process_type: ProcessType,
    pub quantity: u32,
    pub size: SizeName,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl FormationRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            process_type: row.parsed("process_type")?,
            quantity: row.number("quantity")?,
            size: row.parsed("size")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// An app's formation by process type. It may name types that the current release lacks: they come
/// back with a release that has them.
pub async fn list(db: &mut Db, app: AppId) -> Result<Vec<FormationRow>, StoreError> {
    let rows = query("SELECT * FROM formation WHERE app_id = $1 ORDER BY process_type")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(FormationRow::read).collect()
}

/// Every app's formation.
pub async fn all(db: &mut Db) -> Result<Vec<FormationRow>, StoreError> {
    let rows = query("SELECT * FROM formation ORDER BY app_id, process_type")
        .fetch_all(db)
        .await?;
    rows.iter().map(FormationRow::read).collect()
}

/// Adds a process type that has no formation yet; does nothing for one that has.
pub async fn insert_missing(db: &mut Db, formation: &FormationRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO formation (id, app_id, process_type, quantity, size, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (app_id, process_type) DO NOTHING",
    )
    .bind(formation.id.to_string())
    .bind(formation.app.to_string())
    .bind(formation.process_type.as_str())
    .bind(i64::from(formation.quantity))
    .bind(formation.size.as_str())
    .bind(micros(formation.created_at))
    .bind(micros(formation.updated_at))
    .execute(db)
    .await?;
    Ok(())
}

/// Changes count, size or both; what is `None` stays.
pub async fn scale(
    db: &mut Db,
    app: AppId,
    process_type: &ProcessType,
    quantity: Option<u32>,
    size: Option<&SizeName>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let done = query(
        "UPDATE formation SET quantity = COALESCE($3, quantity), size = COALESCE($4, size),
                              updated_at = $5
         WHERE app_id = $1 AND process_type = $2",
    )
    .bind(app.to_string())
    .bind(process_type.as_str())
    .bind(quantity.map(i64::from))
    .bind(size.map(SizeName::as_str))
    .bind(micros(now))
    .execute(db)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound {
            what: "process type",
        });
    }
    Ok(())
}
