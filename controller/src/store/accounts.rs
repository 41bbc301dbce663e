//! Accounts.

use chrono::{DateTime, Utc};
use fairway_api::{
    accounts::{Account, AccountRole, UserRef},
    ids::UserId,
    names::Email,
};
use sqlx::{Row, query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, micros, word},
};

/// An account as stored, with what proves its password.
#[derive(Debug, Clone)]
pub struct AccountRow {
    pub id: UserId,
    pub email: Email,
    /// Argon2id in PHC form.
    pub password_hash: String,
    pub role: AccountRole,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl AccountRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            email: row.parsed("email")?,
            password_hash: row.text("password_hash")?,
            role: row.word("role")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }

    /// The short form for other resources.
    pub fn user(&self) -> UserRef {
        UserRef {
            id: self.id,
            email: self.email.clone(),
        }
    }

    /// True for accounts that see and change everything.
    pub fn is_admin(&self) -> bool {
        self.role == AccountRole::Admin
    }
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id,
            email: row.email,
            role: row.role,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Adds an account; conflicts on `accounts.email`. One that was removed before comes back under its
/// old id, which is given: what it did in its first life stays its own.
pub async fn insert(db: &mut Db, account: &AccountRow) -> Result<UserId, StoreError> {
    let row = query(
        "INSERT INTO accounts (id, email, password_hash, role, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (email) DO UPDATE SET password_hash = excluded.password_hash,
             role = excluded.role, updated_at = excluded.updated_at, removed_at = NULL
         WHERE accounts.removed_at IS NOT NULL
         RETURNING id",
    )
    .bind(account.id.to_string())
    .bind(account.email.as_str())
    .bind(&account.password_hash)
    .bind(word(account.role)?)
    .bind(micros(account.created_at))
    .bind(micros(account.updated_at))
    .fetch_optional(db)
    .await?;
    let row = row.ok_or_else(|| StoreError::Conflict {
        unique: "accounts.email".into(),
    })?;
    row.parsed("id")
}

/// Takes an account out of use: nobody can log in as it any more. Its row stays for what names it,
/// builds and releases.
pub async fn remove(db: &mut Db, id: UserId, now: DateTime<Utc>) -> Result<(), StoreError> {
    for rest in [
        "DELETE FROM tokens WHERE account_id = $1",
        "DELETE FROM keys WHERE account_id = $1",
    ] {
        query(rest).bind(id.to_string()).execute(&mut *db).await?;
    }
    query("UPDATE accounts SET password_hash = '', removed_at = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// The account with this id or email, unless it was removed.
pub async fn find(db: &mut Db, id_or_email: &str) -> Result<AccountRow, StoreError> {
    let row =
        query("SELECT * FROM accounts WHERE (id = $1 OR LOWER(email) = $2) AND removed_at IS NULL")
            .bind(id_or_email)
            .bind(id_or_email.to_lowercase())
            .fetch_optional(db)
            .await?;
    row.as_ref()
        .map(AccountRow::read)
        .unwrap_or(Err(StoreError::NotFound { what: "account" }))
}

/// The account with this id.
pub async fn get(db: &mut Db, id: UserId) -> Result<AccountRow, StoreError> {
    let row = query("SELECT * FROM accounts WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    row.as_ref()
        .map(AccountRow::read)
        .unwrap_or(Err(StoreError::NotFound { what: "account" }))
}

/// The account with this email, if there is one.
pub async fn by_email(db: &mut Db, email: &Email) -> Result<Option<AccountRow>, StoreError> {
    let row = query("SELECT * FROM accounts WHERE email = $1 AND removed_at IS NULL")
        .bind(email.as_str())
        .fetch_optional(db)
        .await?;
    row.as_ref().map(AccountRow::read).transpose()
}

/// All accounts, oldest first.
pub async fn list(db: &mut Db) -> Result<Vec<AccountRow>, StoreError> {
    let rows = query("SELECT * FROM accounts WHERE removed_at IS NULL ORDER BY id")
        .fetch_all(db)
        .await?;
    rows.iter().map(AccountRow::read).collect()
}

/// How many accounts there are.
pub async fn count(db: &mut Db) -> Result<i64, StoreError> {
    Ok(
        query("SELECT COUNT(*) AS n FROM accounts WHERE removed_at IS NULL")
            .fetch_one(db)
            .await?
            .try_get("n")?,
    )
}

/// Changes the password.
pub async fn set_password_hash(
    db: &mut Db,
    id: UserId,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let done = query("UPDATE accounts SET password_hash = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(password_hash)
        .bind(micros(now))
        .execute(db)
        .await?;
    if done.rows_affected() == 0 {
        Err(StoreError::NotFound { what: "account" })
    } else {
        Ok(())
    }
}
