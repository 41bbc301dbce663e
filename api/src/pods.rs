//! Pods: what is wanted ([`PodSpec`]) and what was seen ([`PodStatus`]). Two types on purpose:
//! nothing may take an order for an observation.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    checks::{CheckKind, Checks},
    ids::{AppId, AttachId, PodId},
    images::ImageRef,
    names::{AppName, ConfigName, ContainerName, ProcessType},
    placement::Priority,
    secret::Secret,
    sidecars::Sidecars,
    sizes::Resources,
    volumes::Mount,
};

/// The port a pod is told to listen on (`PORT`) unless its image exposes exactly one other. Each
/// pod has its own address, so the port can be the same for all.
pub const PORT_DEFAULT: u16 = 8080;
/// Seconds between the stop signal and SIGKILL when nothing else is said (Heroku's value).
pub const STOP_GRACE_SECS_DEFAULT: u32 = 30;
/// The longest stop grace that may be asked for, in seconds.
pub const STOP_GRACE_SECS_MAX: u32 = 3600;
/// How the reason of an [`Exit`] begins whose pod the machine could not keep.
pub const EVICTED: &str = "evicted";
/// Where config vars that are files stand in a pod: one file each, in memory, never on a disk.
pub const FILES_DIR: &str = "/run/secrets";
/// The reason of an [`Exit`] that a failing check brought about.
pub const STOPPED_BY_CHECK: &str = "check failed";
/// How many last lines of output an [`Exit`] carries.
pub const EXIT_LINES_MAX: usize = 20;

/// One replica of one process type of one release, as the controller wants it. Immutable: a change
/// of anything is a new pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    pub id: PodId,
    pub app: AppId,
    /// For names and logs; the id decides.
    pub app_name: AppName,
    /// `web.1`, `run.4821`, `release.7`: also the `DYNO` variable.
    pub name: String,
    pub process_type: ProcessType,
    /// Version of the release it runs.
    pub release: u64,
    pub image: ImageRef,
    /// The whole command line, not run through a shell by the agent; `None` keeps the image's own.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint; `Some(vec![])` clears it.
    pub entrypoint: Option<Vec<String>>,
    pub env: BTreeMap<String, Secret>,
    pub resources: Resources,
    /// What it may write beside its volumes, in bytes; `None` from a controller that does not say.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
    /// Who goes first when the machine's disk is full.
    #[serde(default)]
    pub priority: Priority,
    /// The port that requests go to; `None` for a pod that gets none.
    pub port: Option<u16>,
    /// `None` for one-off pods: they are up when they run.
    pub checks: Option<Checks>,
    pub stop: StopPolicy,
    pub restart: RestartPolicy,
    /// Seconds from its start after which the agent stops it; only for one-off pods.
    pub time_to_live_secs: Option<u32>,
    /// A terminal that waits to be joined to the pod's main process.
    pub attach: Option<Attach>,
    /// Its other containers; all above is the main one's.
    #[serde(default, skip_serializing_if = "Sidecars::is_empty")]
    pub sidecars: Sidecars,
    /// Volumes that it has. None of two has the same path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Config vars that it has as files in [`FILES_DIR`], and not in its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<ConfigName, Secret>,
}

impl PodSpec {
    /// Where requests to it go: the main container's port, unless a sidecar takes them.
    pub fn requests_port(&self) -> Option<u16> {
        self.sidecars.requests_port.or(self.port)
    }

    /// True for a pod that ends when its machine's lease does.
    pub fn needs_lease(&self) -> bool {
        self.mounts.iter().any(|mount| mount.leased)
    }
}

/// How a pod is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopPolicy {
    /// `SIGTERM`, `SIGINT`, ...
    pub signal: String,
    pub grace_secs: u32,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self {
            signal: "SIGTERM".into(),
            grace_secs: STOP_GRACE_SECS_DEFAULT,
        }
    }
}

/// What the agent does when a pod's main process ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Start it again, with back-off, whatever the exit code.
    Always,
    /// Leave it: one-off pods and release phases.
    Never,
}

/// The pod's end of a rendezvous with a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    pub id: AttachId,
    pub tty: bool,
}

/// One pod as its agent last saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    pub id: PodId,
    pub phase: PodPhase,
    /// On the pod network, while the container runs.
    pub address: Option<IpAddr>,
    /// Starts after the first.
    pub restarts: u32,
    /// When the present container process started.
    pub started_at: Option<DateTime<Utc>>,
    /// How the process before the present one ended.
    pub last_exit: Option<Exit>,
    /// Why the last failing check failed; cleared when it passes.
    pub check_failure: Option<CheckFailure>,
    /// Each container of a pod that has several, the main one first. What stands above is then what
    /// they come to together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerStatus>,
}

/// One container of a pod that has several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub name: ContainerName,
    /// `Pending` while it waits for others.
    pub phase: PodPhase,
    /// Starts after the first.
    pub restarts: u32,
    /// How the process before the present one ended.
    pub last_exit: Option<Exit>,
    pub check_failure: Option<CheckFailure>,
}

