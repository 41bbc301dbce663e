//! What pods use: CPU time and memory, read from the kernel's files about their cgroups, which costs
//! a few file reads per pod and asks the engine once per container.

mod cgroup;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use fairway_api::{ids::PodId, metrics::PodUsage, nodes::HEARTBEAT_SECS};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use self::cgroup::Cgroup;
use crate::{
    board::Board,
    engine::{Engine, Inspected},
};

/// What was measured last, for the report.
pub(crate) type Usage = watch::Receiver<Vec<PodUsage>>;

/// One container that is measured.
struct Measured {
    container: String,
    /// `None`: this machine does not show it, as when the engine is on another one.
    cgroup: Option<Cgroup>,
    /// CPU time up to then, in nanoseconds.
    before: Option<(Instant, u64)>,
}

/// Measures until `out` has no receiver or `board` closes.
pub(crate) async fn measure(
    engine: Arc<Engine>,
    board: watch::Receiver<Board>,
    out: watch::Sender<Vec<PodUsage>>,
) {
    // As often as reports are sent: more would be seen by nobody.
    let mut timer = interval(Duration::from_secs(HEARTBEAT_SECS));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut measured = HashMap::new();
    while !out.is_closed() {
        timer.tick().await;
        let running = running(&board.borrow());
        find(&engine, &mut measured, &running).await;
        out.send_replace(look(&mut measured));
    }
}

/// The containers of pods that run.
fn running(board: &Board) -> BTreeMap<PodId, String> {
    let records = board.pods.iter();
    records
        .filter_map(|(pod, record)| Some((*pod, record.container.clone()?)))
        .collect()
}

/// Forgets containers that have ended, and finds the cgroups of new ones.
async fn find(
    engine: &Engine,
    measured: &mut HashMap<PodId, Measured>,
    running: &BTreeMap<PodId, String>,
) {
    measured.retain(|pod, known| running.get(pod) == Some(&known.container));
    for (pod, container) in running {
        if measured.contains_key(pod) {
            continue;
        }
        // One that has just ended is gone from the next look's list.
        let Ok(Inspected::Running { pid: Some(pid), .. }) = engine.inspect(container).await else {
            continue;
        };
        let known = Measured {
            container: container.clone(),
            cgroup: Cgroup::of_process(pid),
            before: None,
        };
        measured.insert(*pod, known);
    }
}

/// Reads the values of all of them. The first look at one gives none, since CPU time needs two.
fn look(measured: &mut HashMap<PodId, Measured>) -> Vec<PodUsage> {
    let values = measured.iter_mut().filter_map(|(pod, known)| {
        let cgroup = known.cgroup.as_ref()?;
        let (now, cpu_nanos) = (Instant::now(), cgroup.cpu_nanos()?);
        let (then, before) = known.before.replace((now, cpu_nanos))?;
        Some(PodUsage {
            pod: *pod,
            cpu_millis: cpu_millis(cpu_nanos.saturating_sub(before), now - then),
            memory_bytes: cgroup.memory_bytes()?,
        })
    });
    values.collect()
}

/// CPU time over a while, in thousandths of a core.
fn cpu_millis(nanos: u64, over: Duration) -> u32 {
    let millis = u128::from(nanos) * 1_000 / over.as_nanos().max(1);
    u32::try_from(millis).unwrap_or(u32::MAX)
}
