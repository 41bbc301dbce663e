//! The `cron` of app.json: commands on a schedule.
//!
//! Dokku's form (`command`, `schedule`, `concurrency_policy`) with more keys, all of which may be
//! left out. A schedule or time zone that is none is refused where it stands, so that the error
//! names the line.

use std::collections::BTreeMap;

use fairway_api::{
    jobs::{
        COMMAND_BYTES_MAX, Concurrency, CronJob, JOBS_PER_APP_MAX, Missed, RETRIES_MAX,
        RUN_TIMEOUT_SECS_MAX,
    },
    names::{JobName, ProcessType, SizeName},
    schedule::{self, Schedule, TIME_ZONE_DEFAULT},
    sizes,
};
use serde::{Deserialize, Deserializer, de::Error};

use super::{AppJsonError, refused, within};

/// How long a name that is made from a command gets, in characters.
const NAME_CHARS_MAX: usize = 30;

#[derive(Deserialize)]
pub(super) struct Entry {
    name: Option<JobName>,
    command: String,
    #[serde(deserialize_with = "line")]
    schedule: String,
    #[serde(default, alias = "timezone", deserialize_with = "zone")]
    time_zone: Option<String>,
    #[serde(default, deserialize_with = "size")]
    size: Option<SizeName>,
    #[serde(default, alias = "concurrency_policy")]
    concurrency: Concurrency,
    #[serde(default)]
    missed: Missed,
    retries: Option<u32>,
    timeout: Option<u32>,
    /// Dokku's.
    #[serde(default)]
    maintenance: bool,
}

fn line<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    let line = String::deserialize(json)?;
    schedule::parse_line(&line).map_err(D::Error::custom)?;
    Ok(line)
}

fn zone<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    let zone = String::deserialize(json)?;
    schedule::check_zone(&zone).map_err(D::Error::custom)?;
    Ok(Some(zone))
}

fn size<'de, D: Deserializer<'de>>(json: D) -> Result<Option<SizeName>, D::Error> {
    let name = String::deserialize(json)?;
    let known = sizes::find(&name).ok_or_else(|| {
        let known: Vec<_> = sizes::all().iter().map(|it| it.name.to_string()).collect();
        D::Error::custom(format!(
            "there is no size {name:?}; use one of {}",
            known.join(", ")
        ))
    })?;
    Ok(Some(known.name))
}

/// The jobs by name.
pub(super) fn jobs(entries: Vec<Entry>) -> Result<BTreeMap<JobName, CronJob>, AppJsonError> {
    if entries.len() > JOBS_PER_APP_MAX {
        let rule = format!("an app has at most {JOBS_PER_APP_MAX} jobs");
        return Err(refused("cron".into(), rule));
    }
    let mut jobs = BTreeMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let at = format!("cron[{index}]");
        let (name, job) = job(&at, entry)?;
        if jobs.contains_key(&name) {
            let rule = format!("there is a job {name} already; give each its own \"name\"");
            return Err(refused(at, rule));
        }
        jobs.insert(name, job);
    }
    Ok(jobs)
}

fn job(at: &str, entry: Entry) -> Result<(JobName, CronJob), AppJsonError> {
    let command = entry.command.trim();
    if command.is_empty() || command.contains('\0') || command.len() > COMMAND_BYTES_MAX {
        let rule = format!("it must have 1 to {COMMAND_BYTES_MAX} bytes and no NUL character");
        return Err(refused(format!("{at}.command"), rule));
    }
    let name = match entry.name {
        Some(name) => name,
        None => named_after(command).ok_or_else(|| {
            refused(
                at.into(),
                "no name can be made from the command; add \"name\"",
            )
        })?,
    };
    if entry.maintenance {
        let rule = format!(
            "whether a job runs is a setting of the app; remove this and say app jobs:suspend {name}"
        );
        return Err(refused(format!("{at}.maintenance"), rule));
    }
    let time_zone = entry.time_zone.unwrap_or_else(|| TIME_ZONE_DEFAULT.into());
    Schedule::parse(&entry.schedule, &time_zone)
        .map_err(|error| refused(format!("{at}.schedule"), error.to_string()))?;
    let timeout = entry.timeout.unwrap_or(RUN_TIMEOUT_SECS_MAX);
    let job = CronJob {
        command: command.into(),
        schedule: entry.schedule.trim().into(),
        time_zone,
        size: entry.size,
        concurrency: entry.concurrency,
        missed: entry.missed,
        retries: within(
            format!("{at}.retries"),
            entry.retries.unwrap_or(0),
            0,
            RETRIES_MAX,
        )?,
        timeout_secs: within(format!("{at}.timeout"), timeout, 1, RUN_TIMEOUT_SECS_MAX)?,
    };
    Ok((name, job))
}

