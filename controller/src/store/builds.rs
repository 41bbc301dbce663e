//! Builds, which are also the queue that builders take work from.
//!
//! A *push* is open from the moment its build is queued until its verdict is set, which is when the
//! release made from it is live or has failed. Pushes of one app pass one at a time and in order:
//! that rule stands in one place, the condition of [`claim`].

use chrono::{DateTime, Utc};
use fairway_api::{
    accounts::UserRef,
    build_orders::{BuiltImage, PushVerdict},
    builds::{BuildPhase, PushedCommit},
    ids::{AppId, BuildId, ReleaseId},
    names::BuilderName,
};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros, word},
    page::Page,
};

/// A build as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRow {
    pub id: BuildId,
    pub app: AppId,
    pub user: UserRef,
    /// The builder that holds the source.
    pub builder: BuilderName,
    pub source: PushedCommit,
    pub phase: BuildPhase,
    /// Why it failed, for the user.
    pub failure: Option<String>,
    /// While running: when the builder counts as gone, unless it was heard of since.
    pub lease_until: Option<DateTime<Utc>>,
    /// What it made.
    pub result: Option<BuiltImage>,
    /// The release made from it.
    pub release: Option<ReleaseId>,
    /// How the whole push ended.
    pub verdict: Option<PushVerdict>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl BuildRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            user: UserRef {
                id: row.parsed("user_id")?,
                email: row.parsed("user_email")?,
            },
            builder: row.parsed("builder")?,
            source: row.json("source")?,
            phase: row.word("phase")?,
            failure: row.text_opt("failure")?,
            lease_until: row.time_opt("lease_until")?,
            result: row.json_opt("result")?,
            release: row.parsed_opt("release_id")?,
            verdict: row.json_opt("verdict")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

const NOT_FOUND: StoreError = StoreError::NotFound { what: "build" };

