//! Hostnames claimed by apps.

use chrono::{DateTime, Utc};
use fairway_api::{
    domains::DomainKind,
    ids::{AppId, DomainId},
    names::Hostname,
};
use sqlx::{Row, query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, micros},
    page::Page,
};

/// A hostname as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    pub id: DomainId,
    pub app: AppId,
    pub hostname: Hostname,
    pub kind: DomainKind,
    pub created_at: DateTime<Utc>,
}

impl DomainRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let kind = match row.text("kind")?.as_str() {
            "built-in" => DomainKind::BuiltIn,
            _ => DomainKind::Custom,
        };
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            hostname: row.parsed("hostname")?,
            kind,
            created_at: row.time("created_at")?,
        })
    }
}

fn kind_word(kind: DomainKind) -> &'static str {
    match kind {
        DomainKind::BuiltIn => "built-in",
        DomainKind::Custom => "custom",
    }
}

/// Claims a hostname; conflicts on `domains.hostname`.
pub async fn insert(db: &mut Db, domain: &DomainRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO domains (id, app_id, hostname, kind, created_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(domain.id.to_string())
    .bind(domain.app.to_string())
    .bind(domain.hostname.as_str())
    .bind(kind_word(domain.kind))
    .bind(micros(domain.created_at))
    .execute(db)
    .await?;
    Ok(())
}

/// A page of an app's hostnames.
pub async fn list(db: &mut Db, app: AppId, page: &Page) -> Result<Vec<DomainRow>, StoreError> {
    let sql = page.narrow("SELECT * FROM domains WHERE app_id = $1", 1);
    let rows = page
        .bind(query(sql).bind(app.to_string()))
        .fetch_all(db)
        .await?;
    rows.iter().map(DomainRow::read).collect()
}

/// Every hostname of every app: what the route table is made from.
pub async fn all(db: &mut Db) -> Result<Vec<DomainRow>, StoreError> {
    let rows = query("SELECT * FROM domains ORDER BY hostname")
        .fetch_all(db)
        .await?;
    rows.iter().map(DomainRow::read).collect()
}

/// Every hostname of an app.
pub async fn of_app(db: &mut Db, app: AppId) -> Result<Vec<DomainRow>, StoreError> {
    let rows = query("SELECT * FROM domains WHERE app_id = $1 ORDER BY hostname")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(DomainRow::read).collect()
}

/// How many hostnames an app has.
pub async fn count(db: &mut Db, app: AppId) -> Result<i64, StoreError> {
    let row = query("SELECT COUNT(*) AS n FROM domains WHERE app_id = $1")
        .bind(app.to_string())
        .fetch_one(db)
        .await?;
    Ok(row.try_get("n")?)
}

/// One of an app's hostnames by id or by the name itself.
pub async fn find(db: &mut Db, app: AppId, which: &str) -> Result<DomainRow, StoreError> {
    let row = query("SELECT * FROM domains WHERE app_id = $1 AND (id = $2 OR hostname = $2)")
        .bind(app.to_string())
        .bind(which)
        .fetch_optional(db)
        .await?;
    row.as_ref()
        .map(DomainRow::read)
        .unwrap_or(Err(StoreError::NotFound { what: "domain" }))
}

/// Moves an app's built-in hostname, when the app or the base domain was renamed; conflicts on
/// `domains.hostname`.
pub async fn set_built_in(db: &mut Db, app: AppId, hostname: &Hostname) -> Result<(), StoreError> {
    query("UPDATE domains SET hostname = $2 WHERE app_id = $1 AND kind = 'built-in'")
        .bind(app.to_string())
        .bind(hostname.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// Gives a hostname up.
pub async fn delete(db: &mut Db, id: DomainId) -> Result<(), StoreError> {
    query("DELETE FROM domains WHERE id = $1")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}
