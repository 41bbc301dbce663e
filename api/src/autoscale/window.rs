//! Times of the week at which the bounds of a count are others.

use std::{fmt, str::FromStr};

use chrono::Weekday;
use serde::{Deserialize, Serialize, de};

const MINUTES_PER_DAY: u16 = 24 * 60;
/// The days as they are written, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Other bounds from one time of day to another, on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it begins.
    #[serde(default)]
    pub days: Days,
    pub from: TimeOfDay,
    /// Not part of it any more. One that is not after `from` is meant for the next day.
    pub to: TimeOfDay,
    /// `Europe/Berlin`.
    #[serde(default = "utc")]
    pub zone: String,
    /// Instead of the policy's own; the same for `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

fn utc() -> String {
    "UTC".into()
}

/// Days of the week: `mon-fri`, `sat,sun`, `fri-mon`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Days([bool; 7]);

/// `08:30`; from `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

/// Why a text is no part of a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    #[error("{0:?} are no days: write mon-fri, or sat,sun, or daily")]
    Days(String),
    #[error("{0:?} is no time of day: write it as 08:30, from 00:00 to 24:00")]
    Time(String),
}

impl Window {
    /// True if it covers this minute of this day of the week, in its own time zone.
    pub fn covers(&self, day: Weekday, minute: u16) -> bool {
        let (from, to) = (self.from.0, self.to.0);
        if from < to {
            return self.days.has(day) && (from..to).contains(&minute);
        }
        // The part until midnight, and the one after it, which began the day before.
        self.days.has(day) && minute >= from || self.days.has(day.pred()) && minute < to
    }

    /// True if it is never over.
    pub fn is_always(&self) -> bool {
        let whole = self.to.0 - self.from.0.min(self.to.0) == MINUTES_PER_DAY;
        self.days == Days::default() && (whole || self.from == self.to)
    }

    /// Whether it covers a moment; `None` if its time zone is not known.
    #[cfg(feature = "schedule")]
    pub fn holds(&self, now: chrono::DateTime<chrono::Utc>) -> Option<bool> {
        use chrono::{Datelike as _, Timelike as _};
        let zone: chrono_tz::Tz = self.zone.parse().ok()?;
        let there = now.with_timezone(&zone);
        let minute = there.hour() * 60 + there.minute();
        Some(self.covers(there.weekday(), u16::try_from(minute).unwrap_or_default()))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            days,
            from,
            to,
            zone,
            ..
        } = self;
        write!(f, "{days} {from}-{to} {zone}")
    }
}

impl Default for Days {
    fn default() -> Self {
        Self([true; 7])
    }
}

impl Days {
    fn has(self, day: Weekday) -> bool {
        self.0[day.num_days_from_monday() as usize]
    }
}

impl FromStr for Days {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let wrong = || InvalidWindow::Days(text.chars().take(40).collect());
        if text == "daily" {
            return Ok(Self::default());
        }
        let number = |word: &str| {
            let word = word.trim().to_ascii_lowercase();
            DAYS.iter().position(|day| *day == word).ok_or_else(wrong)
        };
        let mut days = [false; 7];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            for step in 0..=(last + 7 - first) % 7 {
                days[(first + step) % 7] = true;
            }
        }
        Ok(Self(days))
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("daily");
        }
        let mut between = "";
        let mut day = 0;
        while day < DAYS.len() {
            let run = self.0[day..].iter().take_while(|it| **it).count();
            match run {
                0 => day += 1,
                1 => write!(f, "{between}{}", DAYS[day])?,
                _ => write!(f, "{between}{}-{}", DAYS[day], DAYS[day + run - 1])?,
            }
            if run > 0 {
                between = ",";
                day += run;
            }
        }
        Ok(())
    }
}

impl FromStr for TimeOfDay {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let wrong = || InvalidWindow::Time(text.chars().take(40).collect());
        let two = |digits: &str| {
            let fits = digits.len() == 2 && digits.bytes().all(|it| it.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|_| fits)
        };
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let (hour, minute) = two(hour).zip(two(minute)).ok_or_else(wrong)?;
        let all = hour * 60 + minute;
        (minute < 60 && all <= MINUTES_PER_DAY)
            .then_some(Self(all))
            .ok_or_else(wrong)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

macro_rules! as_text {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

as_text!(Days);
as_text!(TimeOfDay);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read_and_written() {
        for (text, shown) in [
            ("daily", "daily"),
            ("mon-sun", "daily"),
            ("mon-fri", "mon-fri"),
            ("Sat,Sun", "sat-sun"),
            ("fri-mon", "mon,fri-sun"),
            ("wed", "wed"),
        ] {
            let days: Days = text.parse().unwrap();
            assert_eq!(days.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Days>().unwrap(), days);
        }
        for wrong in ["", "mo", "mon-", "mon-fri-sun", "mon;tue", "1-5"] {
            assert!(wrong.parse::<Days>().is_err(), "{wrong:?}");
        }
        assert_eq!("08:05".parse::<TimeOfDay>().unwrap().to_string(), "08:05");
        for wrong in [
            "24:01", "8:00", "08:60", "0800", "08:00:00", "-1:00", "+1:00",
        ] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_window_covers_its_time_also_past_midnight() {
        let window = |days: &str, from: &str, to: &str| Window {
            days: days.parse().unwrap(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            zone: "UTC".into(),
            min: None,
            max: None,
        };
        let table = [
            (("mon-fri", "08:00", "18:00"), Weekday::Mon, "08:00", true),
            (("mon-fri", "08:00", "18:00"), Weekday::Mon, "18:00", false),
            (("mon-fri", "08:00", "18:00"), Weekday::Sat, "09:00", false),
            (("fri", "22:00", "02:00"), Weekday::Fri, "23:00", true),
            (("fri", "22:00", "02:00"), Weekday::Sat, "01:59", true),
            (("fri", "22:00", "02:00"), Weekday::Fri, "01:00", false),
            (("sun", "22:00", "02:00"), Weekday::Mon, "01:00", true),
            (("daily", "00:00", "24:00"), Weekday::Sun, "23:59", true),
        ];
        for ((days, from, to), day, at, wanted) in table {
            let at: TimeOfDay = at.parse().unwrap();
            let covers = window(days, from, to).covers(day, at.0);
            assert_eq!(covers, wanted, "{days} {from}-{to} on {day} at {at}");
        }
        assert!(window("daily", "00:00", "24:00").is_always());
        assert!(window("daily", "08:00", "08:00").is_always());
        assert!(!window("mon", "00:00", "24:00").is_always());
    }

    #[cfg(feature = "schedule")]
    #[test]
    fn a_window_goes_by_its_own_time_zone() {
        let window = |zone: &str| Window {
            days: "mon".parse().unwrap(),
            from: "08:00".parse().unwrap(),
            to: "09:00".parse().unwrap(),
            zone: zone.into(),
            min: None,
            max: None,
        };
        // A Monday; summer time in Berlin.
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(window("UTC").holds(at("2026-06-01T08:30:00Z")), Some(true));
        let berlin = window("Europe/Berlin");
        assert_eq!(berlin.holds(at("2026-06-01T06:30:00Z")), Some(true));
        assert_eq!(berlin.holds(at("2026-06-01T08:30:00Z")), Some(false));
        assert_eq!(
            window("Mars/Olympus").holds(at("2026-06-01T08:30:00Z")),
            None
        );
    }
}
