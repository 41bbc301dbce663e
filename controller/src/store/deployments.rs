//! Deployments: the moves from one release to the next, with their state.

use chrono::{DateTime, Utc};
use fairway_api::{
    deployments::{Strategy, Wish},
    ids::{AppId, BuildId, DeploymentId, ReleaseId},
};
use fairway_scheduler::snapshot::DeploymentState;
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros},
    page::Page,
};

/// States that a deployment does not leave any more, as SQL.
macro_rules! ended {
    () => {
        "('succeeded', 'failed', 'reverted', 'superseded')"
    };
}

/// A deployment as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRow {
    pub id: DeploymentId,
    pub app: AppId,
    pub release: ReleaseId,
    /// The build whose output tells of it, if a push caused it.
    pub build: Option<BuildId>,
    /// As it was when the deployment was asked for.
    pub strategy: Strategy,
    /// What somebody asked of it last.
    pub wish: Option<Wish>,
    pub state: DeploymentState,
    pub deadline_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl DeploymentRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            release: row.parsed("release_id")?,
            build: row.parsed_opt("build_id")?,
            strategy: row.json("strategy")?,
            wish: row.json_opt("wish")?,
            state: row.json("detail")?,
            deadline_at: row.time_opt("deadline_at")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// Adds a deployment.
pub async fn insert(db: &mut Db, deployment: &DeploymentRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO deployments (id, app_id, release_id, build_id, strategy, state, detail,
                                  deadline_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(deployment.id.to_string())
    .bind(deployment.app.to_string())
    .bind(deployment.release.to_string())
    .bind(deployment.build.map(|id| id.to_string()))
    .bind(columns::json(&deployment.strategy)?)
    .bind(deployment.state.word())
    .bind(columns::json(&deployment.state)?)
    .bind(deployment.deadline_at.map(micros))
    .bind(micros(deployment.created_at))
    .bind(micros(deployment.updated_at))
    .execute(db)
    .await?;
    Ok(())
}

/// Every deployment that has not ended, oldest first.
pub async fn open(db: &mut Db) -> Result<Vec<DeploymentRow>, StoreError> {
    let rows = query(concat!(
        "SELECT * FROM deployments WHERE state NOT IN ",
        ended!(),
        " ORDER BY id"
    ))
    .fetch_all(db)
    .await?;
    rows.iter().map(DeploymentRow::read).collect()
}

/// An app's deployments that have not ended, oldest first.
pub async fn open_of(db: &mut Db, app: AppId) -> Result<Vec<DeploymentRow>, StoreError> {
    let rows = query(concat!(
        "SELECT * FROM deployments WHERE app_id = $1 AND state NOT IN ",
        ended!(),
        " ORDER BY id"
    ))
    .bind(app.to_string())
    .fetch_all(db)
    .await?;
    rows.iter().map(DeploymentRow::read).collect()
}

/// A page of an app's deployments.
pub async fn list(db: &mut Db, app: AppId, page: &Page) -> Result<Vec<DeploymentRow>, StoreError> {
    let sql = page.narrow("SELECT * FROM deployments WHERE app_id = $1", 1);
    let rows = page
        .bind(query(sql).bind(app.to_string()))
        .fetch_all(db)
        .await?;
    rows.iter().map(DeploymentRow::read).collect()
}

/// One of an app's deployments.
pub async fn of_app(
    db: &mut Db,
    app: AppId,
    id: DeploymentId,
) -> Result<DeploymentRow, StoreError> {
    let row = query("SELECT * FROM deployments WHERE app_id = $1 AND id = $2")
        .bind(app.to_string())
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    let row = row.ok_or(StoreError::NotFound { what: "deployment" })?;
    DeploymentRow::read(&row)
}

/// Notes what somebody asks of a deployment; `None` takes it back.
pub async fn set_wish(
    db: &mut Db,
    id: DeploymentId,
    wish: Option<&Wish>,
) -> Result<(), StoreError> {
    query("UPDATE deployments SET wish = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(wish.map(columns::json).transpose()?)
        .execute(db)
        .await?;
    Ok(())
}

/// What somebody asked of a deployment last.
pub async fn wish(db: &mut Db, id: DeploymentId) -> Result<Option<Wish>, StoreError> {
    let row = query("SELECT wish FROM deployments WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    Ok(row.map(|row| row.json_opt("wish")).transpose()?.flatten())
}

/// Deployments that are live or have ended and whose pushers have not been told yet, oldest first.
pub async fn untold(db: &mut Db) -> Result<Vec<DeploymentRow>, StoreError> {
    let rows = query(
        "SELECT deployments.* FROM builds
         JOIN deployments ON deployments.build_id = builds.id
         WHERE builds.verdict IS NULL
           AND deployments.state IN ('baking', 'succeeded', 'failed', 'reverted', 'superseded')
         ORDER BY deployments.id",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(DeploymentRow::read).collect()
}

/// Moves a deployment to another state. One that has ended does not move any more.
pub async fn advance(
    db: &mut Db,
    id: DeploymentId,
    to: &DeploymentState,
    deadline_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(concat!(
        "UPDATE deployments SET state = $2, detail = $3, deadline_at = $4, updated_at = $5
         WHERE id = $1 AND state NOT IN ",
        ended!()
    ))
    .bind(id.to_string())
    .bind(to.word())
    .bind(columns::json(to)?)
    .bind(deadline_at.map(micros))
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}

/// The release that the app is on its way to: that of its newest open deployment.
pub async fn newest_open(db: &mut Db, app: AppId) -> Result<Option<ReleaseId>, StoreError> {
    let row = query(concat!(
        "SELECT release_id FROM deployments WHERE app_id = $1 AND state NOT IN ",
        ended!(),
        " ORDER BY id DESC LIMIT 1"
    ))
    .bind(app.to_string())
    .fetch_optional(db)
    .await?;
    row.map(|row| row.parsed("release_id")).transpose()
}

#[cfg(test)]
mod tests;
