//! The cluster's certificate authority: one row, made once.

use chrono::{DateTime, Utc};
use fairway_api::ids::ClusterId;
use sqlx::query;

use super::{
    Db, StoreError,
    columns::{Columns, micros},
};

/// The authority as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRow {
    pub id: ClusterId,
    /// In PEM.
    pub certificate: String,
    /// Its key in PEM, sealed.
    pub key: String,
}

/// The cluster, if it has been made.
pub async fn get(db: &mut Db) -> Result<Option<ClusterRow>, StoreError> {
    let row = query("SELECT * FROM cluster").fetch_optional(db).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(ClusterRow {
        id: row.parsed("id")?,
        certificate: row.text("certificate")?,
        key: row.text("key")?,
    }))
}

/// Writes down a cluster that was just made.
pub async fn insert(db: &mut Db, row: &ClusterRow, now: DateTime<Utc>) -> Result<(), StoreError> {
    query("INSERT INTO cluster (id, certificate, key, created_at) VALUES ($1, $2, $3, $4)")
        .bind(row.id.to_string())
        .bind(&row.certificate)
        .bind(&row.key)
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}
