//! Pods: what is wanted of each, where it is bound, and its status as last reported.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, PodId, ReleaseId},
    names::{NodeName, ProcessType, SizeName},
    pods::PodStatus,
    sizes::Resources,
};
use fairway_scheduler::{
    jobs::JOB_TYPE,
    snapshot::{Pod, PodIntent, PodKind},
};
use sqlx::{QueryBuilder, Sqlite, query, sqlite::SqliteRow};

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
            kind: kind_of(&row.text("kind")?, &row.text("process_type")?),
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

impl PodRow {
    /// As the planner knows it; `stop_at` is when a one-off pod ends at the latest, `sidecars` what
    /// the containers besides its main one take.
    pub fn known(&self, stop_at: Option<DateTime<Utc>>, sidecars: Resources) -> Pod {
        Pod {
            id: self.id,
            release: self.release,
            kind: self.kind,
            process_type: self.process_type.clone(),
            ordinal: self.ordinal,
            name: self.name.clone(),
            size: self.size.clone(),
            sidecars,
            node: self.node.clone(),
            unplaced: self.unplaced.clone(),
            intent: self.intent,
            stop_at,
            status: self.status.clone(),
            gone: false,
            created_at: self.created_at,
        }
    }
}

fn word_of(kind: PodKind) -> &'static str {
    match kind {
        PodKind::Service => "service",
        PodKind::ReleasePhase => "release-phase",
        // Told apart by the process type, which is only a name for both.
        PodKind::Run | PodKind::Job => "run",
    }
}

/// The column has a `CHECK`, so that there is no other word.
pub(super) fn kind_of(word: &str, process_type: &str) -> PodKind {
    match word {
        "release-phase" => PodKind::ReleasePhase,
        "run" if process_type == JOB_TYPE => PodKind::Job,
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

/// A machine's pods, oldest first.
pub async fn of_node(db: &mut Db, node: &NodeName) -> Result<Vec<PodRow>, StoreError> {
    let rows = query("SELECT * FROM pods WHERE node = $1 ORDER BY id")
        .bind(node.as_str())
        .fetch_all(db)
        .await?;
    rows.iter().map(PodRow::read).collect()
}

/// The apps that have pods on a machine.
pub async fn apps_on(db: &mut Db, node: &NodeName) -> Result<BTreeSet<AppId>, StoreError> {
    let rows = query("SELECT DISTINCT app_id FROM pods WHERE node = $1")
        .bind(node.as_str())
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.parsed("app_id")).collect()
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

/// How many rows one statement writes: SQLite takes 32,766 values in one, PostgreSQL 65,535.
const ROWS_PER_STATEMENT: usize = 1_000;

/// Writes what the planner knows of pods, new ones and old ones.
///
/// Somebody may have asked for the end of a pod since the planner looked: a pod only ever moves
/// towards its end, so of two intents the later one stays.
pub async fn write(
    db: &mut Db,
    app_pods: &[(AppId, &Pod)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for rows in app_pods.chunks(ROWS_PER_STATEMENT) {
        let statuses = rows
            .iter()
            .map(|(_, pod)| pod.status.as_ref().map(columns::json).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO pods (id, app_id, release_id, kind, process_type, name, ordinal, size,
                               node, unplaced, retired_at, unrouted_in, stopping, status,
                               created_at, updated_at) ",
        );
        insert.push_values(
            rows.iter().zip(statuses),
            |mut row, ((app, pod), status)| {
                let (retired_at, unrouted_in, stopping) = match pod.intent {
                    PodIntent::Wanted => (None, None, false),
                    PodIntent::Retired { at, unrouted_in } => {
                        (Some(micros(at)), Some(number(unrouted_in)), false)
                    }
                    PodIntent::Stopping => (Some(micros(now)), None, true),
                };
                row.push_bind(pod.id.to_string())
                    .push_bind(app.to_string())
                    .push_bind(pod.release.to_string())
                    .push_bind(word_of(pod.kind))
                    .push_bind(pod.process_type.as_str())
                    .push_bind(&pod.name)
                    .push_bind(i64::from(pod.ordinal))
                    .push_bind(pod.size.as_str())
                    .push_bind(pod.node.as_ref().map(NodeName::as_str))
                    .push_bind(&pod.unplaced)
                    .push_bind(retired_at)
                    .push_bind(unrouted_in)
                    .push_bind(stopping)
                    .push_bind(status)
                    .push_bind(micros(pod.created_at))
                    .push_bind(micros(now));
            },
        );
        insert.push(
            " ON CONFLICT (id) DO UPDATE SET
                  node = COALESCE(pods.node, excluded.node),
                  unplaced = excluded.unplaced,
                  retired_at = COALESCE(pods.retired_at, excluded.retired_at),
                  unrouted_in = COALESCE(pods.unrouted_in, excluded.unrouted_in),
                  stopping = pods.stopping OR excluded.stopping,
                  status = COALESCE(excluded.status, pods.status),
                  updated_at = excluded.updated_at",
        );
        insert.build().execute(&mut *db).await?;
    }
    Ok(())
}

/// Forgets pods that are no more.
pub async fn delete(db: &mut Db, ids: &[PodId]) -> Result<(), StoreError> {
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let mut delete = QueryBuilder::<Sqlite>::new("DELETE FROM pods WHERE id IN (");
        let mut list = delete.separated(", ");
        for id in ids {
            list.push_bind(id.to_string());
        }
        delete.push(")");
        delete.build().execute(&mut *db).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
