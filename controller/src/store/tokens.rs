//! API tokens of accounts. Only a token's hash is stored.

use chrono::{DateTime, Utc};
use fairway_api::ids::{TokenId, UserId};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    accounts::{self, AccountRow},
    columns::{Columns, micros},
};

/// A token as stored.
#[derive(Debug, Clone)]
pub struct TokenRow {
    pub id: TokenId,
    pub account: UserId,
    pub description: Option<String>,
    /// SHA-256 of the token in hex.
    pub hash: String,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

impl TokenRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            account: row.parsed("account_id")?,
            description: row.text_opt("description")?,
            hash: row.text("hash")?,
            expires_at: row.time_opt("expires_at")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// Adds a token.
pub async fn insert(db: &mut Db, token: &TokenRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO tokens (id, account_id, description, hash, expires_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(token.id.to_string())
    .bind(token.account.to_string())
    .bind(&token.description)
    .bind(&token.hash)
    .bind(token.expires_at.map(micros))
    .bind(micros(token.created_at))
    .execute(db)
    .await?;
    Ok(())
}

/// The token with this hash and its account, unless it has expired.
pub async fn by_hash(
    db: &mut Db,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<(TokenRow, AccountRow)>, StoreError> {
    let row =
        query("SELECT * FROM tokens WHERE hash = $1 AND (expires_at IS NULL OR expires_at > $2)")
            .bind(hash)
            .bind(micros(now))
            .fetch_optional(&mut *db)
            .await?;
    let Some(row) = row else { return Ok(None) };
    let token = TokenRow::read(&row)?;
    let account = accounts::get(db, token.account).await?;
    Ok(Some((token, account)))
}

/// An account's tokens that have not expired, oldest first.
pub async fn list(
    db: &mut Db,
    account: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<TokenRow>, StoreError> {
    let rows = query(
        "SELECT * FROM tokens
         WHERE account_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY id",
    )
    .bind(account.to_string())
    .bind(micros(now))
    .fetch_all(db)
    .await?;
    rows.iter().map(TokenRow::read).collect()
}

/// Revokes an account's token and returns it.
pub async fn delete(db: &mut Db, account: UserId, id: TokenId) -> Result<TokenRow, StoreError> {
    let row = query("DELETE FROM tokens WHERE account_id = $1 AND id = $2 RETURNING *")
        .bind(account.to_string())
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    row.as_ref()
        .map(TokenRow::read)
        .unwrap_or(Err(StoreError::NotFound {
            what: "authorization",
        }))
}

/// Revokes all of an account's tokens but `keep`; a new password does this.
pub async fn delete_others(
    db: &mut Db,
    account: UserId,
    keep: Option<TokenId>,
) -> Result<(), StoreError> {
    query("DELETE FROM tokens WHERE account_id = $1 AND ($2 IS NULL OR id <> $2)")
        .bind(account.to_string())
        .bind(keep.map(|id| id.to_string()))
        .execute(db)
        .await?;
    Ok(())
}

/// Removes what has expired, so that the table does not grow with short-lived tokens.
pub async fn delete_expired(db: &mut Db, now: DateTime<Utc>) -> Result<(), StoreError> {
    query("DELETE FROM tokens WHERE expires_at <= $1")
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}
