//! Why the agent ends a container, and how it goes about it. Pure.

use fairway_api::{
    disk::Amount,
    pods::{EVICTED, STOPPED_BY_CHECK, StopPolicy},
};

/// The longest grace, in seconds, for a pod that serves nobody: a push, or those who want to reach
/// it, wait for what comes after.
pub(super) const USELESS_GRACE_SECS_MAX: u32 = 5;

/// The longest grace, in seconds, for a pod that goes because the disk is nearly full.
const EVICTED_GRACE_SECS_MAX: u32 = 30;

/// Why the agent is ending a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Unwanted,
    NeverReady,
    Unhealthy,
    TimeToLive,
    TerminalGone,
    CutOff,
    /// Both in bytes.
    OverBudget {
        written: u64,
        budget: u64,
    },
    /// In bytes.
    Evicted {
        written: u64,
    },
}

impl Ending {
    pub(super) fn why(self) -> String {
        let why = match self {
            Self::Unwanted => "stopped",
            Self::NeverReady | Self::Unhealthy => STOPPED_BY_CHECK,
            Self::TimeToLive => "time to live reached",
            Self::TerminalGone => "the terminal was closed",
            Self::CutOff => "its network was taken away",
            Self::OverBudget { written, budget } => {
                let (written, budget) = (Amount(written), Amount(budget));
                return format!(
                    "disk: it wrote {written} of files of its own, and its size allows {budget}; \
                     keep what is large elsewhere, or take a larger size (app ps:type)"
                );
            }
            Self::Evicted { written } => {
                let written = Amount(written);
                return format!(
                    "{EVICTED}, since the machine's disk is nearly full and it wrote {written}"
                );
            }
        };
        why.into()
    }

    /// True if it is for what the container takes of the disk.
    pub(super) fn is_for_disk(self) -> bool {
        matches!(self, Self::OverBudget { .. } | Self::Evicted { .. })
    }

    /// The signal that asks it to end, and the seconds that it has to do so.
    pub(super) fn manner(self, policy: &StopPolicy) -> (String, u32) {
        match self {
            Self::NeverReady | Self::CutOff => (
                policy.signal.clone(),
                policy.grace_secs.min(USELESS_GRACE_SECS_MAX),
            ),
            // What a terminal that hangs up sends; an interactive shell ignores SIGTERM.
            Self::TerminalGone => ("SIGHUP".to_owned(), policy.grace_secs),
            // The disk does not wait for an hour.
            Self::Evicted { .. } => (
                policy.signal.clone(),
                policy.grace_secs.min(EVICTED_GRACE_SECS_MAX),
            ),
            _ => (policy.signal.clone(), policy.grace_secs),
        }
    }
}
