//! Pods: what is wanted of each, where it is bound, and its status as last reported.

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, PodId, ReleaseId},
    names::{NodeName, ProcessType, SizeName},
    pods::PodStatus,
};
use fairway_scheduler::snapshot::{PodIntent, PodKind};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros, number},
};

/// A pod as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRow {
    pub id: PodId,
    pub app: AppId,
    pub release: ReleaseId,
    pub kind: PodKind,
    pub process_type: ProcessType,
    /// `web.1`, `run.4821`, `release.7`.
    pub name: String,
    pub ordinal: u32,
    pub size: SizeName,
    pub node: Option<NodeName>,
    pub unplaced: Option<String>,
    pub intent: PodIntent,
    /// What only one-off pods have, sealed (`crate::deploy::one_off`).
    pub one_off: Option<String>,
    pub status: Option<PodStatus>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl PodRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let retired_at = row.time_opt("retired_at")?;
        let intent = match (row.flag("stopping")?, retired_at) {
            (true, _) => PodIntent::Stopping,
            (false, Some(at)) => {
                let unrouted_in = row.number_opt("unrouted_in")?.unwrap_or_default();
                PodIntent::Retired { at, unrouted_in }
            }
            (false, None) => PodIntent::Wanted,
        };
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            release: row.parsed("release_id")?,
            kind: kind_of(&row.text("kind")?),
            process_type: row.parsed("process_type")?,
            name: row.text("name")?,
            ordinal: row.number("ordinal")?,
            size: row.parsed("size")?,
            node: row.parsed_opt("node")?,
            unplaced: row.text_opt("unplaced")?,
            intent,
            one_off: row.text_opt("one_off")?,
            status: row.json_opt("status")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

fn word_of(kind: PodKind) -> &'static str {
    match kind {
        PodKind::Service => "service",
        PodKind::ReleasePhase => "release-phase",
        PodKind::Run => "run",
    }
}

/// The column has a `CHECK`, so that there is no other word.
fn kind_of(word: &str) -> PodKind {
    match word {
        "release-phase" => PodKind::ReleasePhase,
        "run" => PodKind::Run,
        _ => PodKind::Service,
    }
}

/// Every pod, oldest first.
pub async fn all(db: &mut Db) -> Result<Vec<PodRow>, StoreError> {
    let rows = query("SELECT * FROM pods ORDER BY id")
        .fetch_all(db)
        .await?;
    rows.iter().map(PodRow::read).collect()
}

/// An app's pods, oldest first.
pub async fn of_app(db: &mut Db, app: AppId) -> Result<Vec<PodRow>, StoreError> {
    let rows = query("SELECT * FROM pods WHERE app_id = $1 ORDER BY id")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(PodRow::read).collect()
}

/// Adds a pod: wanted, not bound.
pub async fn insert(db: &mut Db, pod: &PodRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO pods (id, app_id, release_id, kind, process_type, name, ordinal, size,
                           one_off, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(pod.id.to_string())
    .bind(pod.app.to_string())
    .bind(pod.release.to_string())
    .bind(word_of(pod.kind))
    .bind(pod.process_type.as_str())
    .bind(&pod.name)
    .bind(i64::from(pod.ordinal))
    .bind(pod.size.as_str())
    .bind(&pod.one_off)
    .bind(micros(pod.created_at))
    .bind(micros(pod.updated_at))
    .execute(db)
    .await?;
    Ok(())
}

/// Binds a pod to a machine.
pub async fn bind(
    db: &mut Db,
    id: PodId,
    node: &NodeName,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("UPDATE pods SET node = $2, unplaced = NULL, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(node.as_str())
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Notes why no machine takes a pod.
pub async fn set_unplaced(
    db: &mut Db,
    id: PodId,
    why: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("UPDATE pods SET unplaced = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(why)
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Takes a pod out of service from route table `unrouted_in` on.
pub async fn retire(
    db: &mut Db,
    id: PodId,
    unrouted_in: u64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "UPDATE pods SET retired_at = $3, unrouted_in = $2, updated_at = $3
         WHERE id = $1 AND retired_at IS NULL",
    )
    .bind(id.to_string())
    .bind(number(unrouted_in))
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// Takes a pod out of its machine's orders.
pub async fn stop(db: &mut Db, id: PodId, now: DateTime<Utc>) -> Result<(), StoreError> {
    query(
        "UPDATE pods SET stopping = TRUE, retired_at = COALESCE(retired_at, $2), updated_at = $2
         WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// Notes what the agent saw.
pub async fn set_status(
    db: &mut Db,
    id: PodId,
    status: &PodStatus,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("UPDATE pods SET status = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(columns::json(status)?)
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets a pod that is no more.
pub async fn delete(db: &mut Db, id: PodId) -> Result<(), StoreError> {
    query("DELETE FROM pods WHERE id = $1")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