/// What a pod is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PodPhase {
    /// Known to the agent, nothing done yet; or the image is being pulled.
    Pending,
    /// The process runs, the startup check has not passed yet.
    Starting,
    /// The startup check has passed. `ready` says whether it should get requests.
    Running { ready: bool },
    /// It ended and will be started again at this time.
    BackOff { until: DateTime<Utc> },
    /// The stop signal was sent.
    Stopping,
    /// It ended and stays so. A replica of a process type only when the machine could not keep it
    /// (it was evicted): then another has to take its place.
    Exited,
    /// It could not be started, for a reason that a retry may or may not cure; the agent retries.
    Refused { reason: String },
    /// The startup check did not pass within its deadline; the container was stopped.
    NeverReady,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// As the engine reports it: 128 + n for signal n.
    pub code: i64,
    /// The kernel killed it for its memory limit.
    pub out_of_memory: bool,
    /// Why the agent ended it, if it did: `check failed`, `time to live reached`, `stopped`,
    /// `evicted, since ...`.
    pub stopped_because: Option<String>,
    pub at: DateTime<Utc>,
    /// Last lines of output, oldest first, at most [`EXIT_LINES_MAX`]; lines that differ only in
    /// digits may stand as one.
    pub last_lines: Vec<String>,
}

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFailure {
    /// Which check; `None` from an older agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CheckKind>,
    /// `GET /health on port 8080`.
    pub check: String,
    /// `answered 500 Internal Server Error`, `connection refused; the process listens on port
    /// 3000`.
    pub why: String,
    /// The start of the response, if there was one.
    pub response: Option<String>,
}

/// How an agent begins the reason of a refusal ([`PodPhase::Refused`]) when the image did not come.
const PULL_REFUSALS: [&str; 2] = ["cannot pull ", "pulling "];

impl PodStatus {
    /// True when it should get requests.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, PodPhase::Running { ready: true })
    }
}

impl PodPhase {
    /// True if the pod could not be started because its image did not come.
    pub fn lacks_image(&self) -> bool {
        let begins = |reason: &String| PULL_REFUSALS.iter().any(|it| reason.starts_with(it));
        matches!(self, Self::Refused { reason } if begins(reason))
    }
}

impl Exit {
    /// True if its machine could not keep the pod.
    pub fn is_eviction(&self) -> bool {
        let why = self.stopped_because.as_deref();
        why.is_some_and(|why| why.starts_with(EVICTED))
    }

    /// The signal that ended it, if one did: its number, and its name if it is a usual one.
    pub fn signal(&self) -> Option<(i64, Option<&'static str>)> {
        // Signals end at 64; codes above are a program's own.
        let number = self.code - 128;
        (1..=64)
            .contains(&number)
            .then(|| (number, signal_name(self.code)))
    }
}

impl CheckFailure {
    /// The failure as that of this check.
    #[must_use]
    pub fn of(self, kind: CheckKind) -> Self {
        Self {
            kind: Some(kind),
            ..self
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.out_of_memory {
            return write!(f, "ran out of memory and was killed");
        }
        match (&self.stopped_because, signal_name(self.code)) {
            (Some(why), _) if self.is_eviction() => write!(f, "was {why}"),
            (Some(why), _) => write!(f, "was stopped: {why}"),
            (None, Some(signal)) => write!(f, "was killed by {signal}"),
            (None, None) => write!(f, "exited with code {}", self.code),
        }
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.why)
    }
}

/// The signal behind an exit code over 128, for those that matter.
fn signal_name(code: i64) -> Option<&'static str> {
    Some(match code {
        129 => "SIGHUP",
        130 => "SIGINT",
        131 => "SIGQUIT",
        132 => "SIGILL",
        134 => "SIGABRT",
        135 => "SIGBUS",
        136 => "SIGFPE",
        137 => "SIGKILL",
        139 => "SIGSEGV",
        141 => "SIGPIPE",
        143 => "SIGTERM",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_told_from_a_programs_own_code() {
        let signal = |code| {
            let exit = Exit {
                code,
                out_of_memory: false,
                stopped_because: None,
                at: DateTime::UNIX_EPOCH,
                last_lines: vec![],
            };
            exit.signal()
        };
        assert_eq!(signal(139), Some((11, Some("SIGSEGV"))));
        assert_eq!(signal(138), Some((10, None)));
        for own in [0, 1, 127, 128, 193, 255] {
            assert_eq!(signal(own), None, "{own}");
        }
    }

    #[test]
    fn an_exit_reads_as_a_sentence() {
        let exit = |code, out_of_memory, stopped: Option<&str>| Exit {
            code,
            out_of_memory,
            stopped_because: stopped.map(Into::into),
            at: DateTime::UNIX_EPOCH,
            last_lines: vec![],
        };
        assert_eq!(exit(1, false, None).to_string(), "exited with code 1");
        assert_eq!(
            exit(137, true, None).to_string(),
            "ran out of memory and was killed"
        );
        assert_eq!(exit(139, false, None).to_string(), "was killed by SIGSEGV");
        assert_eq!(
            exit(143, false, Some("time to live reached")).to_string(),
            "was stopped: time to live reached"
        );
    }
}
