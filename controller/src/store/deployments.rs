//! Deployments: the moves from one release to the next, with their state.

use chrono::{DateTime, Utc};
use fairway_api::ids::{AppId, BuildId, DeploymentId, ReleaseId};
use fairway_scheduler::snapshot::DeploymentState;
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros},
};

/// A deployment as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRow {
    pub id: DeploymentId,
    pub app: AppId,
    pub release: ReleaseId,
    /// The build whose output tells of it, if a push caused it.
    pub build: Option<BuildId>,
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
        "INSERT INTO deployments (id, app_id, release_id, build_id, state, detail, deadline_at,
                                  created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(deployment.id.to_string())
    .bind(deployment.app.to_string())
    .bind(deployment.release.to_string())
    .bind(deployment.build.map(|id| id.to_string()))
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
    let rows = query(
        "SELECT * FROM deployments
         WHERE state IN ('queued', 'release-phase', 'starting', 'switching') ORDER BY id",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(DeploymentRow::read).collect()
}

/// An app's deployments that have not ended, oldest first.
pub async fn open_of(db: &mut Db, app: AppId) -> Result<Vec<DeploymentRow>, StoreError> {
    let rows = query(
        "SELECT * FROM deployments
         WHERE app_id = $1 AND state IN ('queued', 'release-phase', 'starting', 'switching')
         ORDER BY id",
    )
    .bind(app.to_string())
    .fetch_all(db)
    .await?;
    rows.iter().map(DeploymentRow::read).collect()
}

/// Deployments that have ended and whose pushers have not been told yet, oldest first.
pub async fn untold(db: &mut Db) -> Result<Vec<DeploymentRow>, StoreError> {
    let rows = query(
        "SELECT deployments.* FROM builds
         JOIN deployments ON deployments.build_id = builds.id
         WHERE builds.verdict IS NULL
           AND deployments.state IN ('succeeded', 'failed', 'superseded')
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
    query(
        "UPDATE deployments SET state = $2, detail = $3, deadline_at = $4, updated_at = $5
         WHERE id = $1 AND state NOT IN ('succeeded', 'failed', 'superseded')",
    )
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
    let row = query(
        "SELECT release_id FROM deployments
         WHERE app_id = $1 AND state IN ('queued', 'release-phase', 'starting', 'switching')
         ORDER BY id DESC LIMIT 1",
    )
    .bind(app.to_string())
    .fetch_optional(db)
    .await?;
    row.map(|row| row.parsed("release_id")).transpose()
}

#[cfg(test)]
mod tests;
