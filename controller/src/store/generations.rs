//! Numbers of whole orders (`routes`, `node/NAME`): what was given out never comes again.
//!
//! A row holds a number that no order given out so far exceeds. Numbers are taken in blocks
//! ([`crate::orchestrator::generation`]), so that an order does not cost a write.

use sqlx::query;

use super::{
    Db, StoreError,
    columns::{Columns, number},
};

/// The highest number that may have been given out; 0 before the first.
pub async fn get(db: &mut Db, name: &str) -> Result<u64, StoreError> {
    let row = query("SELECT value FROM generations WHERE name = $1")
        .bind(name)
        .fetch_optional(db)
        .await?;
    row.map_or(Ok(0), |row| row.number("value"))
}

/// Raises it; a lower value than the stored one changes nothing.
pub async fn raise(db: &mut Db, name: &str, value: u64) -> Result<(), StoreError> {
    query(
        "INSERT INTO generations (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value
         WHERE generations.value < excluded.value",
    )
    .bind(name)
    .bind(number(value))
    .execute(db)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
