//! The words between a pod's state machine and its task.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::PodId,
    names::ContainerName,
    pods::{CheckFailure, Exit, PodPhase, PodStatus},
};
use serde::{Deserialize, Serialize};

/// What is known about a pod and must outlive the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) status: PodStatus,
    /// The container of the latest start, running or dead.
    pub(crate) container: Option<String>,
    /// The sandbox that it has, until it leaves the machine.
    #[serde(default)]
    pub(crate) sandbox: Option<String>,
    /// How many times a container of it ran.
    pub(crate) starts: u32,
    /// Crashes in a row.
    pub(crate) crashes: u32,
    /// Its startup check has passed at some time.
    pub(crate) was_up: bool,
    /// Of a pod with several containers each one's own record; what stands above is then what they
    /// come to together, and the main one's container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) members: BTreeMap<ContainerName, Record>,
}

impl Record {
    pub(crate) fn new(id: PodId) -> Self {
        let status = PodStatus {
            id,
            phase: PodPhase::Pending,
            address: None,
            restarts: 0,
            started_at: None,
            last_exit: None,
            check_failure: None,
            containers: vec![],
        };
        Self {
            status,
            container: None,
            sandbox: None,
            starts: 0,
            crashes: 0,
            was_up: false,
            members: BTreeMap::new(),
        }
    }

    /// The containers of the pod, by name.
    pub(crate) fn containers(&self) -> Vec<(ContainerName, &Record)> {
        if self.members.is_empty() {
            return vec![(ContainerName::main(), self)];
        }
        let members = self.members.iter();
        members.map(|(name, it)| (name.clone(), it)).collect()
    }

    /// The container that runs as far as is known.
    pub(crate) fn running(&self) -> Option<&String> {
        use PodPhase::{Running, Starting, Stopping};
        let runs = matches!(self.status.phase, Starting | Running { .. } | Stopping);
        self.container.as_ref().filter(|_| runs)
    }
}

impl Record {
    /// True while a container of it does its work.
    pub(crate) fn is_running(&self) -> bool {
        let phase = &self.status.phase;
        self.container.is_some() && matches!(phase, PodPhase::Starting | PodPhase::Running { .. })
    }
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) container: String,
    pub(crate) address: Option<IpAddr>,
    /// Whose network it has, if not its own.
    pub(crate) sandbox: Option<String>,
    pub(crate) started_at: DateTime<Utc>,
}

/// What happened to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The first thing for a pod that has no container.
    Wanted,
    /// The first thing for a pod whose container ran on while the agent was away.
    Adopted(Running),
    /// The first thing for a pod whose container is dead, with the exit if it is a new one.
    AdoptedDead {
        container: String,
        exit: Option<Exit>,
    },
    Started(Running),
    StartFailed {
        reason: String,
    },
    StartupPassed,
    /// It failed so far; more tries follow.
    StartupFailing(CheckFailure),
    /// The deadline is over.
    StartupMissed(CheckFailure),
    ReadinessPassed,
    ReadinessFailed(CheckFailure),
    LivenessFailed(CheckFailure),
    /// The kernel killed a process of the container; the main one may live on.
    OutOfMemory,
    Ended(Exit),
    /// Its sandbox has ended, and with it its network.
    CutOff,
    /// The user at the attached terminal has gone.
    TerminalGone,
    /// The engine answers again.
    EngineBack,
    Woke(Timer),
    /// The machine's disk asks something of it.
    Disk(DiskOrder),
    /// The plan does not name it any more.
    Unwanted,
}

/// What the state of the disk asks of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskOrder {
    /// The disk is short: a dead container goes now.
    Tidy,
    /// It wrote more than its size allows; both in bytes.
    OverBudget { written: u64, budget: u64 },
    /// The disk is nearly full, and this pod, which wrote so many bytes, goes first.
    Evict { written: u64 },
}

/// What a pod waits for. One of each kind at a time; a new one replaces the old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Retry,
    Kill,
    TimeToLive,
}

/// What is to be done for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Do {
    /// Make and start the container of this run.
    Start {
        run: u32,
    },
    CancelStart,
    Signal(String),
    CheckStartup,
    CheckPeriodically,
    NoChecks,
    /// Read the container's output from where it was left.
    Follow {
        container: String,
    },
    /// Deliver what is left of the container's log, then remove it.
    Bury {
        container: String,
    },
    Wake {
        after: Duration,
        timer: Timer,
    },
    /// A line for the app's log.
    Say(String),
    /// Nothing is left to do: the last thing for every pod.
    Gone,
}
