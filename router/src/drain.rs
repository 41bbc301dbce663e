//! The table in use, and how many requests each pod still has from this router.
//!
//! The controller stops a pod once every router acknowledged a table without it and reports no
//! request to it. So a report must never miss a request that is on its way. What makes that true:
//!
//! ```text
//! request                              swap and report
//! R1 load the table                    S1 store the table
//! R2 add one to the pod's count        S2 store the generation
//! R3 load the generation;              S3 mark the pods that left
//!    newer than the table's: undo,     S4 read the counts, report the generation
//!    start again with the new table
//! ```
//!
//! R2, R3, S2 and S4 are sequentially consistent, so they have one order. If R3 comes before S2,
//! then R2 came before S4 and the report counts the request. If R3 comes after S2, it sees the new
//! generation, and the request takes its pod from the new table. There is no third case. The same
//! with S3 and the end of a request: whichever comes second sees the other, so either the report
//! shows that the pod has drained or the end of the request asks for another report.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use fairway_api::{
    ids::{AppId, DeploymentId, PodId},
    routes::{CanaryTally, RouteChanges},
};
use tokio::sync::{Notify, watch};

use crate::{
    affinity,
    balance::{self, Random},
    canary::Sides,
    failure::Failure,
    table::{Endpoint, Table},
    traffic::{Meter, Meters},
};

/// How long a pod that could not be connected to is passed over. Short: the health checks of its
/// node decide about the pod, this only keeps requests from paying for the time until then.
const EJECTION: Duration = Duration::from_secs(2);

/// What this router knows about one pod. It outlives tables: each that names the pod shares it.
#[derive(Debug)]
pub(crate) struct Load {
    /// Requests and tunnels from the choice of the pod to the end of the answer.
    in_flight: AtomicU32,
    /// True while the table in use does not name the pod.
    left: AtomicBool,
    /// In milliseconds of [`Tables::now_ms`]; 0 for never.
    ejected_until_ms: AtomicU64,
    /// Told when the last request to a pod that left ended.
    notice: Arc<Notify>,
}

impl Load {
    pub(crate) fn new(notice: Arc<Notify>) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            left: AtomicBool::new(false),
            ejected_until_ms: AtomicU64::new(0),
            notice,
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.ejected_until_ms.load(SeqCst)
    }

    pub(crate) fn eject(&self, now_ms: u64) {
        let until = now_ms.saturating_add(EJECTION.as_millis() as u64);
        self.ejected_until_ms.store(until, SeqCst);
    }

    /// True if the table in use does not name the pod: connections to it are not kept.
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(SeqCst)
    }
}

/// A pod's load, and how many routes of the table in use name the pod.
#[derive(Debug)]
struct Known {
    load: Arc<Load>,
    routes: u32,
}

/// One request to one pod. It counts from its creation until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    endpoint: Arc<Endpoint>,
}

impl InFlight {
    pub(crate) fn begin(endpoint: Arc<Endpoint>) -> Self {
        endpoint.load.in_flight.fetch_add(1, SeqCst);
        Self { endpoint }
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let load = &self.endpoint.load;
        if load.in_flight.fetch_sub(1, SeqCst) == 1 && load.left.load(SeqCst) {
            load.notice.notify_one();
        }
    }
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Refused {
    #[error("route table {offered} is older than {current}, which is in use")]
    Older { offered: u64, current: u64 },
    #[error("route table {0} is in use already")]
    Same(u64),
}

/// What the table says about a request: an app, if there is one, and a pod or the reason for none.
pub(crate) struct Choice {
    pub(crate) app: Option<(AppId, Arc<Meter>)>,
    pub(crate) pod: Result<InFlight, Failure>,
}

/// The table in use and the loads. Shared by all workers; changed by [`Tables::install`] only.
#[derive(Debug)]
pub(crate) struct Tables {
    current: ArcSwap<Table>,
    generation: AtomicU64,
    loads: Mutex<HashMap<PodId, Known>>,
    /// Of the canaries that the table in use names.
    canaries: Mutex<HashMap<DeploymentId, Arc<Sides>>>,
    pub(crate) meters: Meters,
    notice: Arc<Notify>,
    swapped: watch::Sender<u64>,
    epoch: Instant,
}

impl Tables {
    /// The empty table of generation 0.
    pub(crate) fn new() -> Self {
        Self {
            current: ArcSwap::default(),
            generation: AtomicU64::new(0),
            loads: Mutex::default(),
            canaries: Mutex::default(),
            meters: Meters::new(),
            notice: Arc::default(),
            swapped: watch::Sender::new(0),
            epoch: Instant::now(),
        }
    }

    /// Of the table in use.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Resolves when there is a table.
    pub(crate) async fn first(&self) {
        let mut swaps = self.swaps();
        // The sender lives as long as this does.
        drop(swaps.wait_for(|generation| *generation > 0).await);
    }

    /// Milliseconds on this router's own clock; the measure of ejections.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Changes with each swap.
    pub(crate) fn swaps(&self) -> watch::Receiver<u64> {
        self.swapped.subscribe()
    }

    /// True if the table in use names the pod.
    pub(crate) fn names(&self, pod: PodId) -> bool {
        (self.loads().get(&pod)).is_some_and(|known| !known.load.has_left())
    }

