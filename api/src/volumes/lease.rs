//! Leases: at most one machine writes a volume that several can reach.
//!
//! ```text
//! machine     report sent ............ stop signal ... SIGKILL
//!             |<-- STOP_AFTER_SECS -->|               |
//!             |<------------ LEASE_SECS ------------->|
//! controller     report came ............................... machine lost ... taken over
//!                |<-------------------- at least TAKEOVER_SECS ------------------>|
//! ```
//!
//! The binding of a pod to a machine is the lease: it is in the database, and no second pod that
//! wants the volume is bound while it stands. A machine that reports and works on the newest orders
//! has its leases renewed; one that gets no answer ends such pods itself, on its own monotonic
//! clock, counted from when it sent the last report that was answered. The controller counts from
//! later and waits longer, so no clock has to agree with another, only to run at about its speed.
//!
//! A volume that only one machine can reach, the disk of a local one, needs no lease: there nobody
//! could take it over, and its pods outlive a controller that is away.

use std::time::Duration;

/// How long after the sending of an answered report a machine may have a leased volume, in seconds.
pub const LEASE_SECS: u64 = 30;
/// When it begins to stop the pods, in seconds: what is left of the lease is their time to end.
pub const STOP_AFTER_SECS: u64 = 20;
/// How long a machine must have been lost, in seconds, until its volumes may be taken: the lease
/// once more, and half of it for clocks that run apart and for a machine that is slow to kill.
pub const TAKEOVER_SECS: u64 = 45;

/// A machine's side of its leases. Times are its monotonic clock, from any beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lease {
    renewed_at: Option<Duration>,
}

/// What a machine may do with pods that need a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// They run, and may be started.
    Run,
    /// They are to stop, and none may be started.
    Stop,
    /// Whatever still runs is to be killed.
    Kill,
}

impl Lease {
    /// A report that was sent at `sent_at` was answered, and the machine worked on the newest
    /// orders. One that it overtook changes nothing.
    pub fn renew(&mut self, sent_at: Duration) {
        self.renewed_at = self.renewed_at.max(Some(sent_at));
    }

    /// What is right at this time.
    pub fn right(&self, now: Duration) -> Right {
        let Some(renewed_at) = self.renewed_at else {
            return Right::Stop;
        };
        let age = now.saturating_sub(renewed_at);
        if age >= Duration::from_secs(LEASE_SECS) {
            Right::Kill
        } else if age >= Duration::from_secs(STOP_AFTER_SECS) {
            Right::Stop
        } else {
            Right::Run
        }
    }

    /// When [`Self::right`] changes next by itself; `None` if it does not.
    pub fn changes_at(&self, now: Duration) -> Option<Duration> {
        let renewed_at = self.renewed_at?;
        [STOP_AFTER_SECS, LEASE_SECS]
            .map(|secs| renewed_at + Duration::from_secs(secs))
            .into_iter()
            .find(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_runs_out_in_two_steps_and_is_counted_from_the_sending() {
        let at = Duration::from_secs;
        let mut lease = Lease::default();
        assert_eq!(lease.right(at(5)), Right::Stop);
        lease.renew(at(10));
        lease.renew(at(4)); // Answered late.
        for (secs, right) in [
            (10, Right::Run),
            (29, Right::Run),
            (30, Right::Stop),
            (39, Right::Stop),
            (40, Right::Kill),
        ] {
            assert_eq!(lease.right(at(secs)), right, "{secs}");
        }
        assert_eq!(lease.changes_at(at(10)), Some(at(30)));
        assert_eq!(lease.changes_at(at(30)), Some(at(40)));
        assert_eq!(lease.changes_at(at(40)), None);
    }
}
