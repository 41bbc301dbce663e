//! Reads app.json: health checks, first formation and stop policies of an app's process types, its
//! jobs, containers beside the main ones, and how its releases take over.
//!
//! Pure: text in, types out. The file's form is Heroku's where Heroku has one (`formation`),
//! Dokku's for `healthchecks` and `cron`, and ours for `stop`, `sidecars`, `shared` and `deploy`:
//!
//! ```json
//! { "healthchecks": { "web": [ { "type": "startup", "path": "/health" } ] },
//!   "formation":    { "web": { "quantity": 2, "size": "standard-1x",
//!                              "placement": { "require": ["disk=ssd"] } } },
//!   "stop":         { "web": { "signal": "SIGINT", "grace": 60 } },
//!   "cron":         [ { "command": "bin/report", "schedule": "0 9 * * *" } ],
//!   "deploy":       { "strategy": { "kind": "rolling", "surge": "25%" } } }
//! ```
//!
//! Keys that are not known are ignored, since the file serves other platforms too. A known key
//! with a wrong value is an error that names the line.

mod cron;
mod health;
pub(crate) mod sidecars;

use std::collections::BTreeMap;

use fairway_api::{
    build_orders::InitialFormation,
    checks::Checks,
    deployments::Strategy,
    jobs::CronJob,
    names::{JobName, ProcessType},
    placement::Placement,
    pods::{STOP_GRACE_SECS_DEFAULT, STOP_GRACE_SECS_MAX, StopPolicy},
};
use health::HealthCheck;
use serde::Deserialize;
use sidecars::Sidecars;

/// The largest app.json that is read, in bytes.
pub(crate) const APP_JSON_BYTES_MAX: usize = 256 * 1024;
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
    /// Containers beside the main ones.
    pub(crate) sidecars: Sidecars,
    /// How its releases take over.
    pub(crate) strategy: Option<Strategy>,
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
    #[serde(default)]
    sidecars: Option<Vec<sidecars::Entry>>,
    #[serde(default)]
    shared: Option<Vec<sidecars::Folder>>,
    #[serde(default)]
    deploy: Option<Deploy>,
}

#[derive(Deserialize)]
struct Formation {
    quantity: Option<u32>,
    size: Option<String>,
    #[serde(default)]
    placement: Placement,
}

#[derive(Deserialize)]
struct Deploy {
    strategy: Option<Strategy>,
}

#[derive(Default, Deserialize)]
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
        let at = format!("healthchecks.{process_type}");
        let usual = if process_type.is_web() {
            Checks::for_port()
        } else {
            Checks::for_worker()
        };
        if let Some(checks) = health::checks(&at, usual.startup, list)? {
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
        let at = format!("stop.{process_type}");
        let policy = stop_policy(&at, stop, STOP_GRACE_SECS_DEFAULT)?;
        app.stop.insert(process_type, policy);
    }
    app.cron = cron::jobs(file.cron.unwrap_or_default())?;
    app.sidecars = sidecars::read(
        file.sidecars.unwrap_or_default(),
        file.shared.unwrap_or_default(),
    )?;
    app.strategy = file.deploy.and_then(|deploy| deploy.strategy);
    if let Some(strategy) = &app.strategy {
        strategy
            .check()
            .map_err(|why| refused("deploy.strategy".into(), why.to_string()))?;
    }
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

fn stop_policy(at: &str, stop: Stop, usual_grace: u32) -> Result<StopPolicy, AppJsonError> {
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
                return Err(refused(format!("{at}.signal"), rule));
            }
            full
        }
    };
    let grace = stop.grace.unwrap_or(usual_grace);
    let grace_secs = within(format!("{at}.grace"), grace, 1, STOP_GRACE_SECS_MAX)?;
    Ok(StopPolicy { signal, grace_secs })
}

#[cfg(test)]
mod tests;