    /// Resolves when a report is due: after a swap, and when a pod that left has drained.
    pub(crate) async fn report_due(&self) {
        self.notice.notified().await;
    }

    /// Takes a pod for a request and counts the request, by the newest table there is. `asked` is
    /// the word of the pod that answered its client before.
    pub(crate) fn choose(
        &self,
        (host, path): (&str, &str),
        asked: Option<&str>,
        tried: &[PodId],
        random: Random,
    ) -> Choice {
        loop {
            let table = self.current.load();
            if table.generation == 0 {
                return Choice {
                    app: None,
                    pod: Err(Failure::NoTable),
                };
            }
            let Some(service) = table.find(host, path) else {
                return Choice {
                    app: None,
                    pod: Err(Failure::NoRoute),
                };
            };
            let app = Some((service.app, service.meter.clone()));
            if service.maintenance {
                return Choice {
                    app,
                    pod: Err(Failure::Maintenance),
                };
            }
            let now_ms = self.now_ms();
            let picked = affinity::pick(service, asked, tried, now_ms)
                .or_else(|| balance::pick_of(service, tried, now_ms, random));
            let Some(endpoint) = picked else {
                let asleep = service.on_demand && service.endpoints.is_empty();
                let failure = if asleep {
                    Failure::Asleep
                } else {
                    Failure::NoPods
                };
                return Choice {
                    app,
                    pod: Err(failure),
                };
            };
            let request = InFlight::begin(endpoint.clone());
            // The order of these two matters, see the module's text. The table may also be newer
            // than the generation, between the two stores of a swap: that is as good as current.
            if table.generation >= self.generation.load(SeqCst) {
                return Choice {
                    app,
                    pod: Ok(request),
                };
            }
        }
    }

    /// Swaps the table for the one with these changes. Requests begun with the old one finish with
    /// it.
    pub(crate) fn install(&self, changes: &RouteChanges) -> Result<(), Refused> {
        let mut loads = self.loads();
        let current = self.generation.load(SeqCst);
        if changes.generation < current {
            return Err(Refused::Older {
                offered: changes.generation,
                current,
            });
        }
        if changes.generation == current {
            return Err(Refused::Same(current));
        }
        let before = self.current.load_full();
        let table = self.compile(&before, changes, &mut loads);
        for endpoint in table.endpoints_of(changes.routes.keys()) {
            if let Some(known) = loads.get_mut(&endpoint.pod) {
                known.routes += 1;
            }
            endpoint.load.left.store(false, SeqCst);
        }
        let apps = table.services().map(|service| service.app).collect();
        self.current.store(Arc::new(table));
        self.generation.store(changes.generation, SeqCst);
        for endpoint in before.endpoints_of(changes.routes.keys()) {
            if let Some(known) = loads.get_mut(&endpoint.pod) {
                known.routes -= 1;
                known.load.left.store(known.routes == 0, SeqCst);
            }
        }
        drop(loads);
        self.meters.keep_only(&apps);
        self.swapped.send_replace(changes.generation);
        self.notice.notify_one();
        Ok(())
    }

    fn compile(
        &self,
        before: &Table,
        changes: &RouteChanges,
        loads: &mut HashMap<PodId, Known>,
    ) -> Table {
        let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        let load_of = |pod| {
            let known = loads.entry(pod).or_insert_with(|| Known {
                load: Arc::new(Load::new(self.notice.clone())),
                routes: 0,
            });
            known.load.clone()
        };
        let table = before.with(changes, &self.meters, load_of, |deployment, step| {
            let sides = canaries.get(&deployment).filter(|it| it.step == step);
            // An app with two hostnames has its canary twice in the table.
            let sides = sides.cloned().unwrap_or_else(|| Arc::new(Sides::new(step)));
            canaries.insert(deployment, sides.clone());
            sides
        });
        let named = table.services().filter_map(|it| it.canary.as_ref());
        let named: BTreeSet<DeploymentId> = named.map(|it| it.deployment).collect();
        canaries.retain(|deployment, _| named.contains(deployment));
        table
    }

    /// The generation in use and the requests still open to pods that it does not name.
    pub(crate) fn report(&self) -> (u64, BTreeMap<PodId, u32>) {
        let mut loads = self.loads();
        let draining = loads
            .iter()
            .filter(|(_, known)| known.load.has_left())
            .map(|(pod, known)| (*pod, known.load.in_flight()))
            .filter(|(_, in_flight)| *in_flight > 0)
            .collect::<BTreeMap<_, _>>();
        // A drained pod is forgotten. A request that holds an old table may still add itself to the
        // forgotten count, but it takes itself off at once, since the generation has moved on.
        loads.retain(|pod, known| !known.load.has_left() || draining.contains_key(pod));
        (self.generation.load(SeqCst), draining)
    }

    /// How both sides of each canary did so far.
    pub(crate) fn canaries(&self) -> BTreeMap<DeploymentId, CanaryTally> {
        let canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        let tallies = canaries.iter();
        tallies.map(|(id, sides)| (*id, sides.tally())).collect()
    }

    fn loads(&self) -> MutexGuard<'_, HashMap<PodId, Known>> {
        // A panic while the lock is held cannot leave the map half-changed in a way that matters.
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
