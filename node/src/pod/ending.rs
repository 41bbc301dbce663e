//! Why the agent ends a container, and how it goes about it. Pure.

use fairway_api::pods::StopPolicy;

/// The longest grace, in seconds, for a pod that serves nobody: a push, or those who want to reach
/// it, wait for what comes after.
pub(super) const USELESS_GRACE_SECS_MAX: u32 = 5;

/// Why the agent is ending a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Unwanted,
    NeverReady,
    Unhealthy,
    TimeToLive,
    TerminalGone,
    CutOff,
}

impl Ending {
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Unwanted => "stopped",
            Self::NeverReady | Self::Unhealthy => "check failed",
            Self::TimeToLive => "time to live reached",
            Self::TerminalGone => "the terminal was closed",
            Self::CutOff => "its network was taken away",
        }
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
            _ => (policy.signal.clone(), policy.grace_secs),
        }
    }
}
