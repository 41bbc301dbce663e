//! What is asked of autoscaling per process type. What it measures and decides is not stored: the
//! count it sets is the formation's.

use chrono::{DateTime, Utc};
use fairway_api::{
    autoscale::{Autoscale, Queue, Window},
    ids::AppId,
    names::ProcessType,
};
use serde::{Deserialize, Serialize};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, json, micros},
};

/// One process type's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoscaleRow {
    pub app: AppId,
    pub process_type: ProcessType,
    pub policy: Autoscale,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What of a policy programs did not know that still have to read the rest.
#[derive(Debug, Serialize, Deserialize)]
struct More {
    #[serde(default)]
    queue: Option<Queue>,
    #[serde(default)]
    windows: Vec<Window>,
}

impl AutoscaleRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let mut policy: Autoscale = row.json("policy")?;
        if let Some(More { queue, windows }) = row.json_opt("more")? {
            (policy.queue, policy.windows) = (queue, windows);
        }
        Ok(Self {
            app: row.parsed("app_id")?,
            process_type: row.parsed("process_type")?,
            policy,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }

    /// True when there may be no pods, and requests bring them back.
    pub fn is_on_demand(&self) -> bool {
        self.process_type.is_web() && self.policy.may_sleep()
    }
}

/// Every policy, by app.
pub async fn all(db: &mut Db) -> Result<Vec<AutoscaleRow>, StoreError> {
    let rows = query("SELECT * FROM autoscale ORDER BY app_id, process_type")
        .fetch_all(db)
        .await?;
    rows.iter().map(AutoscaleRow::read).collect()
}

/// An app's policies, by process type.
pub async fn list(db: &mut Db, app: AppId) -> Result<Vec<AutoscaleRow>, StoreError> {
    let rows = query("SELECT * FROM autoscale WHERE app_id = $1 ORDER BY process_type")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(AutoscaleRow::read).collect()
}

/// Sets a process type's policy.
pub async fn set(
    db: &mut Db,
    app: AppId,
    process_type: &ProcessType,
    policy: &Autoscale,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Autoscale { queue, windows, .. } = policy.clone();
    let more = More { queue, windows };
    let is_more = more.queue.is_some() || !more.windows.is_empty();
    let policy = Autoscale {
        queue: None,
        windows: vec![],
        ..policy.clone()
    };
    query(
        "INSERT INTO autoscale (app_id, process_type, policy, created_at, updated_at, more)
         VALUES ($1, $2, $3, $4, $4, $5)
         ON CONFLICT (app_id, process_type) DO UPDATE
             SET policy = $3, updated_at = $4, more = $5",
    )
    .bind(app.to_string())
    .bind(process_type.as_str())
    .bind(json(&policy)?)
    .bind(micros(now))
    .bind(is_more.then(|| json(&more)).transpose()?)
    .execute(db)
    .await?;
    Ok(())
}

/// Ends autoscaling of a process type. False if there was none.
pub async fn remove(
    db: &mut Db,
    app: AppId,
    process_type: &ProcessType,
) -> Result<bool, StoreError> {
    let done = query("DELETE FROM autoscale WHERE app_id = $1 AND process_type = $2")
        .bind(app.to_string())
        .bind(process_type.as_str())
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}
