//! Which config vars an app's next release has as files.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use fairway_api::{ids::AppId, names::ConfigName};
use sqlx::query;

use super::{
    Db, StoreError,
    columns::{Columns, micros},
};

/// Those of an app.
pub async fn list(db: &mut Db, app: AppId) -> Result<BTreeSet<ConfigName>, StoreError> {
    let rows = query("SELECT name FROM config_files WHERE app_id = $1")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.parsed("name")).collect()
}

/// Makes one a file. False if it is one already.
pub async fn insert(
    db: &mut Db,
    app: AppId,
    name: &ConfigName,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = query(
        "INSERT INTO config_files (app_id, name, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (app_id, name) DO NOTHING",
    )
    .bind(app.to_string())
    .bind(name.as_str())
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Makes one an environment variable again. False if it is one already.
pub async fn delete(db: &mut Db, app: AppId, name: &ConfigName) -> Result<bool, StoreError> {
    let done = query("DELETE FROM config_files WHERE app_id = $1 AND name = $2")
        .bind(app.to_string())
        .bind(name.as_str())
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}
