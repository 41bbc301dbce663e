//! The append-only record of who did what, when and why. Repeats of what was observed are one row
//! with a count.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    apps::AppRef,
    events::{Cause, Event, EventFilter},
    ids::{AppId, EventId},
};
use sqlx::{AssertSqlSafe, query, query_scalar, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros, now, number},
    page::Page,
};

/// The kind of the event that an app was destroyed. It is the proof by which builders and registries
/// remove what the app had.
pub const APP_DESTROYED: &str = "app.destroyed";
/// Who acts when it is not a person.
pub const ACTOR_PLATFORM: &str = "platform";

/// A repeat counts for the same event if the one before was this long ago at most: what comes back
/// later is news.
const FOLD_WITHIN: TimeDelta = TimeDelta::hours(1);
/// How long one event counts its repeats, so that what never ends shows in the record each day.
const FOLD_FOR: TimeDelta = TimeDelta::days(1);

/// What was observed, rather than done by somebody.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    pub app: Option<&'a AppRef>,
    /// `noun.verb`
    pub kind: &'static str,
    /// One sentence for people, without secret values.
    pub message: &'a str,
    /// By name: `web.1`.
    pub pod: Option<&'a str>,
    pub cause: Option<&'a Cause>,
}

fn read(row: &SqliteRow) -> Result<Event, StoreError> {
    let id: Option<AppId> = row.parsed_opt("app_id")?;
    let name = row.parsed_opt("app_name")?;
    let cause: Option<Cause> = match row.text_opt("cause")? {
        // One of a newer version that this one does not know is none.
        Some(text) => serde_json::from_str(&text).ok(),
        None => None,
    };
    let created_at = row.time("created_at")?;
    Ok(Event {
        id: row.parsed("id")?,
        position: row.number("position")?,
        app: id.zip(name).map(|(id, name)| AppRef { id, name }),
        actor: row.text("actor")?,
        kind: row.text("kind")?,
        message: row.text("message")?,
        pod: row.text_opt("pod")?,
        code: cause.as_ref().and_then(Cause::code).map(Into::into),
        cause,
        count: row.number("times")?,
        created_at,
        updated_at: row.time_opt("updated_at")?.unwrap_or(created_at),
    })
}

/// Records an event. `actor` is an account's email or [`ACTOR_PLATFORM`], `kind` reads
/// `noun.verb`, `message` is one sentence for people and never holds a secret value.
pub async fn record(
    db: &mut Db,
    app: Option<&AppRef>,
    actor: &str,
    kind: &'static str,
    message: &str,
) -> Result<(), StoreError> {
    let event = Observed {
        app,
        kind,
        message,
        pod: None,
        cause: None,
    };
    insert(db, actor, &event, None, now()).await
}

/// Records what was observed, or counts it if it is a repeat of an event with the same cause.
pub async fn observe(
    db: &mut Db,
    event: &Observed<'_>,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let fold = fold(event);
    if let Some(fold) = &fold
        && repeat(db, event, fold, at).await?
    {
        return Ok(());
    }
    insert(db, ACTOR_PLATFORM, event, fold.as_deref(), at).await
}

/// What repeats of an event share; `None` for what has no cause, and is told each time.
fn fold(event: &Observed<'_>) -> Option<String> {
    let app = event.app.map(|app| app.id.to_string()).unwrap_or_default();
    let pod = event.pod.unwrap_or_default();
    let cause = event.cause?.fingerprint();
    Some(format!("{app} {} {pod} {cause}", event.kind))
}

/// Counts a repeat. False if there is nothing that it repeats.
async fn repeat(
    db: &mut Db,
    event: &Observed<'_>,
    fold: &str,
    at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = query(
        "UPDATE events SET times = times + 1, message = $1, cause = $2, updated_at = $3,
                           position = (SELECT COALESCE(MAX(position), 0) + 1 FROM events)
         WHERE id = (SELECT id FROM events
                     WHERE fold = $4 AND updated_at >= $5 AND created_at >= $6
                     ORDER BY updated_at DESC LIMIT 1)",
    )
    .bind(event.message)
    .bind(event.cause.map(columns::json).transpose()?)
    .bind(micros(at))
    .bind(fold)
    .bind(micros(at - FOLD_WITHIN))
    .bind(micros(at - FOLD_FOR))
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn insert(
    db: &mut Db,
    actor: &str,
    event: &Observed<'_>,
    fold: Option<&str>,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO events (id, app_id, app_name, actor, kind, message, pod, cause, cause_type,
                             fold, created_at, updated_at, position)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11,
                 (SELECT COALESCE(MAX(position), 0) + 1 FROM events))",
    )
    .bind(EventId::generate().to_string())
    .bind(event.app.map(|app| app.id.to_string()))
    .bind(event.app.map(|app| app.name.as_str()))
    .bind(actor)
    .bind(event.kind)
    .bind(event.message)
    .bind(event.pod)
    .bind(event.cause.map(columns::json).transpose()?)
    .bind(event.cause.map(Cause::type_name))
    .bind(fold)
    .bind(micros(at))
    .execute(db)
    .await?;
    Ok(())
}

