//! Runs: executions of commands beside the process types, open ones and those that have ended.

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{AppId, ReleaseId, RunId},
    jobs::{RUNS_KEPT_PER_APP, RUNS_KEPT_PER_JOB, RUNS_KEPT_WITHOUT_JOB, RunState},
    names::{JobName, SizeName},
};
use fairway_scheduler::jobs::{Progress, RunKind, Shape};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros, word},
    page::Page,
};

/// A run as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub id: RunId,
    pub app: AppId,
    pub release: ReleaseId,
    pub kind: RunKind,
    pub job: Option<JobName>,
    /// `nightly.10001`
    pub name: String,
    pub number: u32,
    pub size: SizeName,
    /// Command and environment, sealed (`crate::runs::Work`); `None` for a job's own.
    pub work: Option<String>,
    pub shape: Shape,
    pub progress: Progress,
    pub state: RunState,
    pub exit_code: Option<i64>,
    pub reason: Option<String>,
    pub scheduled_at: Option<DateTime<Utc>>,
    pub skipped: u32,
    pub actor: String,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl RunRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            release: row.parsed("release_id")?,
            kind: match row.text("kind")?.as_str() {
                "one-off" => RunKind::OneOff,
                // The column has a `CHECK`.
                _ => RunKind::Job,
            },
            job: row.parsed_opt("job")?,
            name: row.text("name")?,
            number: row.number("number")?,
            size: row.parsed("size")?,
            work: row.text_opt("work")?,
            shape: row.json("shape")?,
            progress: row.json("progress")?,
            state: row.word("state")?,
            exit_code: row.int_opt("exit_code")?,
            reason: row.text_opt("reason")?,
            scheduled_at: row.time_opt("scheduled_at")?,
            skipped: row.number("skipped")?,
            actor: row.text("actor")?,
            created_at: row.time("created_at")?,
            ended_at: row.time_opt("ended_at")?,
        })
    }
}

/// A scheduled time that has a run, and the run's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub app: AppId,
    pub job: JobName,
    pub at: DateTime<Utc>,
    pub number: u32,
}

const NOT_FOUND: StoreError = StoreError::NotFound { what: "run" };

/// Adds a run.
pub async fn insert(db: &mut Db, run: &RunRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO runs (id, app_id, release_id, kind, job, name, number, size, work, shape,
                           progress, state, exit_code, reason, scheduled_at, skipped, actor,
                           created_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                 $19)",
    )
    .bind(run.id.to_string())
    .bind(run.app.to_string())
    .bind(run.release.to_string())
    .bind(match run.kind {
        RunKind::OneOff => "one-off",
        RunKind::Job => "job",
    })
    .bind(run.job.as_ref().map(JobName::as_str))
    .bind(&run.name)
    .bind(i64::from(run.number))
    .bind(run.size.as_str())
    .bind(&run.work)
    .bind(columns::json(&run.shape)?)
    .bind(columns::json(&run.progress)?)
    .bind(word(run.state)?)
    .bind(run.exit_code)
    .bind(&run.reason)
    .bind(run.scheduled_at.map(micros))
    .bind(i64::from(run.skipped))
    .bind(&run.actor)
    .bind(micros(run.created_at))
    .bind(run.ended_at.map(micros))
    .execute(db)
    .await?;
    Ok(())
}

/// One of an app's runs by id or name; of several with one name, the newest.
pub async fn find(db: &mut Db, app: AppId, which: &str) -> Result<RunRow, StoreError> {
    let row = query(
        "SELECT * FROM runs WHERE app_id = $1 AND (id = $2 OR name = $2)
         ORDER BY id DESC LIMIT 1",
    )
    .bind(app.to_string())
    .bind(which)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(RunRow::read).unwrap_or(Err(NOT_FOUND))
}

/// A page of an app's runs.
pub async fn list(db: &mut Db, app: AppId, page: &Page) -> Result<Vec<RunRow>, StoreError> {
    let sql = page.narrow("SELECT * FROM runs WHERE app_id = $1", 1);
    let rows = page
        .bind(query(sql).bind(app.to_string()))
        .fetch_all(db)
        .await?;
    rows.iter().map(RunRow::read).collect()
}

