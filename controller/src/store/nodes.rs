//! Machines that joined, and what an operator asked of them. Whether one is lost is observed, not
//! stored.

use chrono::{DateTime, Utc};
use fairway_api::{names::NodeName, nodes::Capacity};
use serde::{Deserialize, Serialize};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros},
};

/// A machine as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub name: NodeName,
    pub intent: NodeIntent,
    /// As last reported; `None` before the first report.
    pub capacity: Option<Capacity>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What an operator asked of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeIntent {
    /// Takes pods.
    Ready,
    /// Keeps its pods, takes no new ones.
    Cordoned,
    /// Its pods move elsewhere.
    Draining,
}

impl NodeRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.parsed("name")?,
            intent: row.word("intent")?,
            capacity: row.json_opt("capacity")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// Every machine, by name.
pub async fn all(db: &mut Db) -> Result<Vec<NodeRow>, StoreError> {
    let rows = query("SELECT * FROM nodes ORDER BY name")
        .fetch_all(db)
        .await?;
    rows.iter().map(NodeRow::read).collect()
}

/// Notes a machine's capacity; a machine that reports for the first time joins with it.
pub async fn report(
    db: &mut Db,
    name: &NodeName,
    capacity: &Capacity,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO nodes (name, intent, capacity, created_at, updated_at)
         VALUES ($1, 'ready', $2, $3, $3)
         ON CONFLICT (name) DO UPDATE SET capacity = excluded.capacity,
                                          updated_at = excluded.updated_at",
    )
    .bind(name.as_str())
    .bind(columns::json(capacity)?)
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
