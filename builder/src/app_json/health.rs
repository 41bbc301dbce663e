//! The `healthchecks` of an app.json: Dokku's form, with a few keys of our own.
//!
//! | key | meaning |
//! |---|---|
//! | `type` | `startup` (default), `readiness` or `liveness` |
//! | `path`, `port`, `content`, `httpHeaders`, `status` (ours), `scheme` | an HTTP check |
//! | `port`, `listening` | a TCP check |
//! | `command` | words, or (ours) one shell command line |
//! | `grpc` (ours) | `true`, or the name of a service |
//! | `uptime` | seconds; startup only |
//! | `timeout`, `wait`, `attempts`, `initialDelay`, `deadline` (ours) | when, and how often |

use std::collections::BTreeMap;

use fairway_api::checks::{
    Check, Checks, Periodic, STARTUP_DEADLINE_SECS_DEFAULT, STARTUP_DEADLINE_SECS_MAX, Statuses,
};
use serde::Deserialize;

use super::{AppJsonError, refused, within};

/// Seconds that one try of a check may take, when the file does not say (Dokku's value).
const TIMEOUT_SECS_DEFAULT: u32 = 5;
/// Seconds between two tries, when the file does not say (Dokku's value).
const WAIT_SECS_DEFAULT: u32 = 5;
/// Failed tries that count, when the file does not say (Dokku's value).
const ATTEMPTS_DEFAULT: u32 = 3;
/// The longest value in seconds that a check may ask for, apart from its deadline.
const CHECK_SECS_MAX: u32 = 3600;
/// The most headers that a check sends.
const HEADERS_MAX: usize = 32;
/// The most bytes of one header, name and value.
const HEADER_BYTES_MAX: usize = 4096;
/// The most bytes of a command's words together.
const COMMAND_BYTES_MAX: usize = 8 * 1024;
/// The most bytes of the name of a gRPC service.
const SERVICE_BYTES_MAX: usize = 255;

#[derive(Deserialize)]
pub(super) struct HealthCheck {
    #[serde(rename = "type")]
    kind: Option<CheckKind>,
    path: Option<String>,
    port: Option<u16>,
    content: Option<String>,
    #[serde(default, rename = "httpHeaders")]
    http_headers: Vec<Header>,
    scheme: Option<String>,
    status: Option<Status>,
    timeout: Option<u32>,
    /// Seconds between two tries.
    wait: Option<u32>,
    attempts: Option<u32>,
    #[serde(rename = "initialDelay")]
    initial_delay: Option<u32>,
    uptime: Option<u32>,
    listening: Option<bool>,
    command: Option<Command>,
    grpc: Option<Grpc>,
    /// Seconds until a startup check must have passed.
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
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    One(u16),
    Range(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Command {
    Words(Vec<String>),
    Line(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Grpc {
    Is(bool),
    Service(String),
}

/// The checks of one container, if there are any; `usual` is what it starts with when neither a
/// startup nor a readiness check is named.
pub(super) fn checks(
    at: &str,
    usual: Check,
    list: Vec<HealthCheck>,
) -> Result<Option<Checks>, AppJsonError> {
    let mut startup = None;
    let mut readiness = None;
    let mut liveness = None;
    for (index, check) in list.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
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
        None => usual,
    };
    let (startup, startup_deadline_secs, startup_delay_secs) =
        startup.unwrap_or((usual, STARTUP_DEADLINE_SECS_DEFAULT, 0));
    Ok(Some(Checks {
        startup,
        startup_deadline_secs,
        startup_delay_secs,
        readiness,
        liveness,
    }))
}

/// The check, the seconds within which it must have passed, and those before its first try.
fn startup_check(at: &str, check: HealthCheck) -> Result<(Check, u32, u32), AppJsonError> {
    let tries = check.attempts.is_some() || check.wait.is_some() || check.initial_delay.is_some();
    let wait = check.wait.unwrap_or(WAIT_SECS_DEFAULT);
    let timeout = check.timeout.unwrap_or(TIMEOUT_SECS_DEFAULT);
    let attempts = check.attempts.unwrap_or(ATTEMPTS_DEFAULT);
    let each = wait.saturating_add(timeout);
    let asked = check
        .initial_delay
        .unwrap_or_default()
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
    let delay = check.initial_delay.unwrap_or_default();
    let delay = within(format!("{at}.initialDelay"), delay, 0, deadline)?;
    Ok((what_to_check(at, check)?, deadline, delay))
}

fn periodic(at: &str, check: HealthCheck) -> Result<Periodic, AppJsonError> {
    let every = check.wait.unwrap_or(WAIT_SECS_DEFAULT);
    let every_secs = within(format!("{at}.wait"), every, 1, CHECK_SECS_MAX)?;
    let failures = check.attempts.unwrap_or(ATTEMPTS_DEFAULT);
    let failures = within(format!("{at}.attempts"), failures, 1, CHECK_SECS_MAX)?;
    let delay = check.initial_delay.unwrap_or_default();
    let delay_secs = within(format!("{at}.initialDelay"), delay, 0, CHECK_SECS_MAX)?;
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
        delay_secs,
    })
}

fn what_to_check(at: &str, check: HealthCheck) -> Result<Check, AppJsonError> {
    let timeout = check.timeout.unwrap_or(TIMEOUT_SECS_DEFAULT);
    let timeout_secs = within(format!("{at}.timeout"), timeout, 1, CHECK_SECS_MAX)?;
    if check.port == Some(0) {
        return Err(refused(format!("{at}.port"), "it must be from 1 to 65535"));
    }
    only_one_kind(at, &check)?;
    let port = check.port;
    if let Some(path) = check.path.clone() {
        return http(at, path, check, timeout_secs);
    }
    if let Some(key) = of_http_only(&check) {
        return Err(refused(
            format!("{at}.{key}"),
            "only a check with a path has it",
        ));
    }
    if let Some(secs) = check.uptime {
        let secs = within(format!("{at}.uptime"), secs, 1, STARTUP_DEADLINE_SECS_MAX)?;
        return Ok(Check::Uptime { secs });
    }
    if let Some(command) = check.command {
        return Ok(Check::Command {
            command: command_words(at, command)?,
            timeout_secs,
        });
    }
    match check.grpc {
        Some(Grpc::Service(service)) if service.len() > SERVICE_BYTES_MAX => Err(refused(
            format!("{at}.grpc"),
            format!("a service's name has at most {SERVICE_BYTES_MAX} bytes"),
        )),
        Some(Grpc::Is(true) | Grpc::Service(_)) => Ok(Check::Grpc {
            port,
            service: match check.grpc {
                Some(Grpc::Service(service)) if !service.is_empty() => Some(service),
                _ => None,
            },
            timeout_secs,
        }),
        _ if port.is_some() || check.listening == Some(true) => {
            Ok(Check::Tcp { port, timeout_secs })
        }
        _ => Err(refused(
            at.into(),
            "it checks nothing; give a path (HTTP), a port or listening: true (TCP), a command, \
             grpc, or an uptime",
        )),
    }
}

fn only_one_kind(at: &str, check: &HealthCheck) -> Result<(), AppJsonError> {
    let kinds = [
        ("a path", check.path.is_some()),
        ("an uptime", check.uptime.is_some()),
        ("a command", check.command.is_some()),
        ("grpc", !matches!(check.grpc, None | Some(Grpc::Is(false)))),
    ];
    let given: Vec<_> = kinds.iter().filter(|it| it.1).map(|it| it.0).collect();
    if let [one, other, ..] = given[..] {
        return Err(refused(
            at.into(),
            format!("give either {one} or {other}, not both"),
        ));
    }
    Ok(())
}

/// A key that means nothing but in an HTTP check, if there is one.
fn of_http_only(check: &HealthCheck) -> Option<&'static str> {
    let keys = [
        ("content", check.content.is_some()),
        ("httpHeaders", !check.http_headers.is_empty()),
        ("status", check.status.is_some()),
    ];
    keys.into_iter().find(|it| it.1).map(|it| it.0)
}

