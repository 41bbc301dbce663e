//! Health checks of a process type, as a release carries them and agents run them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How long a pod may take to become ready when nothing else is said, in seconds (Heroku's R10
/// boot timeout).
pub const STARTUP_DEADLINE_SECS_DEFAULT: u32 = 60;
/// The longest startup deadline that may be asked for, in seconds.
pub const STARTUP_DEADLINE_SECS_MAX: u32 = 30 * 60;
/// How long a process without a port must run to count as up, in seconds.
pub const UPTIME_SECS_DEFAULT: u32 = 2;
/// The most bytes of a response that a failing check reports.
pub const CHECK_RESPONSE_BYTES_MAX: usize = 1024;

/// The checks of one process type. From `healthchecks` in app.json, else [`Checks::for_port`] or
/// [`Checks::for_worker`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Decides when the pod is up: run until it passes once or the deadline ends.
    pub startup: Check,
    /// Seconds from the start of the container until `startup` must have passed.
    pub startup_deadline_secs: u32,
    /// Seconds from the start of the container before `startup` is tried for the first time.
    #[serde(default)]
    pub startup_delay_secs: u32,
    /// After that, decides whether the pod gets requests.
    pub readiness: Option<Periodic>,
    /// After that, restarts the container when it fails.
    pub liveness: Option<Periodic>,
}

/// Which of a pod's checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    Startup,
    Readiness,
    Liveness,
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        })
    }
}

/// A check that repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periodic {
    pub check: Check,
    /// Seconds between two tries, at least 1.
    pub every_secs: u32,
    /// Tries in a row that must fail before it counts, at least 1.
    pub failures: u32,
    /// Seconds between the pod's being up and the first try that counts.
    #[serde(default)]
    pub delay_secs: u32,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Check {
    /// `GET path`; an expected status passes.
    Http {
        path: String,
        /// Without it the pod's own port.
        port: Option<u16>,
        /// Text that the body must contain.
        content: Option<String>,
        /// Sent with the request; a `host` here is the one asked for.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        expect: Statuses,
        timeout_secs: u32,
    },
    /// The port accepts a connection.
    Tcp {
        port: Option<u16>,
        timeout_secs: u32,
    },
    /// The process has run this long without ending.
    Uptime { secs: u32 },
    /// A program in the container, as its user, ends with exit code 0.
    Command {
        /// Program and arguments, never empty; run through no shell.
        command: Vec<String>,
        timeout_secs: u32,
    },
    /// `grpc.health.v1.Health/Check` over HTTP/2 without TLS answers `SERVING`.
    Grpc {
        port: Option<u16>,
        /// Without it the server as a whole.
        service: Option<String>,
        timeout_secs: u32,
    },
}

/// Which statuses of an answer pass, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statuses {
    pub from: u16,
    pub to: u16,
}

impl Default for Statuses {
    /// Success and redirection.
    fn default() -> Self {
        Self { from: 200, to: 399 }
    }
}

impl Statuses {
    /// Whether a status passes.
    pub fn has(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

/// Not a single status or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no status; write \"200\" or \"200-299\", from 100 to 599")]
pub struct InvalidStatuses(String);

impl FromStr for Statuses {
    type Err = InvalidStatuses;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || InvalidStatuses(text.into());
        let status = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to) = (status(from)?, status(to)?);
        if 100 <= from && from <= to && to <= 599 {
            Ok(Self { from, to })
        } else {
            Err(wrong())
        }
    }
}

impl Checks {
    /// The default for a process type that listens: its port accepts connections.
    pub fn for_port() -> Self {
        Self::starting_with(Check::Tcp {
            port: None,
            timeout_secs: 5,
        })
    }

    /// The default for a process type without a port: it stays up for
    /// [`UPTIME_SECS_DEFAULT`].
    pub fn for_worker() -> Self {
        Self::starting_with(Check::Uptime {
            secs: UPTIME_SECS_DEFAULT,
        })
    }

    /// All of them.
    pub fn each_mut(&mut self) -> impl Iterator<Item = &mut Check> {
        let periodic = [&mut self.readiness, &mut self.liveness].into_iter();
        let periodic = periodic.filter_map(|it| it.as_mut().map(|it| &mut it.check));
        std::iter::once(&mut self.startup).chain(periodic)
    }

    fn starting_with(startup: Check) -> Self {
        Self {
            startup,
            startup_deadline_secs: STARTUP_DEADLINE_SECS_DEFAULT,
            startup_delay_secs: 0,
            readiness: None,
            liveness: None,
        }
    }
}
