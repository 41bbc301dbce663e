use chrono::{Duration, TimeZone};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The times of a schedule within a span, as UTC.
fn times(line: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
    let schedule = Schedule::parse(line, zone).unwrap();
    let mut now = at(from);
    let mut found = vec![];
    while let Some(next) = schedule.next_after(now).filter(|next| *next <= at(until)) {
        found.push(next.format("%dT%H:%M").to_string());
        now = next;
    }
    found
}

#[test]
fn lines_are_those_of_crontab() {
    for good in [
        "* * * * *",
        "*/15 9-17 * * MON-FRI",
        "0 3 1,15 * *",
        "0 0 * * 7",
        "@daily",
        "@hourly",
        " 5 4 * * sun ",
        "0 0 29 2 *",
    ] {
        Schedule::parse(good, "UTC").unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for (bad, zone, why) in [
        ("", "UTC", "is no schedule"),
        ("* * * *", "UTC", "five fields"),
        ("* * * * * *", "UTC", "five fields"),
        ("61 * * * *", "UTC", "is no schedule"),
        ("*/0 * * * *", "UTC", "is no schedule"),
        ("@reboot", "UTC", "is no schedule"),
        ("every day", "UTC", "is no schedule"),
        ("0 0 30 2 *", "UTC", "never comes"),
        ("@daily", "Europe/Berlln", "is no time zone"),
        ("@daily", "", "is no time zone"),
    ] {
        let error = Schedule::parse(bad, zone).expect_err(bad).to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
    // Either of the two days is enough, as in crontab(5): the 13th, and every Friday.
    assert_eq!(
        times(
            "0 0 13 * FRI",
            "UTC",
            "2026-03-09T00:00:00Z",
            "2026-03-21T00:00:00Z"
        ),
        ["13T00:00", "20T00:00"]
    );
    assert_eq!(
        times(
            "0 0 14 * FRI",
            "UTC",
            "2026-03-09T00:00:00Z",
            "2026-03-21T00:00:00Z"
        ),
        ["13T00:00", "14T00:00", "20T00:00"]
    );
}

#[test]
fn when_clocks_change_a_daily_job_runs_once_and_an_interval_goes_on() {
    // Berlin, 29 March 2026: 02:00 becomes 03:00 (01:00 UTC).
    let spring = ("2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", spring.0, spring.1),
        ["28T01:30", "29T01:00", "30T00:30"],
        "the hour that is left out"
    );
    assert_eq!(
        times(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:15:00Z",
            "2026-03-29T02:15:00Z"
        ),
        ["29T00:30", "29T01:00", "29T01:30", "29T02:00"]
    );
    // 25 October 2026: 03:00 becomes 02:00 (01:00 UTC).
    let autumn = ("2026-10-23T12:00:00Z", "2026-10-26T12:00:00Z");
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", autumn.0, autumn.1),
        ["24T00:30", "25T00:30", "26T01:30"],
        "the hour that comes twice"
    );
    assert_eq!(
        times(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:45:00Z",
            "2026-10-25T02:15:00Z"
        ),
        ["25T00:00", "25T00:30", "25T01:00", "25T01:30", "25T02:00"]
    );
    // Lord Howe moves by half an hour; on 4 October 2026 02:00 becomes 02:30 (3 October, 15:30 UTC).
    assert_eq!(
        times(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-02T00:00:00Z",
            "2026-10-05T00:00:00Z"
        ),
        ["02T15:45", "03T15:30", "04T15:15"]
    );
    // In Kathmandu nothing ever changes, and an hour begins at a quarter past.
    assert_eq!(
        times(
            "0 9 * * *",
            "Asia/Kathmandu",
            "2026-03-28T00:00:00Z",
            "2026-03-30T00:00:00Z"
        ),
        ["28T03:15", "29T03:15"]
    );
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "Pacific/Auckland",
];

proptest! {
    /// Whatever the zone does with its clocks: a daily job runs once for each day there.
    #[test]
    fn a_daily_job_runs_once_a_day(
        zone in 0..ZONES.len(), hour in 0u32..24, minute in 0u32..60, day in 0i64..3_000
    ) {
        let schedule = Schedule::parse(&format!("{minute} {hour} * * *"), ZONES[zone]).unwrap();
        let zone: Tz = ZONES[zone].parse().unwrap();
        let from = at("2020-01-01T00:00:00Z") + Duration::days(day);
        let mut now = from;
        let mut last_day = None;
        for _ in 0..400 {
            let next = schedule.next_after(now).unwrap();
            prop_assert!(next > now);
            let there = zone.from_utc_datetime(&next.naive_utc()).date_naive();
            if let Some(last) = last_day {
                prop_assert_eq!(there, last + Duration::days(1), "after {}", now);
            }
            last_day = Some(there);
            now = next;
        }
    }

    /// Forward and backward are the same times, and nothing lies between two that follow each other.
    #[test]
    fn there_and_back_is_the_same(
        zone in 0..ZONES.len(), step in 1u32..60, hours in 1u32..24, seconds in 0i64..250_000_000,
        interval in any::<bool>()
    ) {
        let line = if interval { format!("*/{step} */{hours} * * *") } else { format!("{step} {hours} * * *") };
        let schedule = Schedule::parse(&line, ZONES[zone]).unwrap();
        let now = at("2020-01-01T00:00:00Z") + Duration::seconds(seconds);
        let next = schedule.next_after(now).unwrap();
        prop_assert_eq!(schedule.last_until(next), Some(next));
        let last = schedule.last_until(now).unwrap();
        prop_assert!(last <= now && now < next);
        prop_assert_eq!(schedule.next_after(last), Some(next));
        prop_assert_eq!(schedule.last_until(next - Duration::seconds(1)), Some(last));
    }
}