fn http(
    at: &str,
    path: String,
    check: HealthCheck,
    timeout_secs: u32,
) -> Result<Check, AppJsonError> {
    if !path.starts_with('/') || !path.chars().all(is_path_char) {
        let rule = format!("{path:?} must start with / and have no spaces or control characters");
        return Err(refused(format!("{at}.path"), rule));
    }
    if let Some(scheme) = check.scheme.filter(|scheme| scheme != "http") {
        let rule = format!("{scheme:?} is not possible; a pod speaks plain http");
        return Err(refused(format!("{at}.scheme"), rule));
    }
    let expect = match check.status {
        None => Statuses::default(),
        Some(Status::One(status)) => parse_statuses(at, &status.to_string())?,
        Some(Status::Range(text)) => parse_statuses(at, &text)?,
    };
    if check.http_headers.len() > HEADERS_MAX {
        let rule = format!("at most {HEADERS_MAX} headers");
        return Err(refused(format!("{at}.httpHeaders"), rule));
    }
    let mut headers = BTreeMap::new();
    for header in check.http_headers {
        let is_name = |c: u8| c.is_ascii_alphanumeric() || b"-_".contains(&c);
        let fits = !header.name.is_empty()
            && header.name.bytes().all(is_name)
            && header.value.bytes().all(|c| (32..127).contains(&c))
            && header.name.len() + header.value.len() <= HEADER_BYTES_MAX;
        if !fits {
            let rule = format!(
                "{:?} is no header, or longer than {HEADER_BYTES_MAX} bytes",
                header.name
            );
            return Err(refused(format!("{at}.httpHeaders"), rule));
        }
        headers.insert(header.name.to_ascii_lowercase(), header.value);
    }
    Ok(Check::Http {
        path,
        port: check.port,
        content: check.content,
        headers,
        expect,
        timeout_secs,
    })
}

fn parse_statuses(at: &str, text: &str) -> Result<Statuses, AppJsonError> {
    let parsed = text.parse::<Statuses>();
    parsed.map_err(|wrong| refused(format!("{at}.status"), wrong.to_string()))
}

/// A list of words, as Dokku has it, or one shell command line.
fn command_words(at: &str, command: Command) -> Result<Vec<String>, AppJsonError> {
    let words = match command {
        Command::Words(words) => words,
        Command::Line(line) => vec!["sh".into(), "-c".into(), line],
    };
    let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
    let empty = words.first().is_none_or(String::is_empty) || words.iter().all(String::is_empty);
    if empty || bytes > COMMAND_BYTES_MAX || words.iter().any(|word| word.contains('\0')) {
        let rule = format!(
            "a command is a program and its arguments, of 1 to {COMMAND_BYTES_MAX} bytes together"
        );
        return Err(refused(format!("{at}.command"), rule));
    }
    Ok(words)
}

fn is_path_char(c: char) -> bool {
    !c.is_whitespace() && !c.is_control()
}
