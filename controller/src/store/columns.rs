//! How values stand in columns: ids and names as text, times as microseconds, the rest as JSON.
//!
//! SQLite and PostgreSQL both speak these forms, so one set of queries serves both.

use std::{error::Error, str::FromStr};

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row, sqlite::SqliteRow};

use super::StoreError;

/// The present moment in the precision of the database, so that what was written equals what is
/// read back.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// A time for a column.
pub fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// A value for a JSON column.
pub fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Database(sqlx::Error::Encode(error.into())))
}

/// The word of a plain enum (`#[serde(rename_all)]`, no data) for a column with a `CHECK`.
pub fn word<T: Serialize>(value: T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(StoreError::Database(sqlx::Error::Encode(
            "not an enum without data".into(),
        ))),
    }
}

/// A count or version for a column; numbers past 2^63 do not occur.
pub fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Typed reading of a row's columns.
pub trait Columns {
    /// Text as it is.
    fn text(&self, column: &str) -> Result<String, StoreError>;
    /// Text that may be null.
    fn text_opt(&self, column: &str) -> Result<Option<String>, StoreError>;
    /// A whole number that may be null.
    fn int_opt(&self, column: &str) -> Result<Option<i64>, StoreError>;
    /// A truth value.
    fn flag(&self, column: &str) -> Result<bool, StoreError>;

    /// An id or a name.
    fn parsed<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        let text = self.text(column)?;
        text.parse()
            .map_err(|source: T::Err| corrupt(column, text, source))
    }

    /// An id or a name that may be null.
    fn parsed_opt<T>(&self, column: &str) -> Result<Option<T>, StoreError>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        let Some(text) = self.text_opt(column)? else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|source: T::Err| corrupt(column, text, source))
    }

    /// A value kept as JSON.
    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        serde_json::from_str(&text).map_err(|source| corrupt(column, text, source))
    }

    /// A value kept as JSON that may be null.
    fn json_opt<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let Some(text) = self.text_opt(column)? else {
            return Ok(None);
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| corrupt(column, text, source))
    }

    /// The word of a plain enum.
    fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        serde_json::from_value(serde_json::Value::String(text.clone()))
            .map_err(|source| corrupt(column, text, source))
    }

    /// A count or version.
    fn number<T: TryFrom<i64, Error: Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<T, StoreError> {
        let value = self.int_opt(column)?.unwrap_or_default();
        T::try_from(value).map_err(|source| corrupt(column, value.to_string(), source))
    }

    /// A count or version that may be null.
    fn number_opt<T: TryFrom<i64, Error: Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.int_opt(column)? else {
            return Ok(None);
        };
        T::try_from(value)
            .map(Some)
            .map_err(|source| corrupt(column, value.to_string(), source))
    }

    /// A time.
    fn time(&self, column: &str) -> Result<DateTime<Utc>, StoreError> {
        let micros = self.int_opt(column)?.unwrap_or_default();
        DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| corrupt(column, micros.to_string(), OutOfRange))
    }

    /// A time that may be null.
    fn time_opt(&self, column: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let Some(micros) = self.int_opt(column)? else {
            return Ok(None);
        };
        DateTime::from_timestamp_micros(micros)
            .map(Some)
            .ok_or_else(|| corrupt(column, micros.to_string(), OutOfRange))
    }
}

impl Columns for SqliteRow {
    fn text(&self, column: &str) -> Result<String, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn text_opt(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn int_opt(&self, column: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn flag(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.try_get(column)?)
    }
}

/// A number of microseconds that is no time.
#[derive(Debug, thiserror::Error)]
#[error("out of the range of times")]
struct OutOfRange;

/// How much of a bad value an error repeats, in characters. Columns with secrets are ciphertext.
const QUOTED_CHARS_MAX: usize = 80;

fn corrupt(column: &str, value: String, source: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::Corrupt {
        column: column.into(),
        value: value.chars().take(QUOTED_CHARS_MAX).collect(),
        source: Box::new(source),
    }
}
