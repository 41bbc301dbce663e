//! What is remembered of jobs.

use chrono::{DateTime, Utc};
use fairway_api::{ids::AppId, names::JobName};
use fairway_scheduler::jobs::Decided;
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, micros},
};

/// A job as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    pub app: AppId,
    pub name: JobName,
    pub suspended: bool,
    /// `None` while it is not on a schedule.
    pub decided: Option<Decided>,
}

impl JobRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let schedule = row.text_opt("schedule")?;
        let until = row.time_opt("decided_until")?;
        Ok(Self {
            app: row.parsed("app_id")?,
            name: row.parsed("name")?,
            suspended: row.time_opt("suspended_at")?.is_some(),
            decided: schedule
                .zip(until)
                .map(|(schedule, until)| Decided { schedule, until }),
        })
    }
}

/// Every job.
pub async fn all(db: &mut Db) -> Result<Vec<JobRow>, StoreError> {
    let rows = query("SELECT * FROM jobs ORDER BY app_id, name")
        .fetch_all(db)
        .await?;
    rows.iter().map(JobRow::read).collect()
}

/// An app's jobs.
pub async fn of_app(db: &mut Db, app: AppId) -> Result<Vec<JobRow>, StoreError> {
    let rows = query("SELECT * FROM jobs WHERE app_id = $1 ORDER BY name")
        .bind(app.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(JobRow::read).collect()
}

/// Notes up to when a schedule is dealt with; `None`: the job is not on one any more. One that is
/// suspended meanwhile stays without: it begins anew when it is resumed.
pub async fn decide(
    db: &mut Db,
    app: AppId,
    name: &JobName,
    decided: Option<&Decided>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO jobs (app_id, name, schedule, decided_until) VALUES ($1, $2, $3, $4)
         ON CONFLICT (app_id, name) DO UPDATE SET
             schedule = CASE WHEN jobs.suspended_at IS NULL THEN excluded.schedule END,
             decided_until = CASE WHEN jobs.suspended_at IS NULL THEN excluded.decided_until END",
    )
    .bind(app.to_string())
    .bind(name.as_str())
    .bind(decided.map(|decided| decided.schedule.as_str()))
    .bind(decided.map(|decided| micros(decided.until)))
    .execute(&mut *db)
    .await?;
    if decided.is_none() {
        query("DELETE FROM jobs WHERE app_id = $1 AND name = $2 AND suspended_at IS NULL")
            .bind(app.to_string())
            .bind(name.as_str())
            .execute(db)
            .await?;
    }
    Ok(())
}

/// Suspends a job, or resumes it. Either way its schedule begins anew: what passes meanwhile was
/// not missed.
pub async fn suspend(
    db: &mut Db,
    app: AppId,
    name: &JobName,
    by: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO jobs (app_id, name, suspended_at, suspended_by) VALUES ($1, $2, $3, $4)
         ON CONFLICT (app_id, name) DO UPDATE SET
             suspended_at = excluded.suspended_at, suspended_by = excluded.suspended_by,
             schedule = NULL, decided_until = NULL",
    )
    .bind(app.to_string())
    .bind(name.as_str())
    .bind(by.map(|_| micros(now)))
    .bind(by)
    .execute(db)
    .await?;
    Ok(())
}
