//! Claims builds and runs them. It learns of work only from the controller, also of work that was
//! pushed here, so that the queue has one owner.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fairway_api::{
    build_orders::{BUILD_LEASE_SECS, BuildOrder, BuildResult, ClaimBuild},
    client::{Client, ClientError},
    ids::BuildId,
    names::BuilderName,
    phases::Phase,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    build::{BuildContext, BuildTools, build},
    output::{Output, may_pass},
    source::Sources,
};

/// How long to wait before a claim that failed is tried again.
const CLAIM_PAUSE: Duration = Duration::from_secs(1);
/// How long to wait before a result that could not be handed in is tried again.
const RESULT_PAUSE: Duration = Duration::from_millis(500);
/// How long a cancelled build may take to stop its containers.
const CANCEL_WAIT_MAX: Duration = Duration::from_secs(20);

/// Runs builds, some at a time.
pub(crate) struct Worker {
    pub(crate) client: Client,
    pub(crate) builder: BuilderName,
    pub(crate) tools: Arc<BuildTools>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) builds_at_once: usize,
    pub(crate) in_hand: InHand,
}

/// The builds that were claimed and whose results are not handed in. Each claim names them, since
/// the controller fails at once what runs in its books and is not among them.
#[derive(Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<BTreeSet<BuildId>>>);

/// A build in hand; ends with its drop.
struct Held {
    id: BuildId,
    among: InHand,
}

impl InHand {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<BuildId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, id: BuildId) -> Held {
        self.lock().insert(id);
        let among = self.clone();
        Held { id, among }
    }

    fn all(&self) -> BTreeSet<BuildId> {
        self.lock().clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.among.lock().remove(&self.id);
    }
}

impl Worker {
    /// Claims and builds until `shutdown`; then ends what runs.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.builds_at_once.max(1)));
        let (worker, builds) = (Arc::new(self), TaskTracker::new());
        let mut away = false;
        while !shutdown.is_cancelled() {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                let claim = ClaimBuild {
                    builder: worker.builder.clone(),
                    in_hand: worker.in_hand.all(),
                };
                (place, worker.client.claim_build(&claim).await)
            };
            let (place, claimed) = tokio::select! {
                next = next => next,
                () = shutdown.cancelled() => break,
            };
            match claimed {
                Ok(order) => {
                    away = false;
                    let Some(order) = order else { continue };
                    let held = worker.in_hand.hold(order.id);
                    let (worker, shutdown) = (Arc::clone(&worker), shutdown.clone());
                    builds.spawn(async move {
                        worker.work(order, &shutdown).await;
                        drop((held, place));
                    });
                }
                Err(error) => {
                    worker.claim_failed(error, &mut away);
                    tokio::select! {
                        () = sleep(CLAIM_PAUSE) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
        builds.close();
        builds.wait().await;
    }

    /// Told once per outage: a controller that restarts is nothing to fill a log with.
    fn claim_failed(&self, error: ClientError, away: &mut bool) {
        if !std::mem::replace(away, true) {
            let error = anyhow::Error::new(error);
            tracing::warn!("cannot ask for builds, will go on trying: {error:#}");
        }
    }

    /// Does one build, from its order to its result.
    async fn work(self: Arc<Self>, order: BuildOrder, shutdown: &CancellationToken) {
        let id = order.id;
        tracing::info!(build = %id, app = %order.app.name, "build begins");
        // Set by a lost lease as well, which stops this build only.
        let cancel = shutdown.child_token();
        let (output, pump) = Output::start(self.client.clone(), id, &order.redact, cancel.clone());
        // A task of its own, so that a fault in one build is that build's failure.
        let building = tokio::spawn({
            let (worker, output, cancel) = (Arc::clone(&self), output.clone(), cancel.clone());
            async move { worker.build(order, output, cancel).await }
        });
        let mut result = building.await.unwrap_or_else(|error| {
            tracing::error!(build = %id, "a build ended badly: {error:#}");
            failed("the builder has a fault; its operator finds more in the log")
        });
        if shutdown.is_cancelled() {
            result = failed("the builder was stopped while it built; push again");
        } else if cancel.is_cancelled() {
            tracing::info!(build = %id, "build was cancelled");
            pump.finish().await;
            return;
        }
        if let BuildResult::Failed { reason } = &result {
            tracing::info!(build = %id, reason, "build failed");
            output.error(reason);
        } else {
            tracing::info!(build = %id, "build succeeded");
        }
        let since = Instant::now();
        // The controller ends the output with the result, so all of it has to be there before.
        pump.finish().await;
        self.hand_in(id, &result).await;
        Phase::HandIn.log(id, since.elapsed());
    }

    async fn build(
        &self,
        order: BuildOrder,
        output: Output,
        cancel: CancellationToken,
    ) -> BuildResult {
        let folder = match self.sources.take(order.id).await {
            Ok(folder) => folder,
            Err(error) => return failed(&error.to_string()),
        };
        let source = folder.path().to_owned();
        let late = cancel.clone();
        let context = BuildContext {
            order,
            source,
            output,
            cancel,
        };
        let result = tokio::select! {
            built = build(&self.tools, context) => match built {
                Ok(image) => BuildResult::Succeeded(image),
                Err(failure) => failed(&failure.to_string()),
            },
            () = async { late.cancelled().await; sleep(CANCEL_WAIT_MAX).await } => {
                tracing::error!("a cancelled build did not stop and was dropped");
                failed("the build was cancelled")
            }
        };
        // Thousands of files: not on a thread that others wait for.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(folder)).await {
            tracing::error!("removing a source ended badly: {error:#}");
        }
        result
    }

    /// Tells the controller how a build ended, as long as it may want to know.
    async fn hand_in(&self, id: BuildId, result: &BuildResult) {
        let until = Instant::now() + Duration::from_secs(BUILD_LEASE_SECS);
        while let Err(error) = self.client.finish_build(id, result).await {
            if !may_pass(&error) || Instant::now() > until {
                let error = anyhow::Error::new(error);
                tracing::warn!(build = %id, "cannot hand in how a build ended: {error:#}");
                return;
            }
            sleep(RESULT_PAUSE).await;
        }
    }
}

fn failed(reason: &str) -> BuildResult {
    BuildResult::Failed {
        reason: reason.to_owned(),
    }
}
