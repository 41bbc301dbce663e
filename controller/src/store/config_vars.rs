//! Versions of apps' config vars, as ciphertext; `crate::secrets` has the key.

use chrono::{DateTime, Utc};
use fairway_api::ids::AppId;
use sqlx::query;

use super::{
    Db, StoreError,
    columns::{Columns, micros, number},
};

/// Adds a version.
pub async fn insert(
    db: &mut Db,
    app: AppId,
    version: u64,
    ciphertext: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO config_versions (app_id, version, ciphertext, created_at)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(app.to_string())
    .bind(number(version))
    .bind(ciphertext)
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// The ciphertext of a version.
pub async fn get(db: &mut Db, app: AppId, version: u64) -> Result<String, StoreError> {
    let row = query("SELECT ciphertext FROM config_versions WHERE app_id = $1 AND version = $2")
        .bind(app.to_string())
        .bind(number(version))
        .fetch_optional(db)
        .await?;
    row.ok_or(StoreError::NotFound {
        what: "version of the config vars",
    })?
    .text("ciphertext")
}