/// The condition that [`EventFilter::shows`] is, with its text in `$1` and `$2`. The texts have no
/// characters that mean something in a pattern ([`EventFilter::check`]).
const SHOWN: &str = "($1 = '' OR $1 LIKE '%,' || kind || ',%'
                              OR $1 LIKE '%,' || COALESCE(cause_type, '-') || ',%')
                     AND ($2 = '' OR pod = $2 OR pod LIKE $2 || '.%')";

/// A page of an app's events, or of everybody's.
pub async fn list(
    db: &mut Db,
    app: Option<AppId>,
    filter: &EventFilter,
    page: &Page,
) -> Result<Vec<Event>, StoreError> {
    let types = filter.types.as_deref().filter(|types| !types.is_empty());
    let types = types.map(|types| format!(",{types},")).unwrap_or_default();
    let process = filter.process.clone().unwrap_or_default();
    let of_app = if app.is_some() {
        "app_id = $3 AND "
    } else {
        ""
    };
    let base = format!("SELECT * FROM events WHERE {of_app}{SHOWN}");
    let sql = page.narrow(&base, 2 + usize::from(app.is_some()));
    let mut query = query(sql).bind(types).bind(process);
    if let Some(app) = app {
        query = query.bind(app.to_string());
    }
    let rows = page.bind(query).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// What came after a position, of one app or of everybody, in order; at most `count`.
pub async fn after(
    db: &mut Db,
    app: Option<AppId>,
    position: u64,
    count: u32,
) -> Result<Vec<Event>, StoreError> {
    let of_app = if app.is_some() {
        " AND app_id = $3"
    } else {
        ""
    };
    let sql =
        format!("SELECT * FROM events WHERE position > $1{of_app} ORDER BY position LIMIT $2");
    let mut query = query(AssertSqlSafe(sql))
        .bind(number(position))
        .bind(i64::from(count));
    if let Some(app) = app {
        query = query.bind(app.to_string());
    }
    let rows = query.fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// The position of the newest event; 0 if there is none.
pub async fn newest(db: &mut Db) -> Result<u64, StoreError> {
    let newest: Option<i64> = query_scalar("SELECT MAX(position) FROM events")
        .fetch_one(db)
        .await?;
    Ok(newest.and_then(|it| u64::try_from(it).ok()).unwrap_or(0))
}

/// Gives events of a version that did not number them their positions, in their order.
pub async fn number_all(db: &mut Db) -> Result<(), StoreError> {
    query(
        "UPDATE events SET position = numbered.position
         FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id)
                          + (SELECT COALESCE(MAX(position), 0) FROM events) AS position
               FROM events WHERE position IS NULL) AS numbered
         WHERE events.id = numbered.id",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Apps that were destroyed, as far as the record goes back; the newest `count`.
pub async fn destroyed_apps(db: &mut Db, count: u32) -> Result<BTreeSet<AppId>, StoreError> {
    let rows = query(
        "SELECT app_id FROM events WHERE kind = $1 AND app_id IS NOT NULL
         ORDER BY id DESC LIMIT $2",
    )
    .bind(APP_DESTROYED)
    .bind(i64::from(count))
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| row.parsed("app_id")).collect()
}

/// Removes what is older than `before`, so that the record does not grow for ever.
pub async fn delete_before(db: &mut Db, before: DateTime<Utc>) -> Result<(), StoreError> {
    query("DELETE FROM events WHERE created_at < $1")
        .bind(micros(before))
        .execute(db)
        .await?;
    Ok(())
}

/// Removes what was observed before `before`, and of each app all but the newest `count` of what
/// was observed. What people did stays.
pub async fn forget_observed(
    db: &mut Db,
    before: DateTime<Utc>,
    count: u32,
) -> Result<(), StoreError> {
    query("DELETE FROM events WHERE cause_type IS NOT NULL AND updated_at < $1")
        .bind(micros(before))
        .execute(&mut *db)
        .await?;
    query(
        "DELETE FROM events WHERE id IN
         (SELECT id FROM
            (SELECT id, ROW_NUMBER() OVER (PARTITION BY app_id ORDER BY position DESC) AS place
             FROM events WHERE cause_type IS NOT NULL) AS placed
          WHERE place > $1)",
    )
    .bind(i64::from(count))
    .execute(db)
    .await?;
    Ok(())
}

/// The kinds of everything on the record, oldest first.
#[cfg(test)]
pub(crate) async fn kinds(db: &mut Db) -> Result<Vec<String>, StoreError> {
    let rows = query("SELECT kind FROM events ORDER BY id")
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.text("kind")).collect()
}

#[cfg(test)]
mod tests;
