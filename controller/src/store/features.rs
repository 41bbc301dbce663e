//! What apps have switched on.

use chrono::{DateTime, Utc};
use fairway_api::ids::{AppId, FeatureId};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, micros},
};

/// A feature that somebody has set for an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureRow {
    pub id: FeatureId,
    pub app: AppId,
    pub name: String,
    pub enabled: bool,
    /// What it needs and nobody may know, sealed.
    pub secret: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl FeatureRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            name: row.text("name")?,
            enabled: row.flag("enabled")?,
            secret: row.text("secret")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// Every app's.
pub async fn all(db: &mut Db) -> Result<Vec<FeatureRow>, StoreError> {
    let rows = query("SELECT * FROM app_features").fetch_all(db).await?;
    rows.iter().map(FeatureRow::read).collect()
}

/// An app's.
pub async fn list(db: &mut Db, app: AppId) -> Result<Vec<FeatureRow>, StoreError> {
    let rows = query("SELECT * FROM app_features WHERE app_id = $1 ORDER BY name")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(FeatureRow::read).collect()
}

/// Sets a feature; id, secret and age of one that is there stay.
pub async fn set(db: &mut Db, row: &FeatureRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO app_features (id, app_id, name, enabled, secret, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (app_id, name) DO UPDATE SET enabled = $4, updated_at = $7",
    )
    .bind(row.id.to_string())
    .bind(row.app.to_string())
    .bind(&row.name)
    .bind(row.enabled)
    .bind(&row.secret)
    .bind(micros(row.created_at))
    .bind(micros(row.updated_at))
    .execute(db)
    .await?;
    Ok(())
}
