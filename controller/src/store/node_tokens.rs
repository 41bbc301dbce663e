//! Tokens that let machines join: each one machine, once.

use chrono::{DateTime, Utc};
use fairway_api::{ids::NodeTokenId, names::NodeName};
use sqlx::query;

use super::{
    Db, StoreError,
    columns::{Columns, micros},
};

/// A join token as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTokenRow {
    pub id: NodeTokenId,
    /// SHA-256 of the secret, in hexadecimal.
    pub hash: String,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    pub used_by: Option<NodeName>,
    pub created_at: DateTime<Utc>,
}

/// Adds a token that was not used yet.
pub async fn insert(db: &mut Db, token: &NodeTokenRow) -> Result<(), StoreError> {
    query("INSERT INTO node_tokens (id, hash, expires_at, created_at) VALUES ($1, $2, $3, $4)")
        .bind(token.id.to_string())
        .bind(&token.hash)
        .bind(micros(token.expires_at))
        .bind(micros(token.created_at))
        .execute(db)
        .await?;
    Ok(())
}

/// The token with this hash, used or not.
pub async fn by_hash(db: &mut Db, hash: &str) -> Result<Option<NodeTokenRow>, StoreError> {
    let row = query("SELECT * FROM node_tokens WHERE hash = $1")
        .bind(hash)
        .fetch_optional(db)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(NodeTokenRow {
        id: row.parsed("id")?,
        hash: row.text("hash")?,
        expires_at: row.time("expires_at")?,
        used_at: row.time_opt("used_at")?,
        used_by: row.parsed_opt("used_by")?,
        created_at: row.time("created_at")?,
    }))
}

/// How many tokens can still be used.
pub async fn count_usable(db: &mut Db, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let row = query(
        "SELECT COUNT(*) AS usable FROM node_tokens WHERE used_at IS NULL AND expires_at > $1",
    )
    .bind(micros(now))
    .fetch_one(db)
    .await?;
    row.number("usable")
}

/// Notes that a machine joined with a token.
pub async fn set_used(
    db: &mut Db,
    id: NodeTokenId,
    by: &NodeName,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("UPDATE node_tokens SET used_at = $2, used_by = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(micros(now))
        .bind(by.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets tokens that ended before `time`.
pub async fn delete_before(db: &mut Db, time: DateTime<Utc>) -> Result<(), StoreError> {
    query("DELETE FROM node_tokens WHERE expires_at < $1")
        .bind(micros(time))
        .execute(db)
        .await?;
    Ok(())
}

/// Lets no token be used any more.
#[cfg(test)]
pub(crate) async fn expire_all(db: &mut Db) -> Result<(), StoreError> {
    query("UPDATE node_tokens SET expires_at = created_at")
        .execute(db)
        .await?;
    Ok(())
}
