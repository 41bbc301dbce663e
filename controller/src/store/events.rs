//! The append-only record of who did what, when and why.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use fairway_api::{
    apps::AppRef,
    events::Event,
    ids::{AppId, EventId},
};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{Columns, micros, now},
    page::Page,
};

/// The kind of the event that an app was destroyed. It is the proof by which builders and registries
/// remove what the app had.
pub const APP_DESTROYED: &str = "app.destroyed";
/// Who acts when it is not a person.
pub const ACTOR_PLATFORM: &str = "platform";

fn read(row: &SqliteRow) -> Result<Event, StoreError> {
    let id: Option<AppId> = row.parsed_opt("app_id")?;
    let name = row.parsed_opt("app_name")?;
    Ok(Event {
        id: row.parsed("id")?,
        app: id.zip(name).map(|(id, name)| AppRef { id, name }),
        actor: row.text("actor")?,
        kind: row.text("kind")?,
        message: row.text("message")?,
        created_at: row.time("created_at")?,
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
    query(
        "INSERT INTO events (id, app_id, app_name, actor, kind, message, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(EventId::generate().to_string())
    .bind(app.map(|app| app.id.to_string()))
    .bind(app.map(|app| app.name.as_str()))
    .bind(actor)
    .bind(kind)
    .bind(message)
    .bind(micros(now()))
    .execute(db)
    .await?;
    Ok(())
}

/// A page of an app's events.
pub async fn list(db: &mut Db, app: AppId, page: &Page) -> Result<Vec<Event>, StoreError> {
    let sql = page.narrow("SELECT * FROM events WHERE app_id = $1", 1);
    let rows = page
        .bind(query(sql).bind(app.to_string()))
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
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

/// The kinds of everything on the record, oldest first.
#[cfg(test)]
pub(crate) async fn kinds(db: &mut Db) -> Result<Vec<String>, StoreError> {
    let rows = query("SELECT kind FROM events ORDER BY id")
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.text("kind")).collect()
}
