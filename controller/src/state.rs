//! What every handler and loop shares: a handle, cheap to clone.

use std::{ops::Deref, sync::Arc};

use fairway_api::{ids::BuildId, lock::DirectoryLock};
use tokio_util::sync::CancellationToken;

use crate::{
    attach::Rendezvous,
    auth::{Logins, Roles},
    autoscale::{Decisions, Lengths},
    builds::Leases,
    config::Config,
    logs::{app_logs::AppLogs, build_output::BuildOutputs, senders::Senders},
    membership::{Authority, Members},
    metrics::Metrics,
    orchestrator::cluster::Cluster,
    routers::Routers,
    secrets::Secrets,
    sessions::Sessions,
    store::Store,
    wake::{Bell, Wake},
    wanted::Notices,
};

/// The parts of a running controller.
#[derive(Debug)]
pub struct Parts {
    pub config: Config,
    pub store: Store,
    pub secrets: Secrets,
    /// The apps' logs.
    pub logs: AppLogs,
    /// Whose lines each machine may hand in.
    pub(crate) log_senders: Senders,
    /// What builds print.
    pub build_output: BuildOutputs,
    /// Terminals and pods that wait for each other.
    pub attach: Rendezvous,
    /// People's sessions with pods that run.
    pub sessions: Arc<Sessions>,
    /// The machines: their orders and what they report.
    pub cluster: Cluster,
    /// What was measured lately.
    pub metrics: Metrics,
    /// What autoscaling decided last.
    pub autoscaling: Decisions,
    /// How long the queues are that counts follow.
    pub queues: Lengths,
    /// The routers: their table and what they report.
    pub routers: Routers,
    /// Wakes the reconcile loop; call it after each commit that changes what should run.
    pub wake: Wake,
    /// Rings when a build is queued, ends, or its push does; and when a deployment ends, since that
    /// lets the app's next build start.
    pub builds_changed: Bell,
    /// Changes when an app is destroyed: what it had on disks may go.
    pub destroyed: Notices,
    /// The process ends: answers that wait for something, and streams, end now.
    pub closing: CancellationToken,
    /// Held as long as the folder is in use.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is there to be dropped"))]
    pub(crate) lock: DirectoryLock,
    /// Which running builds were heard of, and when.
    pub(crate) leases: Leases,
    /// Credentials of builders, nodes and routers.
    pub(crate) roles: Roles,
    /// Says who machines are.
    pub authority: Authority,
    /// Which of them are part of the cluster.
    pub(crate) members: Members,
    /// Checks passwords, and slows down who guesses them.
    pub(crate) logins: Logins,
}

/// The handle to [`Parts`].
#[derive(Debug, Clone)]
pub struct AppState(Arc<Parts>);

impl AppState {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Call after the commit that set a push's verdict: ends its output for those who follow it,
    /// answers who waits for the verdict, and lets the app's next build start.
    pub fn push_ended(&self, build: BuildId) {
        self.build_output.close(build);
        self.builds_changed.ring();
    }
}

impl Deref for AppState {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}
