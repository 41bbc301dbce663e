//! Public SSH keys of accounts.

use chrono::{DateTime, Utc};
use fairway_api::ids::{KeyId, UserId};
use sqlx::{Row, query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    accounts::{self, AccountRow},
    columns::{Columns, micros},
};

/// A public key as stored.
#[derive(Debug, Clone)]
pub struct KeyRow {
    pub id: KeyId,
    pub account: UserId,
    /// `SHA256:...`
    pub fingerprint: String,
    /// Type and base64, without the comment.
    pub public_key: String,
    pub comment: String,
    pub created_at: DateTime<Utc>,
}

impl KeyRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            account: row.parsed("account_id")?,
            fingerprint: row.text("fingerprint")?,
            public_key: row.text("public_key")?,
            comment: row.text("comment")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// Adds a key; conflicts on `keys.fingerprint`: a key says who pushes, so it has one account.
pub async fn insert(db: &mut Db, key: &KeyRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO keys (id, account_id, fingerprint, public_key, comment, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(key.id.to_string())
    .bind(key.account.to_string())
    .bind(&key.fingerprint)
    .bind(&key.public_key)
    .bind(&key.comment)
    .bind(micros(key.created_at))
    .execute(db)
    .await?;
    Ok(())
}

/// An account's keys, oldest first.
pub async fn list(db: &mut Db, account: UserId) -> Result<Vec<KeyRow>, StoreError> {
    let rows = query("SELECT * FROM keys WHERE account_id = $1 ORDER BY id")
        .bind(account.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(KeyRow::read).collect()
}

/// How many keys an account has.
pub async fn count(db: &mut Db, account: UserId) -> Result<i64, StoreError> {
    let row = query("SELECT COUNT(*) AS n FROM keys WHERE account_id = $1")
        .bind(account.to_string())
        .fetch_one(db)
        .await?;
    Ok(row.try_get("n")?)
}

/// One of an account's keys by id or fingerprint.
pub async fn find(db: &mut Db, account: UserId, which: &str) -> Result<KeyRow, StoreError> {
    let row = query("SELECT * FROM keys WHERE account_id = $1 AND (id = $2 OR fingerprint = $2)")
        .bind(account.to_string())
        .bind(which)
        .fetch_optional(db)
        .await?;
    row.as_ref()
        .map(KeyRow::read)
        .unwrap_or(Err(StoreError::NotFound { what: "key" }))
}

/// Whose key this is.
pub async fn owner(db: &mut Db, fingerprint: &str) -> Result<Option<AccountRow>, StoreError> {
    let row = query("SELECT account_id FROM keys WHERE fingerprint = $1")
        .bind(fingerprint)
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = row else { return Ok(None) };
    accounts::get(db, row.parsed("account_id")?).await.map(Some)
}

/// Removes a key.
pub async fn delete(db: &mut Db, id: KeyId) -> Result<(), StoreError> {
    query("DELETE FROM keys WHERE id = $1")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}
