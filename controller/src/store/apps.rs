//! Apps.

use chrono::{DateTime, Utc};
use fairway_api::{
    accounts::UserRef,
    apps::AppRef,
    deployments::Strategy,
    ids::{AppId, ReleaseId, UserId},
    names::{AppName, BranchName},
};
use sqlx::{Row, query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, json, micros, number},
    page::Page,
};

/// An app as stored, with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRow {
    pub id: AppId,
    pub name: AppName,
    pub owner: UserRef,
    pub maintenance: bool,
    pub deploy_branch: Option<BranchName>,
    /// The newest version of its config vars.
    pub config_version: u64,
    /// The release that is live.
    pub current_release: Option<ReleaseId>,
    /// The number of its newest release; 0 before the first.
    pub last_release_version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub released_at: Option<DateTime<Utc>>,
    /// Bytes of its git repository, as last told.
    pub repository_bytes: Option<u64>,
}

impl AppRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            name: row.parsed("name")?,
            owner: UserRef {
                id: row.parsed("owner_id")?,
                email: row.parsed("owner_email")?,
            },
            maintenance: row.flag("maintenance")?,
            deploy_branch: row.parsed_opt("deploy_branch")?,
            config_version: row.number("config_version")?,
            current_release: row.parsed_opt("current_release_id")?,
            last_release_version: row.number("last_release_version")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
            released_at: row.time_opt("released_at")?,
            repository_bytes: row.number_opt("repository_bytes")?,
        })
    }

    /// The short form for other resources.
    pub fn app(&self) -> AppRef {
        AppRef {
            id: self.id,
            name: self.name.clone(),
        }
    }
}

const NOT_FOUND: StoreError = StoreError::NotFound { what: "app" };

