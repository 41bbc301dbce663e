//! Reads app.json: health checks, first formation and stop policies of an app's process types, and
//! its jobs.
//!
//! Pure: text in, types out. The file's form is Heroku's where Heroku has one (`formation`),
//! Dokku's for `healthchecks` and `cron`, and ours for `stop`:
//!
//! ```json
//! { "healthchecks": { "web": [ { "type": "startup", "path": "/health" } ] },
//!   "formation":    { "web": { "quantity": 2, "size": "standard-1x",
//!                              "placement": { "require": ["disk=ssd"] } } },
//!   "stop":         { "web": { "signal": "SIGINT", "grace": 60 } },
//!   "cron":         [ { "command": "bin/report", "schedule": "0 9 * * *" } ] }
//! ```
//!
//! Keys that are not known are ignored, since the file serves other platforms too. A known key
//! with a wrong value is an error that names the line.

mod cron;

use std::collections::BTreeMap;

use fairway_api::{
    build_orders::InitialFormation,
    checks::{Check, Checks, Periodic, STARTUP_DEADLINE_SECS_DEFAULT, STARTUP_DEADLINE_SECS_MAX},
    jobs::CronJob,
    names::{JobName, ProcessType},
    placement::Placement,
    pods::{STOP_GRACE_SECS_DEFAULT, STOP_GRACE_SECS_MAX, StopPolicy},
};
use serde::Deserialize;

/// The largest app.json that is read, in bytes.
pub(crate) const APP_JSON_BYTES_MAX: usize = 256 * 1024;
/// Seconds that one try of a check may take, when the file does not say (Dokku's value).
const TIMEOUT_SECS_DEFAULT: u32 = 5;
/// Seconds between two tries, when the file does not say (Dokku's value).
const WAIT_SECS_DEFAULT: u32 = 5;
/// Failed tries that count, when the file does not say (Dokku's value).
const ATTEMPTS_DEFAULT: u32 = 3;
/// The longest value in seconds that a check may ask for, apart from its deadline.
const CHECK_SECS_MAX: u32 = 3600;
/// The most pods of one type that a first formation may ask for.
const QUANTITY_MAX: u32 = 100;
/// Signals that may stop a process. SIGKILL is what comes after the grace anyway.
const STOP_SIGNALS: [&str; 7] = [
    "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH",
];

/// What an app.json says that Fairway uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AppJson {
    /// Checks of the types that have some.
    pub(crate) checks: BTreeMap<ProcessType, Checks>,
    /// Counts and sizes for types without a formation.
    pub(crate) formation: BTreeMap<ProcessType, InitialFormation>,
    /// Stop policies of the types that have one.
    pub(crate) stop: BTreeMap<ProcessType, StopPolicy>,
    /// Commands on a schedule.
    pub(crate) cron: BTreeMap<JobName, CronJob>,
}

/// An app.json that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppJsonError {
    /// Not JSON, or a value of the wrong kind.
    #[error("app.json line {line}, column {column}: {what}")]
    Syntax {
        line: usize,
        column: usize,
        what: String,
    },
    /// A value that breaks a rule; `at` is its path in the file.
    #[error("app.json {at}: {rule}")]
    Value { at: String, rule: String },
    /// Larger than [`APP_JSON_BYTES_MAX`].
    #[error("app.json is larger than {APP_JSON_BYTES_MAX} bytes")]
    TooLarge,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    healthchecks: Option<BTreeMap<ProcessType, Vec<HealthCheck>>>,
    #[serde(default)]
    formation: Option<BTreeMap<ProcessType, Formation>>,
    #[serde(default)]
    stop: Option<BTreeMap<ProcessType, Stop>>,
    #[serde(default)]
    cron: Option<Vec<cron::Entry>>,
}