/// Queues a build.
pub async fn insert(db: &mut Db, build: &BuildRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO builds (id, app_id, user_id, builder, source, phase, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(build.id.to_string())
    .bind(build.app.to_string())
    .bind(build.user.id.to_string())
    .bind(build.builder.as_str())
    .bind(columns::json(&build.source)?)
    .bind(word(build.phase)?)
    .bind(micros(build.created_at))
    .bind(micros(build.updated_at))
    .execute(db)
    .await?;
    Ok(())
}

/// The build with this id.
pub async fn get(db: &mut Db, id: BuildId) -> Result<BuildRow, StoreError> {
    let row = query(
        "SELECT builds.*, accounts.email AS user_email FROM builds
         JOIN accounts ON accounts.id = builds.user_id WHERE builds.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(db)
    .await?;
    row.as_ref().map(BuildRow::read).unwrap_or(Err(NOT_FOUND))
}

/// A page of an app's builds.
pub async fn list(db: &mut Db, app: AppId, page: &Page) -> Result<Vec<BuildRow>, StoreError> {
    let sql = page.narrow(
        "SELECT builds.*, accounts.email AS user_email FROM builds
         JOIN accounts ON accounts.id = builds.user_id WHERE builds.app_id = $1",
        1,
    );
    let rows = page
        .bind(query(sql).bind(app.to_string()))
        .fetch_all(db)
        .await?;
    rows.iter().map(BuildRow::read).collect()
}

/// An app's open pushes, first in the queue first.
pub async fn open_pushes(db: &mut Db, app: AppId) -> Result<Vec<BuildRow>, StoreError> {
    let rows = query(
        "SELECT builds.*, accounts.email AS user_email FROM builds
         JOIN accounts ON accounts.id = builds.user_id
         WHERE builds.app_id = $1 AND builds.verdict IS NULL ORDER BY builds.id",
    )
    .bind(app.to_string())
    .fetch_all(db)
    .await?;
    rows.iter().map(BuildRow::read).collect()
}

/// Every app's builds that have not ended: what the sweeper looks at.
pub async fn unended(db: &mut Db) -> Result<Vec<BuildRow>, StoreError> {
    let rows = query(
        "SELECT builds.*, accounts.email AS user_email FROM builds
         JOIN accounts ON accounts.id = builds.user_id
         WHERE builds.phase IN ('queued', 'running') ORDER BY builds.id",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(BuildRow::read).collect()
}

/// Hands the builder its next build: the oldest queued one whose app has no earlier open push and
/// no open deployment.
pub async fn claim(
    db: &mut Db,
    builder: &BuilderName,
    lease_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<BuildRow>, StoreError> {
    let row = query(
        "UPDATE builds SET phase = 'running', lease_until = $2, updated_at = $3
         WHERE phase = 'queued' AND id = (
             SELECT b.id FROM builds b
             WHERE b.phase = 'queued' AND b.builder = $1
               AND NOT EXISTS (SELECT 1 FROM builds earlier
                               WHERE earlier.app_id = b.app_id AND earlier.verdict IS NULL
                                 AND earlier.id < b.id)
               AND NOT EXISTS (SELECT 1 FROM deployments d
                               WHERE d.app_id = b.app_id
                                 AND d.state IN ('queued', 'release-phase', 'starting',
                                                 'switching'))
             ORDER BY b.id LIMIT 1)
         RETURNING id",
    )
    .bind(builder.as_str())
    .bind(micros(lease_until))
    .bind(micros(now))
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    get(db, row.parsed("id")?).await.map(Some)
}

/// Notes what a running build made. False when it was not running any more.
pub async fn succeed(
    db: &mut Db,
    id: BuildId,
    result: &BuiltImage,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = query(
        "UPDATE builds SET phase = 'succeeded', result = $2, lease_until = NULL, updated_at = $3
         WHERE id = $1 AND phase = 'running'",
    )
    .bind(id.to_string())
    .bind(columns::json(result)?)
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a build that made nothing, and with it its push. False when it had ended before.
pub async fn fail(
    db: &mut Db,
    id: BuildId,
    phase: BuildPhase,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let verdict = PushVerdict::Failed {
        reason: reason.into(),
    };
    let done = query(
        "UPDATE builds SET phase = $2, failure = $3, verdict = $4, lease_until = NULL,
                           updated_at = $5
         WHERE id = $1 AND phase IN ('queued', 'running')",
    )
    .bind(id.to_string())
    .bind(word(phase)?)
    .bind(reason)
    .bind(columns::json(&verdict)?)
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Names the release that was made from a build.
pub async fn set_release(db: &mut Db, id: BuildId, release: ReleaseId) -> Result<(), StoreError> {
    query("UPDATE builds SET release_id = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(release.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// Says how the push ended; the first verdict stays. After the commit, call
/// `AppState::push_ended`, which lets go of who waits for it.
pub async fn set_verdict(
    db: &mut Db,
    id: BuildId,
    verdict: &PushVerdict,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("UPDATE builds SET verdict = $2, updated_at = $3 WHERE id = $1 AND verdict IS NULL")
        .bind(id.to_string())
        .bind(columns::json(verdict)?)
        .bind(micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// A few of an app's builds beyond its `newest`, the newest of them first; for cleaning up after
/// each build what the last ones left.
pub async fn beyond_newest(
    db: &mut Db,
    app: AppId,
    newest: u32,
) -> Result<Vec<BuildId>, StoreError> {
    let rows = query("SELECT id FROM builds WHERE app_id = $1 ORDER BY id DESC LIMIT 5 OFFSET $2")
        .bind(app.to_string())
        .bind(i64::from(newest))
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.parsed("id")).collect()
}

/// All of an app's builds, by id only.
pub async fn ids(db: &mut Db, app: AppId) -> Result<Vec<BuildId>, StoreError> {
    let rows = query("SELECT id FROM builds WHERE app_id = $1")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.parsed("id")).collect()
}
