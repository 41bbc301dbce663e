//! Autoscaling: the rules of its settings, and the loop that looks at what was measured and sets
//! counts. What a count should be is decided in [`fairway_scheduler::autoscale`].

mod look;
mod queues;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use fairway_api::{autoscale::LastDecision, ids::AppId, names::ProcessType};
use fairway_scheduler::autoscale::{Memory, wake as verdict_of_wake};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    formation, metrics,
    problem::Answer,
    state::AppState,
    store::{apps, autoscale, formation as formation_rows},
};

pub(crate) use look::{is_up, usage};
pub use queues::Lengths;
pub(crate) use queues::run as ask_queues;
pub use settings::{list, remove, set};

/// Apps that one notice of a router may name; more come with the next.
const WAKES_MAX: usize = 1_000;

/// What was decided last for each process type, for people.
#[derive(Debug, Default)]
pub struct Decisions(Mutex<BTreeMap<(AppId, ProcessType), LastDecision>>);

impl Decisions {
    /// For one process type.
    pub fn of(&self, app: AppId, process_type: &ProcessType) -> Option<LastDecision> {
        self.lock().get(&(app, process_type.clone())).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(AppId, ProcessType), LastDecision>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// Takes samples and sets counts until `shutdown`.
pub(crate) async fn run(state: &AppState, shutdown: &CancellationToken) {
    let mut timer = interval(Duration::from_secs(metrics::SAMPLE_SECS));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut memories: BTreeMap<(AppId, ProcessType), Memory> = BTreeMap::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = timer.tick() => {}
        }
        state.metrics.sample(Instant::now());
        if let Err(error) = look::all(state, &mut memories).await {
            tracing::error!("a look of the autoscaler failed: {error:#}");
        }
    }
}

/// Starts apps that requests wait for. One that has pods, or that nobody wants to be woken, is left
/// alone.
pub async fn wake(state: &AppState, wanted: BTreeSet<AppId>) -> Answer<()> {
    for id in wanted.into_iter().take(WAKES_MAX) {
        let mut read = state.store.read().await?;
        let asleep = is_asleep(&mut read, id).await?;
        drop(read);
        if !asleep {
            continue;
        }
        let mut tx = state.store.write().await?;
        if is_asleep(&mut tx, id).await? {
            let app = apps::get(&mut tx, id).await?;
            let verdict = verdict_of_wake();
            formation::autoscale(&mut tx, &app, &ProcessType::web(), &verdict).await?;
            tx.commit().await?;
            state.wake.app(id);
        }
    }
    Ok(())
}

/// True for an app that has no web pods and gets some when somebody asks.
async fn is_asleep(db: &mut crate::store::Db, app: AppId) -> Answer<bool> {
    let policies = autoscale::list(db, app).await?;
    let on_demand = policies.iter().any(autoscale::AutoscaleRow::is_on_demand);
    if !on_demand {
        return Ok(false);
    }
    let rows = formation_rows::list(db, app).await?;
    Ok(rows
        .iter()
        .any(|row| row.process_type.is_web() && row.quantity == 0))
}