#[derive(Deserialize)]
struct HealthCheck {
    #[serde(rename = "type")]
    kind: Option<CheckKind>,
    path: Option<String>,
    port: Option<u16>,
    content: Option<String>,
    timeout: Option<u32>,
    /// Seconds between two tries.
    wait: Option<u32>,
    attempts: Option<u32>,
    #[serde(rename = "initialDelay")]
    initial_delay: Option<u32>,
    uptime: Option<u32>,
    listening: Option<bool>,
    command: Option<serde::de::IgnoredAny>,
    /// Ours: seconds until a startup check must have passed.
    deadline: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CheckKind {
    Startup,
    Readiness,
    Liveness,
}

#[derive(Deserialize)]
struct Formation {
    quantity: Option<u32>,
    size: Option<String>,
    #[serde(default)]
    placement: Placement,
}

#[derive(Deserialize)]
struct Stop {
    signal: Option<String>,
    grace: Option<u32>,
}

/// Reads an app.json's bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<AppJson, AppJsonError> {
    if bytes.len() > APP_JSON_BYTES_MAX {
        return Err(AppJsonError::TooLarge);
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let file: File = serde_json::from_slice(bytes).map_err(|error| syntax(&error))?;
    let mut app = AppJson::default();
    for (process_type, list) in file.healthchecks.unwrap_or_default() {
        if let Some(checks) = checks(&process_type, list)? {
            app.checks.insert(process_type, checks);
        }
    }
    for (process_type, formation) in file.formation.unwrap_or_default() {
        let at = format!("formation.{process_type}.quantity");
        let quantity = within(at, formation.quantity.unwrap_or(1), 0, QUANTITY_MAX)?;
        formation.placement.check().map_err(|why| {
            let at = format!("formation.{process_type}.placement");
            refused(at, why.to_string())
        })?;
        app.formation.insert(
            process_type,
            InitialFormation {
                quantity,
                size: formation.size,
                placement: formation.placement,
            },
        );
    }
    for (process_type, stop) in file.stop.unwrap_or_default() {
        let policy = stop_policy(&process_type, stop)?;
        app.stop.insert(process_type, policy);
    }
    app.cron = cron::jobs(file.cron.unwrap_or_default())?;
    Ok(app)
}

fn syntax(error: &serde_json::Error) -> AppJsonError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = text
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&text);
    AppJsonError::Syntax {
        line,
        column,
        what: what.to_owned(),
    }
}

fn refused(at: String, rule: impl Into<String>) -> AppJsonError {
    AppJsonError::Value {
        at,
        rule: rule.into(),
    }
}

fn within(at: String, value: u32, least: u32, most: u32) -> Result<u32, AppJsonError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(refused(
            at,
            format!("{value} is out of range; it must be from {least} to {most}"),
        ))
    }
}

fn checks(
    process_type: &ProcessType,
    list: Vec<HealthCheck>,
) -> Result<Option<Checks>, AppJsonError> {
    let mut startup = None;
    let mut readiness = None;
    let mut liveness = None;
    for (index, check) in list.into_iter().enumerate() {
        let at = format!("healthchecks.{process_type}[{index}]");
        let kind = check.kind.unwrap_or(CheckKind::Startup);
        let twice = match kind {
            CheckKind::Startup => startup.replace(startup_check(&at, check)?).is_some(),
            CheckKind::Readiness => readiness.replace(periodic(&at, check)?).is_some(),
            CheckKind::Liveness => liveness.replace(periodic(&at, check)?).is_some(),
        };
        if twice {
            return Err(refused(
                at,
                "a process type has at most one check of each type; remove one",
            ));
        }
    }
    if startup.is_none() && readiness.is_none() && liveness.is_none() {
        return Ok(None);
    }
    // Without a startup check of its own, a pod is up when it is ready for the first time.
    let usual = match &readiness {
        Some(Periodic { check, .. }) => check.clone(),
        None if process_type.as_str() == "web" => Checks::for_port().startup,
        None => Checks::for_worker().startup,
    };
    let (startup, startup_deadline_secs) =
        startup.unwrap_or((usual, STARTUP_DEADLINE_SECS_DEFAULT));
    Ok(Some(Checks {
        startup,
        startup_deadline_secs,
        readiness,
        liveness,
    }))
}