/// Adds an app; conflicts on `apps.name`.
pub async fn insert(db: &mut Db, app: &AppRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO apps (id, name, owner_id, maintenance, deploy_branch, config_version,
                           created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(app.id.to_string())
    .bind(app.name.as_str())
    .bind(app.owner.id.to_string())
    .bind(app.maintenance)
    .bind(app.deploy_branch.as_ref().map(BranchName::as_str))
    .bind(number(app.config_version))
    .bind(micros(app.created_at))
    .bind(micros(app.updated_at))
    .execute(db)
    .await?;
    Ok(())
}

/// The app with this id.
pub async fn get(db: &mut Db, id: AppId) -> Result<AppRow, StoreError> {
    let row = query(
        "SELECT apps.*, accounts.email AS owner_email FROM apps
         JOIN accounts ON accounts.id = apps.owner_id WHERE apps.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(db)
    .await?;
    row.as_ref().map(AppRow::read).unwrap_or(Err(NOT_FOUND))
}

/// The app with this id or name. An id is longer than a name may be, so the two cannot be mixed up.
pub async fn find(db: &mut Db, id_or_name: &str) -> Result<AppRow, StoreError> {
    let row = query(
        "SELECT apps.*, accounts.email AS owner_email FROM apps
         JOIN accounts ON accounts.id = apps.owner_id WHERE apps.id = $1 OR apps.name = $1",
    )
    .bind(id_or_name)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(AppRow::read).unwrap_or(Err(NOT_FOUND))
}

/// A page of apps: one owner's, or everybody's.
pub async fn list(
    db: &mut Db,
    owner: Option<UserId>,
    page: &Page,
) -> Result<Vec<AppRow>, StoreError> {
    let sql = page.narrow(
        "SELECT apps.*, accounts.email AS owner_email FROM apps
         JOIN accounts ON accounts.id = apps.owner_id WHERE ($1 IS NULL OR apps.owner_id = $1)",
        1,
    );
    let rows = page
        .bind(query(sql).bind(owner.map(|id| id.to_string())))
        .fetch_all(db)
        .await?;
    rows.iter().map(AppRow::read).collect()
}

/// Every app: what the reconcile loop starts from.
pub async fn all(db: &mut Db) -> Result<Vec<AppRow>, StoreError> {
    list(db, None, &Page::all("apps.id")).await
}

/// How many apps an account owns.
pub async fn count(db: &mut Db, owner: UserId) -> Result<i64, StoreError> {
    let row = query("SELECT COUNT(*) AS n FROM apps WHERE owner_id = $1")
        .bind(owner.to_string())
        .fetch_one(db)
        .await?;
    Ok(row.try_get("n")?)
}

/// Writes what a user may change; conflicts on `apps.name`.
pub async fn update(db: &mut Db, app: &AppRow) -> Result<(), StoreError> {
    let done = query(
        "UPDATE apps SET name = $2, maintenance = $3, deploy_branch = $4, updated_at = $5
         WHERE id = $1",
    )
    .bind(app.id.to_string())
    .bind(app.name.as_str())
    .bind(app.maintenance)
    .bind(app.deploy_branch.as_ref().map(BranchName::as_str))
    .bind(micros(app.updated_at))
    .execute(db)
    .await?;
    if done.rows_affected() == 0 {
        Err(NOT_FOUND)
    } else {
        Ok(())
    }
}

/// Gives an app to another account.
pub async fn set_owner(
    db: &mut Db,
    id: AppId,
    owner: UserId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("UPDATE apps SET owner_id = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(owner.to_string())
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Notes which version of its config vars is the newest.
pub async fn set_config_version(
    db: &mut Db,
    id: AppId,
    version: u64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let done = query("UPDATE apps SET config_version = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(number(version))
        .bind(micros(now))
        .execute(db)
        .await?;
    if done.rows_affected() == 0 {
        Err(NOT_FOUND)
    } else {
        Ok(())
    }
}

/// Notes how large an app's git repository is.
pub async fn set_repository_bytes(db: &mut Db, id: AppId, bytes: u64) -> Result<(), StoreError> {
    let done = query("UPDATE apps SET repository_bytes = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(number(bytes))
        .execute(db)
        .await?;
    if done.rows_affected() == 0 {
        Err(NOT_FOUND)
    } else {
        Ok(())
    }
}

/// How the app's next deployments go, if somebody has chosen.
pub async fn strategy(db: &mut Db, id: AppId) -> Result<Option<Strategy>, StoreError> {
    let row = query("SELECT deploy_strategy FROM apps WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    let row = row.ok_or(NOT_FOUND)?;
    row.json_opt("deploy_strategy")
}

/// Sets how the app's next deployments go; `None` leaves it to the release.
pub async fn set_strategy(
    db: &mut Db,
    id: AppId,
    strategy: Option<&Strategy>,
) -> Result<(), StoreError> {
    query("UPDATE apps SET deploy_strategy = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(strategy.map(json).transpose()?)
        .execute(db)
        .await?;
    Ok(())
}

/// Makes a release the live one.
pub async fn set_current_release(
    db: &mut Db,
    id: AppId,
    release: ReleaseId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let done = query(
        "UPDATE apps SET current_release_id = $2, released_at = $3, updated_at = $3 WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(release.to_string())
    .bind(micros(now))
    .execute(db)
    .await?;
    if done.rows_affected() == 0 {
        Err(NOT_FOUND)
    } else {
        Ok(())
    }
}

/// Takes the next release number: without gaps as long as it is in one transaction with the
/// insert of that release.
pub async fn next_release_version(db: &mut Db, id: AppId) -> Result<u64, StoreError> {
    let row = query(
        "UPDATE apps SET last_release_version = last_release_version + 1 WHERE id = $1
         RETURNING last_release_version",
    )
    .bind(id.to_string())
    .fetch_optional(db)
    .await?;
    row.ok_or(NOT_FOUND)?.number("last_release_version")
}

/// Removes an app and, by cascade, all that belongs to it but its events.
pub async fn delete(db: &mut Db, id: AppId) -> Result<(), StoreError> {
    let done = query("DELETE FROM apps WHERE id = $1")
        .bind(id.to_string())
        .execute(db)
        .await?;
    if done.rows_affected() == 0 {
        Err(NOT_FOUND)
    } else {
        Ok(())
    }
}
