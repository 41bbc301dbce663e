//! Machines that joined, and what an operator asked of them. Whether one is lost is observed, not
//! stored.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fairway_api::{
    build_orders::BuiltImage,
    ids::NodeId,
    machines::NodeFacts,
    names::{LabelKey, LabelValue, NodeName, ProcessType, SizeName},
    nodes::Capacity,
    placement::{Labels, ROUTER_LABEL, ROUTER_LABEL_YES, Taint},
    sizes::Resources,
};
use sqlx::{query, sqlite::SqliteRow};

pub use fairway_api::machines::NodeIntent;

use super::{
    Db, StoreError,
    columns::{self, Columns, micros},
    pods,
};
use crate::deploy::spec::company;

/// A machine as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub id: NodeId,
    pub name: NodeName,
    pub intent: NodeIntent,
    /// As last reported; `None` before the first report.
    pub capacity: Option<Capacity>,
    /// The same; of its clock, nothing is kept up to date.
    pub facts: Option<NodeFacts>,
    /// What operators said: `None` for a label of the agent that was taken off.
    pub own_labels: BTreeMap<LabelKey, Option<LabelValue>>,
    pub taints: Vec<Taint>,
    /// `None` for a machine that has no certificate.
    pub certificate_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl NodeRow {
    /// The labels as they count: the agent's, changed by the operators'.
    pub fn labels(&self) -> Labels {
        let of_agent = self.facts.as_ref().map(|facts| facts.labels.clone());
        let mut labels = of_agent.unwrap_or_default();
        for (key, value) in &self.own_labels {
            match value {
                Some(value) => drop(labels.insert(key.clone(), value.clone())),
                None => drop(labels.remove(key)),
            }
        }
        labels
    }

    /// True if an operator lets a router run on it. What its agent says does not count.
    pub fn may_route(&self) -> bool {
        let said = self.own_labels.get(ROUTER_LABEL).and_then(Option::as_ref);
        said.is_some_and(|value| value.as_str() == ROUTER_LABEL_YES)
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            name: row.parsed("name")?,
            intent: row.word("intent")?,
            capacity: row.json_opt("capacity")?,
            facts: row.json_opt("facts")?,
            own_labels: row.json_opt("labels")?.unwrap_or_default(),
            taints: row.json_opt("taints")?.unwrap_or_default(),
            certificate_until: row.time_opt("certificate_until")?,
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

/// The first `count` machines by name.
pub async fn first(db: &mut Db, count: u32) -> Result<Vec<NodeRow>, StoreError> {
    let rows = query("SELECT * FROM nodes ORDER BY name LIMIT $1")
        .bind(i64::from(count))
        .fetch_all(db)
        .await?;
    rows.iter().map(NodeRow::read).collect()
}

/// The machine of this name.
pub async fn find(db: &mut Db, name: &str) -> Result<NodeRow, StoreError> {
    let row = query("SELECT * FROM nodes WHERE name = $1")
        .bind(name)
        .fetch_optional(db)
        .await?;
    row.as_ref()
        .map_or(Err(StoreError::NotFound { what: "node" }), NodeRow::read)
}

/// Adds a machine that takes pods.
pub async fn insert(
    db: &mut Db,
    id: NodeId,
    name: &NodeName,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO nodes (id, name, intent, created_at, updated_at)
         VALUES ($1, $2, 'ready', $3, $3)",
    )
    .bind(id.to_string())
    .bind(name.as_str())
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// Gives ids to machines of a version that had none.
pub async fn settle_ids(db: &mut Db) -> Result<(), StoreError> {
    let rows = query("SELECT name FROM nodes WHERE id IS NULL")
        .fetch_all(&mut *db)
        .await?;
    for row in rows {
        query("UPDATE nodes SET id = $2 WHERE name = $1")
            .bind(row.text("name")?)
            .bind(NodeId::generate().to_string())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Notes what a machine reported of itself. A machine that is not there stays so.
pub async fn report(
    db: &mut Db,
    name: &NodeName,
    capacity: &Capacity,
    facts: Option<&NodeFacts>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "UPDATE nodes SET capacity = $2, facts = COALESCE($3, facts), updated_at = $4
         WHERE name = $1",
    )
    .bind(name.as_str())
    .bind(columns::json(capacity)?)
    .bind(facts.map(columns::json).transpose()?)
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// Writes what an operator may change: intent, labels and taints.
pub async fn update(db: &mut Db, node: &NodeRow, now: DateTime<Utc>) -> Result<(), StoreError> {
    query("UPDATE nodes SET intent = $2, labels = $3, taints = $4, updated_at = $5 WHERE id = $1")
        .bind(node.id.to_string())
        .bind(columns::word(node.intent)?)
        .bind(columns::json(&node.own_labels)?)
        .bind(columns::json(&node.taints)?)
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Notes until when a machine's newest certificate counts.
pub async fn set_certificate(
    db: &mut Db,
    id: NodeId,
    until: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("UPDATE nodes SET certificate_until = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(micros(until))
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets a machine.
pub async fn delete(db: &mut Db, id: NodeId) -> Result<(), StoreError> {
    query("DELETE FROM nodes WHERE id = $1")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// How many pods of one size a machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    pub node: NodeName,
    pub size: SizeName,
    pub pods: u32,
}

/// Pods by machine and size, those that end included.
pub async fn loads(db: &mut Db) -> Result<Vec<Load>, StoreError> {
    let rows = query(
        "SELECT node, size, COUNT(*) AS pods FROM pods WHERE node IS NOT NULL GROUP BY node, size",
    )
    .fetch_all(db)
    .await?;
    let load = |row: &SqliteRow| {
        Ok(Load {
            node: row.parsed("node")?,
            size: row.parsed("size")?,
            pods: row.number("pods")?,
        })
    };
    rows.iter().map(load).collect()
}

/// Pods of one kind that have sidecars, on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarLoad {
    pub node: NodeName,
    /// What the sidecars of all these pods may use together.
    pub resources: Resources,
}

/// What sidecars may use on each machine; most machines have none.
pub async fn sidecar_loads(db: &mut Db) -> Result<Vec<SidecarLoad>, StoreError> {
    // The image is JSON, in which the key stands only when there are some.
    let rows = query(
        "SELECT pods.node, pods.kind, pods.process_type, releases.image, COUNT(*) AS pods
         FROM pods JOIN releases ON releases.id = pods.release_id
         WHERE pods.node IS NOT NULL AND releases.image LIKE '%\"sidecars\":{%'
         GROUP BY pods.node, pods.kind, pods.process_type, releases.id",
    )
    .fetch_all(db)
    .await?;
    let load = |row: &SqliteRow| {
        let image: BuiltImage = row.json("image")?;
        let process_type: ProcessType = row.parsed("process_type")?;
        let kind = pods::kind_of(&row.text("kind")?, process_type.as_str());
        let each = image.sidecars.resources(company(kind, &process_type));
        let count: u32 = row.number("pods")?;
        Ok(SidecarLoad {
            node: row.parsed("node")?,
            resources: each.times(count),
        })
    };
    rows.iter().map(load).collect()
}

#[cfg(test)]
mod tests;
