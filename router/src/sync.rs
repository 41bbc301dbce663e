//! Keeps the table the controller's: fetches each newer one, swaps, keeps it on disk, reports.
//!
//! Loops that do not wait for each other. The first asks for what has changed since the table in
//! use, and for everything when that does not lead to what it should ([`RouteBook`]). A report goes
//! out at once after a swap (it is the acknowledgement that a deployment waits for), when a pod that
//! left the table has drained, and every [`HEARTBEAT_SECS`]; the third asks for pods, the last keeps
//! the table. None retries by itself: the next pass is the retry.

mod kept;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fairway_api::{
    client::{Client, ClientError},
    error::ErrorId,
    names::RouterName,
    nodes::HEARTBEAT_SECS,
    routes::{NotTaken, RouteBook, RouteUpdate, RouterStatus, WakeNotice},
};
use tokio::time::{sleep, timeout};

pub(crate) use self::kept::KeptTable;
use crate::drain::Tables;

/// The pause after a failed call, short enough that a restarted controller is found at once.
const RETRY: Duration = Duration::from_secs(1);
/// How often the controller is told of requests that wait for a pod.
const WAKE_AGAIN: Duration = Duration::from_secs(2);
/// How long one report may take; a newer one may be due by then.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Writing the table to disk takes no more than one part in so many of the time, or a large one
/// that changes all the time would keep the disk busy.
const KEEP_SHARE: u32 = 20;

/// The link between the tables of a router and the controller.
#[derive(Debug)]
pub(crate) struct Sync {
    pub(crate) name: RouterName,
    pub(crate) client: Client,
    pub(crate) tables: Arc<Tables>,
    /// What `tables` were made from.
    pub(crate) book: Mutex<RouteBook>,
    pub(crate) kept: Arc<KeptTable>,
}

impl Sync {
    /// Follows the controller until that wants no router here any more; why it does not.
    pub(crate) async fn run(&self) -> ClientError {
        tokio::select! {
            refusal = self.fetch() => refusal,
            never = self.report() => match never {},
            never = self.wake() => match never {},
            never = self.keep() => match never {},
        }
    }

    /// Says at once when requests wait for an app without pods, and again as long as they do: the
    /// controller may have been away, or have put the app to sleep at the same moment.
    async fn wake(&self) -> Infallible {
        let meters = &self.tables.meters;
        loop {
            let apps = meters.asleep();
            if apps.is_empty() {
                meters.first_held().await;
                continue;
            }
            let notice = WakeNotice { apps };
            let told = timeout(REPORT_TIMEOUT, self.client.wake_apps(&self.name, &notice)).await;
            if let Ok(Err(error)) = told {
                tracing::warn!("cannot ask for pods: {:#}", anyhow::Error::new(error));
            }
            drop(timeout(WAKE_AGAIN, meters.first_held()).await);
        }
    }

    async fn fetch(&self) -> ClientError {
        let mut reachable = true;
        let mut changes = true;
        loop {
            let after = self.tables.generation();
            match self.client.route_table(&self.name, after, changes).await {
                Ok(update) => {
                    if !std::mem::replace(&mut reachable, true) {
                        tracing::info!("the controller answers again");
                    }
                    let Some(update) = update else { continue };
                    changes = true;
                    if let Err(refused) = self.take(update) {
                        // Everything helps at once, what is too old only later.
                        changes = !refused.needs_everything();
                        tracing::warn!("{:#}", anyhow::Error::new(refused));
                        if changes {
                            sleep(RETRY).await;
                        }
                    }
                }
                Err(error) if is_refusal(&error) => {
                    self.kept.give_up();
                    return error;
                }
                Err(error) => {
                    if std::mem::replace(&mut reachable, false) {
                        let error = anyhow::Error::new(error);
                        tracing::warn!(
                            generation = after,
                            "cannot fetch routes, going on with the ones in use: {error:#}"
                        );
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    fn take(&self, update: RouteUpdate) -> Result<(), NotTaken> {
        let changes = self.book().take(update)?;
        // The book has the same generation, and refuses what is not newer.
        if let Err(refused) = self.tables.install(&changes) {
            tracing::error!("{refused}");
        }
        Ok(())
    }

    /// Keeps each table some time after it came into use: the deployment waits for its use. The
    /// file is for a router that starts while the controller is away, and a crash before it is
    /// written loses a moment's change at worst.
    async fn keep(&self) -> Infallible {
        let mut swaps = self.tables.swaps();
        loop {
            // The sender is in `tables`, so this does not fail.
            drop(swaps.changed().await);
            let begun = Instant::now();
            let (file, whole) = (self.kept.clone(), self.book().whole());
            let kept = tokio::task::spawn_blocking(move || file.save(&whole)).await;
            if let Err(error) = kept.map_err(anyhow::Error::new).and_then(|kept| kept) {
                tracing::warn!("the route table is in use but not kept on disk: {error:#}");
            }
            sleep(begun.elapsed() * KEEP_SHARE).await;
        }
    }

    /// Keeps the table of a router that ends.
    pub(crate) fn keep_last(&self) {
        if self.tables.generation() > 0
            && let Err(error) = self.kept.save(&self.book().whole())
        {
            tracing::warn!("the last route table could not be kept on disk: {error:#}");
        }
    }

    fn book(&self) -> MutexGuard<'_, RouteBook> {
        // It takes an update wholly or not at all.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn report(&self) -> Infallible {
        let mut heard = true;
        loop {
            let (generation, draining) = self.tables.report();
            let status = RouterStatus {
                router: self.name.clone(),
                generation,
                draining,
                canaries: self.tables.canaries(),
                traffic: self.tables.meters.report(),
            };
            match timeout(REPORT_TIMEOUT, self.client.report_router(&status)).await {
                Ok(Ok(())) => {
                    heard = true;
                    let heartbeat = Duration::from_secs(HEARTBEAT_SECS);
                    // Whichever comes first, there is something to say.
                    drop(timeout(heartbeat, self.tables.report_due()).await);
                }
                failed => {
                    if std::mem::replace(&mut heard, false) {
                        let error = match failed {
                            Ok(Err(error)) => anyhow::Error::new(error),
                            _ => anyhow::anyhow!("no answer in {} s", REPORT_TIMEOUT.as_secs()),
                        };
                        tracing::warn!("cannot report to the controller: {error:#}");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }
}

/// True when the controller was reached and wants no router here: its machine was removed, or an
/// operator does not let it route.
fn is_refusal(error: &ClientError) -> bool {
    let id = error.api().map(|error| error.id);
    matches!(id, Some(ErrorId::Removed | ErrorId::Forbidden))
}
