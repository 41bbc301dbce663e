//! Health checks of a process type, as a release carries them and agents run them.

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
    /// After that, decides whether the pod gets requests.
    pub readiness: Option<Periodic>,
    /// After that, restarts the container when it fails.
    pub liveness: Option<Periodic>,
}

/// A check that repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periodic {
    pub check: Check,
    /// Seconds between two tries, at least 1.
    pub every_secs: u32,
    /// Tries in a row that must fail before it counts, at least 1.
    pub failures: u32,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Check {
    /// `GET path`; a status from 200 to 399 passes.
    Http {
        path: String,
        /// Without it the pod's own port.
        port: Option<u16>,
        /// Text that the body must contain.
        content: Option<String>,
        timeout_secs: u32,
    },
    /// The port accepts a connection.
    Tcp {
        port: Option<u16>,
        timeout_secs: u32,
    },
    /// The process has run this long without ending.
    Uptime { secs: u32 },
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

    fn starting_with(startup: Check) -> Self {
        Self {
            startup,
            startup_deadline_secs: STARTUP_DEADLINE_SECS_DEFAULT,
            readiness: None,
            liveness: None,
        }
    }
}
