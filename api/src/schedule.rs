//! When a job runs: a crontab line in a time zone. Pure.
//!
//! The fields mean what they mean in crontab(5). When clocks change, a job that names its hours runs
//! exactly once that day: at the first moment after the gap, and in the first of two equal hours. A
//! job of an interval (`*/15 * * * *`) goes by elapsed time.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

/// The longest schedule, in characters.
const SCHEDULE_CHARS_MAX: usize = 200;
/// The time zone when nobody says.
pub const TIME_ZONE_DEFAULT: &str = "UTC";

/// A crontab line in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: Tz,
}

/// Why something is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// Not a crontab line.
    #[error(
        "{text:?} is no schedule: {why}; write five fields as in crontab (minute, hour, day of the \
         month, month, day of the week) or @hourly, @daily, @weekly, @monthly, @yearly"
    )]
    Line { text: String, why: String },
    /// Not a time zone of the time zone database.
    #[error("{0:?} is no time zone; write a name such as Europe/Berlin, America/New_York or UTC")]
    Zone(String),
    /// A day such as 30 February.
    #[error("{0:?} names a time that never comes")]
    Never(String),
}

impl Schedule {
    /// Reads a crontab line and the name of a time zone.
    pub fn parse(line: &str, zone: &str) -> Result<Self, InvalidSchedule> {
        let cron = parse_line(line)?;
        let zone: Tz = zone
            .parse()
            .map_err(|_| InvalidSchedule::Zone(zone.chars().take(80).collect()))?;
        let schedule = Self {
            text: format!("{} {zone}", line.trim()),
            cron,
            zone,
        };
        // The present does not matter: what comes at all comes within some years of any day.
        match schedule.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(InvalidSchedule::Never(line.into())),
        }
    }

    /// The first time after this one; `None` if there is none.
    pub fn next_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let from = at.with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        // A schedule that stood still would make its reader turn in a circle.
        Some(next.with_timezone(&Utc)).filter(|next| *next > at)
    }

    /// The last time up to this one.
    pub fn last_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let from = at.with_timezone(&self.zone);
        let last = self.cron.find_previous_occurrence(&from, true).ok()?;
        Some(last.with_timezone(&Utc)).filter(|last| *last <= at)
    }
}

/// Reads a crontab line.
pub fn parse_line(line: &str) -> Result<Cron, InvalidSchedule> {
    let refused = |why: String| InvalidSchedule::Line {
        text: line.chars().take(80).collect(),
        why,
    };
    if line.chars().count() > SCHEDULE_CHARS_MAX {
        return Err(refused(format!(
            "it is longer than {SCHEDULE_CHARS_MAX} characters"
        )));
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    parser.parse(line.trim()).map_err(|error| {
        let why = error.to_string();
        let why = why.split_once(": ").map_or(why.as_str(), |(_, why)| why);
        refused(why.trim_end_matches('.').to_owned())
    })
}

/// Checks the name of a time zone.
pub fn check_zone(zone: &str) -> Result<(), InvalidSchedule> {
    let parsed = zone.parse::<Tz>();
    parsed
        .map(drop)
        .map_err(|_| InvalidSchedule::Zone(zone.chars().take(80).collect()))
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

/// Line and time zone: two that read the same are the same.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