/// The check, and the seconds within which it must have passed.
fn startup_check(at: &str, check: HealthCheck) -> Result<(Check, u32), AppJsonError> {
    let tries = check.attempts.is_some() || check.wait.is_some() || check.initial_delay.is_some();
    let wait = check.wait.unwrap_or(WAIT_SECS_DEFAULT);
    let timeout = check.timeout.unwrap_or(TIMEOUT_SECS_DEFAULT);
    let attempts = check.attempts.unwrap_or(ATTEMPTS_DEFAULT);
    let each = wait.saturating_add(timeout);
    let asked = check
        .initial_delay
        .unwrap_or(0)
        .saturating_add(attempts.saturating_mul(each));
    let deadline = match check.deadline {
        Some(deadline) => deadline,
        None if tries => asked.max(1),
        None => STARTUP_DEADLINE_SECS_DEFAULT.max(check.uptime.unwrap_or(0).saturating_add(1)),
    };
    let deadline = within(
        format!("{at}.deadline"),
        deadline,
        1,
        STARTUP_DEADLINE_SECS_MAX,
    )?;
    Ok((what_to_check(at, check)?, deadline))
}

fn periodic(at: &str, check: HealthCheck) -> Result<Periodic, AppJsonError> {
    let every = check.wait.unwrap_or(WAIT_SECS_DEFAULT);
    let every_secs = within(format!("{at}.wait"), every, 1, CHECK_SECS_MAX)?;
    let failures = check.attempts.unwrap_or(ATTEMPTS_DEFAULT);
    let failures = within(format!("{at}.attempts"), failures, 1, CHECK_SECS_MAX)?;
    let check = what_to_check(at, check)?;
    if let Check::Uptime { .. } = check {
        return Err(refused(
            at.to_owned(),
            "only a startup check can be an uptime; give a path or a port",
        ));
    }
    Ok(Periodic {
        check,
        every_secs,
        failures,
    })
}

fn what_to_check(at: &str, check: HealthCheck) -> Result<Check, AppJsonError> {
    if check.command.is_some() {
        let rule = "checks by command are not supported; give a path, a port or an uptime";
        return Err(refused(format!("{at}.command"), rule));
    }
    let timeout = check.timeout.unwrap_or(TIMEOUT_SECS_DEFAULT);
    let timeout_secs = within(format!("{at}.timeout"), timeout, 1, CHECK_SECS_MAX)?;
    if check.port == Some(0) {
        return Err(refused(format!("{at}.port"), "it must be from 1 to 65535"));
    }
    let port = check.port;
    match (check.path, check.uptime) {
        (Some(_), Some(_)) => Err(refused(
            at.into(),
            "give either a path or an uptime, not both",
        )),
        (Some(path), None) if path.starts_with('/') && path.chars().all(is_path_char) => {
            Ok(Check::Http {
                path,
                port,
                content: check.content,
                timeout_secs,
            })
        }
        (Some(path), None) => {
            let rule =
                format!("{path:?} must start with / and have no spaces or control characters");
            Err(refused(format!("{at}.path"), rule))
        }
        (None, Some(secs)) => {
            let secs = within(format!("{at}.uptime"), secs, 1, STARTUP_DEADLINE_SECS_MAX)?;
            Ok(Check::Uptime { secs })
        }
        (None, None) if port.is_some() || check.listening == Some(true) => {
            Ok(Check::Tcp { port, timeout_secs })
        }
        (None, None) => Err(refused(
            at.into(),
            "it checks nothing; give a path (HTTP), a port or listening: true (TCP), or an uptime",
        )),
    }
}

fn is_path_char(c: char) -> bool {
    !c.is_whitespace() && !c.is_control()
}

fn stop_policy(process_type: &ProcessType, stop: Stop) -> Result<StopPolicy, AppJsonError> {
    let usual = StopPolicy::default();
    let signal = match stop.signal {
        None => usual.signal,
        Some(name) => {
            let upper = name.to_ascii_uppercase();
            let full = if upper.starts_with("SIG") {
                upper
            } else {
                format!("SIG{upper}")
            };
            if !STOP_SIGNALS.contains(&full.as_str()) {
                let rule = format!(
                    "{name:?} cannot stop a process; use one of {}",
                    STOP_SIGNALS.join(", ")
                );
                return Err(refused(format!("stop.{process_type}.signal"), rule));
            }
            full
        }
    };
    let grace = stop.grace.unwrap_or(STOP_GRACE_SECS_DEFAULT);
    let grace_secs = within(
        format!("stop.{process_type}.grace"),
        grace,
        1,
        STOP_GRACE_SECS_MAX,
    )?;
    Ok(StopPolicy { signal, grace_secs })
}

#[cfg(test)]
mod tests;