/// `npm run send-email` becomes `npm-run-send-email`: the same as long as the command stays, so that
/// a job keeps its history when others come and go. The name of a process type, which is a command
/// too, is taken by that type.
fn named_after(command: &str) -> Option<JobName> {
    if command.parse::<ProcessType>().is_ok() {
        return format!("{command}-job").parse().ok();
    }
    let words = command
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    let end = name.len().min(NAME_CHARS_MAX);
    name[..end].trim_end_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{AppJson, parse};

    fn cron(entries: &str) -> AppJson {
        let text = format!("{{\"cron\": [{entries}]}}");
        parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn dokkus_form_is_enough_and_names_itself_after_the_command() {
        let app = cron(
            r#"{"command": "npm run send-email", "schedule": "@daily"},
               {"command": "/usr/bin/3proxy --x=1", "schedule": "5 4 * * *", "concurrency_policy": "replace",
                "maintenance": false}"#,
        );
        let found: Vec<_> = app
            .cron
            .iter()
            .map(|(name, job)| {
                format!(
                    "{name} {} {} {:?}",
                    job.schedule, job.time_zone, job.concurrency
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                "npm-run-send-email @daily UTC Forbid",
                "usr-bin-3proxy-x-1 5 4 * * * UTC Replace"
            ]
        );
    }

    #[test]
    fn everything_can_be_said() {
        let app = cron(
            r#"{"name": "nightly", "command": "bin/report", "schedule": "0 3 * * *",
                "time_zone": "Europe/Berlin", "size": "Standard-2X", "concurrency": "allow",
                "missed": "skip", "retries": 2, "timeout": 600}"#,
        );
        let json = serde_json::to_value(&app.cron["nightly"]).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "command": "bin/report", "schedule": "0 3 * * *", "time_zone": "Europe/Berlin",
                "size": "standard-2x", "concurrency": "allow", "missed": "skip", "retries": 2,
                "timeout_secs": 600
            })
        );
    }

    #[test]
    fn mistakes_name_their_line_or_their_place() {
        let job = |rest: &str| format!("{{\"cron\": [\n{{\"command\": \"x\",\n{rest}}}]}}");
        for (text, want) in [
            (job(r#""schedule": "61 * * * *""#), "app.json line 3, column"),
            (job(r#""schedule": "61 * * * *""#), "\"61 * * * *\" is no schedule"),
            (job(r#""schedule": "@daily", "time_zone": "Mars/Olympus""#), "\"Mars/Olympus\" is no time zone"),
            (job(r#""schedule": "0 0 31 2 *""#), "cron[0].schedule: \"0 0 31 2 *\" names a time that never comes"),
            (job(r#""schedule": "@daily", "size": "huge""#), "there is no size \"huge\"; use one of"),
            (job(r#""schedule": "@daily", "retries": 101"#), "cron[0].retries: 101 is out of range"),
            (job(r#""schedule": "@daily", "timeout": 0"#), "cron[0].timeout: 0 is out of range"),
            (job(r#""schedule": "@daily", "missed": "maybe""#), "unknown variant `maybe`"),
            (job(r#""schedule": "@daily", "name": "Nightly""#), "job name \"Nightly\" is not valid"),
            (job(r#""schedule": "@daily", "name": "run""#), "taken by Fairway itself"),
            (job(r#""schedule": "@daily", "maintenance": true"#), "app jobs:suspend x-job"),
            (r#"{"cron": [{"command": "x"}]}"#.into(), "missing field `schedule`"),
            (r#"{"cron": [{"command": " ", "schedule": "@daily"}]}"#.into(), "cron[0].command"),
            (r#"{"cron": [{"command": "...", "schedule": "@daily"}]}"#.into(), "add \"name\""),
            (
                r#"{"cron": [{"command": "x", "schedule": "@daily"}, {"command": "x", "schedule": "@hourly"}]}"#.into(),
                "cron[1]: there is a job x-job already",
            ),
        ] {
            let error = parse(text.as_bytes()).expect_err(&text).to_string();
            assert!(error.contains(want), "{text}: {error:?} does not say {want:?}");
        }
        let many = vec![r#"{"command": "x", "schedule": "@daily"}"#; 51].join(",");
        let error = parse(format!("{{\"cron\": [{many}]}}").as_bytes()).unwrap_err();
        assert!(error.to_string().contains("at most 50 jobs"), "{error}");
    }
}
