//! The pod network: subnets of machines, rules between apps, names of things outside.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use fairway_api::{
    apps::AppRef,
    ids::{AdmissionId, AppId},
    names::NodeName,
    network::{ExternalName, ExternalTarget, Subnet},
    reach::NetworkRule,
};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros},
};

/// The network of all pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodNetworkRow {
    pub pods: Subnet,
    pub vni: u32,
}

/// What a machine has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetRow {
    pub node: NodeName,
    pub subnet: Subnet,
    pub underlay: Option<IpAddr>,
}

/// A name of something outside, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalNameRow {
    pub app: AppId,
    pub name: ExternalName,
    pub created_at: DateTime<Utc>,
}

/// The network of all pods; `None` before it was chosen.
pub async fn pods(db: &mut Db) -> Result<Option<PodNetworkRow>, StoreError> {
    let row = query("SELECT * FROM pod_network")
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        Ok(PodNetworkRow {
            pods: row.parsed("pods")?,
            vni: row.number("vni")?,
        })
    })
    .transpose()
}

/// Chooses the network of all pods; what was chosen before stays.
pub async fn set_pods(
    db: &mut Db,
    network: PodNetworkRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO pod_network (id, pods, vni, created_at) VALUES ('pods', $1, $2, $3)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(network.pods.to_string())
    .bind(i64::from(network.vni))
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// The subnets of all machines.
pub async fn subnets(db: &mut Db) -> Result<Vec<SubnetRow>, StoreError> {
    let rows = query("SELECT * FROM node_subnets").fetch_all(db).await?;
    let read = |row: &SqliteRow| {
        Ok(SubnetRow {
            node: row.parsed("node")?,
            subnet: row.parsed("subnet")?,
            underlay: row.text_opt("underlay")?.and_then(|text| text.parse().ok()),
        })
    };
    rows.iter().map(read).collect()
}

/// Gives a machine a subnet, or notes where it is reached now; conflicts on `node_subnets.subnet`.
pub async fn set_subnet(
    db: &mut Db,
    row: &SubnetRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO node_subnets (node, subnet, underlay, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (node) DO UPDATE SET subnet = excluded.subnet, underlay = excluded.underlay",
    )
    .bind(row.node.as_str())
    .bind(row.subnet.to_string())
    .bind(row.underlay.map(|underlay| underlay.to_string()))
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// Takes the subnets of machines back that are no part of the cluster any more.
pub async fn free_subnets(db: &mut Db) -> Result<(), StoreError> {
    query("DELETE FROM node_subnets WHERE node NOT IN (SELECT name FROM nodes)")
        .execute(db)
        .await?;
    Ok(())
}

const RULES: &str = "SELECT admissions.*, source.name AS from_name, apps.name AS to_name
     FROM admissions JOIN apps ON apps.id = admissions.app_id
     JOIN apps AS source ON source.id = admissions.from_id";

fn read_rule(row: &SqliteRow) -> Result<NetworkRule, StoreError> {
    let app = |id: &str, name: &str| {
        Ok::<_, StoreError>(AppRef {
            id: row.parsed(id)?,
            name: row.parsed(name)?,
        })
    };
    let port: u16 = row.number("port")?;
    Ok(NetworkRule {
        id: row.parsed("id")?,
        from: app("from_id", "from_name")?,
        to: app("app_id", "to_name")?,
        port: (port != 0).then_some(port),
        created_at: row.time("created_at")?,
    })
}

/// Every rule of every app.
pub async fn rules(db: &mut Db) -> Result<Vec<NetworkRule>, StoreError> {
    let rows = query(RULES).fetch_all(db).await?;
    rows.iter().map(read_rule).collect()
}

/// The rules that name an app on either side.
pub async fn rules_of(db: &mut Db, app: AppId) -> Result<Vec<NetworkRule>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "{RULES} WHERE admissions.app_id = $1 OR admissions.from_id = $1
         ORDER BY to_name, from_name, admissions.port"
    ));
    let rows = query(sql).bind(app.to_string()).fetch_all(db).await?;
    rows.iter().map(read_rule).collect()
}

/// Adds a rule; one that is there already stays.
pub async fn insert_rule(db: &mut Db, rule: &NetworkRule) -> Result<(), StoreError> {
    query(
        "INSERT INTO admissions (id, app_id, from_id, port, created_at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (app_id, from_id, port) DO NOTHING",
    )
    .bind(rule.id.to_string())
    .bind(rule.to.id.to_string())
    .bind(rule.from.id.to_string())
    .bind(i64::from(rule.port.unwrap_or(0)))
    .bind(micros(rule.created_at))
    .execute(db)
    .await?;
    Ok(())
}

/// Takes a rule back.
pub async fn delete_rule(db: &mut Db, id: AdmissionId) -> Result<(), StoreError> {
    query("DELETE FROM admissions WHERE id = $1")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}

fn read_external(row: &SqliteRow) -> Result<ExternalNameRow, StoreError> {
    let target: Option<ExternalTarget> = row.json_opt("target")?;
    Ok(ExternalNameRow {
        app: row.parsed("app_id")?,
        name: ExternalName {
            name: row.parsed("name")?,
            target: target.unwrap_or(ExternalTarget::Addresses(vec![])),
        },
        created_at: row.time("created_at")?,
    })
}

/// The external names of every app.
pub async fn external_names(db: &mut Db) -> Result<Vec<ExternalNameRow>, StoreError> {
    let rows = query("SELECT * FROM external_names").fetch_all(db).await?;
    rows.iter().map(read_external).collect()
}

/// The external names of an app.
pub async fn external_names_of(
    db: &mut Db,
    app: AppId,
) -> Result<Vec<ExternalNameRow>, StoreError> {
    let rows = query("SELECT * FROM external_names WHERE app_id = $1 ORDER BY name")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(read_external).collect()
}

/// Says what an external name stands for.
pub async fn set_external_name(db: &mut Db, row: &ExternalNameRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO external_names (app_id, name, target, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (app_id, name) DO UPDATE SET target = excluded.target",
    )
    .bind(row.app.to_string())
    .bind(row.name.name.as_str())
    .bind(columns::json(&row.name.target)?)
    .bind(micros(row.created_at))
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets an external name. False if there was none.
pub async fn delete_external_name(db: &mut Db, app: AppId, name: &str) -> Result<bool, StoreError> {
    let done = query("DELETE FROM external_names WHERE app_id = $1 AND name = $2")
        .bind(app.to_string())
        .bind(name)
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}