/// The newest run of a job.
pub async fn newest_of(
    db: &mut Db,
    app: AppId,
    job: &JobName,
) -> Result<Option<RunRow>, StoreError> {
    let row = query("SELECT * FROM runs WHERE app_id = $1 AND job = $2 ORDER BY id DESC LIMIT 1")
        .bind(app.to_string())
        .bind(job.as_str())
        .fetch_optional(db)
        .await?;
    row.as_ref().map(RunRow::read).transpose()
}

/// Every run that has not ended.
pub async fn open(db: &mut Db) -> Result<Vec<RunRow>, StoreError> {
    let rows = query("SELECT * FROM runs WHERE state = 'running' ORDER BY id")
        .fetch_all(db)
        .await?;
    rows.iter().map(RunRow::read).collect()
}

/// An app's runs that have not ended, oldest first.
pub async fn open_of(db: &mut Db, app: AppId) -> Result<Vec<RunRow>, StoreError> {
    let rows = query("SELECT * FROM runs WHERE app_id = $1 AND state = 'running' ORDER BY id")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(RunRow::read).collect()
}

/// The scheduled times that have runs; of one app or of all.
pub async fn taken(db: &mut Db, app: Option<AppId>) -> Result<Vec<Taken>, StoreError> {
    let rows = query(
        "SELECT app_id, job, scheduled_at, number FROM runs
         WHERE scheduled_at IS NOT NULL AND job IS NOT NULL AND ($1 IS NULL OR app_id = $1)",
    )
    .bind(app.map(|app| app.to_string()))
    .fetch_all(db)
    .await?;
    let taken = |row: &SqliteRow| {
        Ok(Taken {
            app: row.parsed("app_id")?,
            job: row.parsed("job")?,
            at: row.time("scheduled_at")?,
            number: row.number("number")?,
        })
    };
    rows.iter().map(taken).collect()
}

/// Notes how far a run is. One that has ended meanwhile stays as it ended.
pub async fn progress(db: &mut Db, id: RunId, progress: &Progress) -> Result<(), StoreError> {
    query("UPDATE runs SET progress = $2 WHERE id = $1 AND state = 'running'")
        .bind(id.to_string())
        .bind(columns::json(progress)?)
        .execute(db)
        .await?;
    Ok(())
}

/// Counts scheduled times at which a run was in the way.
pub async fn in_the_way(db: &mut Db, id: RunId, times: u32) -> Result<(), StoreError> {
    query("UPDATE runs SET skipped = skipped + $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(i64::from(times))
        .execute(db)
        .await?;
    Ok(())
}

/// Ends a run, and forgets old ones of the same job. False if it had ended before.
pub async fn end(
    db: &mut Db,
    id: RunId,
    state: RunState,
    exit_code: Option<i64>,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let ended = query(
        "UPDATE runs SET state = $2, exit_code = $3, reason = $4, ended_at = $5
         WHERE id = $1 AND state = 'running'",
    )
    .bind(id.to_string())
    .bind(word(state)?)
    .bind(exit_code)
    .bind(reason)
    .bind(micros(now))
    .execute(&mut *db)
    .await?;
    forget_old(db, id).await?;
    Ok(ended.rows_affected() > 0)
}

/// Forgets what is beyond the kept history: of the job that this run is of, and of its app.
pub async fn forget_old(db: &mut Db, of: RunId) -> Result<(), StoreError> {
    let row = query("SELECT app_id, COALESCE(job, '') AS job FROM runs WHERE id = $1")
        .bind(of.to_string())
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let (app, job) = (row.text("app_id")?, row.text("job")?);
    let kept = if job.is_empty() {
        RUNS_KEPT_WITHOUT_JOB
    } else {
        RUNS_KEPT_PER_JOB
    };
    query(
        "DELETE FROM runs
         WHERE app_id = $1 AND COALESCE(job, '') = $2 AND state <> 'running' AND id <=
             (SELECT id FROM runs
              WHERE app_id = $1 AND COALESCE(job, '') = $2 AND state <> 'running'
              ORDER BY id DESC LIMIT 1 OFFSET $3)",
    )
    .bind(&app)
    .bind(job)
    .bind(i64::from(kept))
    .execute(&mut *db)
    .await?;
    query(
        "DELETE FROM runs WHERE app_id = $1 AND state <> 'running' AND id <=
             (SELECT id FROM runs WHERE app_id = $1 AND state <> 'running'
              ORDER BY id DESC LIMIT 1 OFFSET $2)",
    )
    .bind(app)
    .bind(i64::from(RUNS_KEPT_PER_APP))
    .execute(db)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
