//! What pods wrote to their own file systems.
//!
//! The engine answers by walking through all that a container changed. So it is asked for one
//! container at a time and seldom: pods that write little take no time worth speaking of, and one
//! with a million files is waited for, and then left in peace for a hundred times as long. A quota
//! of the file system would be exact and free, but engines offer it on XFS with project quotas
//! only, which few machines have. A pod may thus be over its budget for a while; what guards the
//! machine meanwhile is the level of the disk itself.

use std::{sync::Arc, time::Duration};

use fairway_api::pods::PodSpec;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

use super::{ForPods, Level, Written};
use crate::{board::Board, engine::Engine, plans::Orders, pod::DiskOrder};

/// Pause between two rounds through all pods, in seconds.
const ROUND_SECS: u64 = 60;
/// The same while the disk is short: who goes is decided by what is found.
const ROUND_SECS_SHORT: u64 = 5;
/// How many times as long as a measurement took nothing is measured after it: 1 % of one disk's
/// time.
const REST_TIMES: u32 = 100;
/// The same while the disk is short.
const REST_TIMES_SHORT: u32 = 2;
/// The longest such rest, in seconds: the others want to be measured too.
const REST_SECS_MAX: u64 = 600;
/// The longest that the engine may take over one container, in seconds.
const MEASURE_SECS_MAX: u64 = 120;

/// Measures for ever, and tells pods that are over their budget.
pub(super) async fn measure(
    engine: Arc<Engine>,
    mut level: watch::Receiver<Level>,
    (board, orders): (watch::Receiver<Board>, watch::Receiver<Option<Arc<Orders>>>),
    out: watch::Sender<Written>,
    pods: mpsc::Sender<ForPods>,
) {
    loop {
        let orders = orders.borrow().clone();
        let specs = orders.map(|orders| orders.pods.clone()).unwrap_or_default();
        out.send_if_modified(|written| {
            written.retain(|pod, _| specs.iter().any(|spec| spec.id == *pod));
            false
        });
        for spec in &specs {
            let container = running(&board.borrow(), spec);
            let Some(container) = container else { continue };
            let began = Instant::now();
            let asked = engine.written(&container);
            let limit = Duration::from_secs(MEASURE_SECS_MAX);
            if let Ok(Ok(Some(written))) = timeout(limit, asked).await {
                out.send_modify(|all| {
                    all.insert(spec.id, written);
                });
                if let Some(budget) = spec.disk_bytes.filter(|budget| written > *budget) {
                    let order = DiskOrder::OverBudget { written, budget };
                    let _ = pods.try_send((Some(spec.id), order));
                }
            }
            let times = match *level.borrow() {
                Level::Roomy => REST_TIMES,
                _ => REST_TIMES_SHORT,
            };
            let rest = began.elapsed() * times;
            sleep(rest.min(Duration::from_secs(REST_SECS_MAX))).await;
        }
        let short = *level.borrow_and_update() != Level::Roomy;
        let pause = if short { ROUND_SECS_SHORT } else { ROUND_SECS };
        // A disk that becomes short is a reason to look at once.
        drop(timeout(Duration::from_secs(pause), level.changed()).await);
    }
}

fn running(board: &Board, spec: &PodSpec) -> Option<String> {
    let record = board.pods.get(&spec.id)?;
    record.container.clone().filter(|_| record.is_running())
}
