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
    pod: PodId,
    /// `None`: this machine does not show it, as when the engine is on another one.
    cgroup: Option<Cgroup>,
    /// CPU time up to then, in nanoseconds.
    before: Option<(Instant, u64)>,
}

/// By container.
type All = HashMap<String, Measured>;

/// Measures until `out` has no receiver or `board` closes.
pub(crate) async fn measure(
    engine: Arc<Engine>,
    board: watch::Receiver<Board>,
    out: watch::Sender<Vec<PodUsage>>,
) {
    // As often as reports are sent: more would be seen by nobody.
    let mut timer = interval(Duration::from_secs(HEARTBEAT_SECS));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut measured = All::new();
    while !out.is_closed() {
        timer.tick().await;
        let running = running(&board.borrow());
        find(&engine, &mut measured, &running).await;
        out.send_replace(look(&mut measured));
    }
}

/// The containers of pods that run, and whose they are.
fn running(board: &Board) -> BTreeMap<String, PodId> {
    let mut running = BTreeMap::new();
    for (pod, record) in &board.pods {
        for (_, container) in record.containers() {
            running.extend(container.container.clone().map(|it| (it, *pod)));
        }
    }
    running
}

/// Forgets containers that have ended, and finds the cgroups of new ones.
async fn find(engine: &Engine, measured: &mut All, running: &BTreeMap<String, PodId>) {
    measured.retain(|container, _| running.contains_key(container));
    for (container, pod) in running {
        if measured.contains_key(container) {
            continue;
        }
        // One that has just ended is gone from the next look's list.
        let Ok(Inspected::Running { pid: Some(pid), .. }) = engine.inspect(container).await else {
            continue;
        };
        let known = Measured {
            pod: *pod,
            cgroup: Cgroup::of_process(pid),
            before: None,
        };
        measured.insert(container.clone(), known);
    }
}

/// Reads the values of all of them; those of a pod's containers together. The first look at one
/// gives none, since CPU time needs two.
fn look(measured: &mut All) -> Vec<PodUsage> {
    let mut pods: BTreeMap<PodId, PodUsage> = BTreeMap::new();
    for known in measured.values_mut() {
        if let Some(used) = look_at(known) {
            let sum = pods.entry(used.pod).or_insert(PodUsage {
                cpu_millis: 0,
                memory_bytes: 0,
                ..used
            });
            sum.cpu_millis = sum.cpu_millis.saturating_add(used.cpu_millis);
            sum.memory_bytes = sum.memory_bytes.saturating_add(used.memory_bytes);
        }
    }
    pods.into_values().collect()
}

fn look_at(known: &mut Measured) -> Option<PodUsage> {
    let cgroup = known.cgroup.as_ref()?;
    let (now, cpu_nanos) = (Instant::now(), cgroup.cpu_nanos()?);
    let (then, before) = known.before.replace((now, cpu_nanos))?;
    Some(PodUsage {
        pod: known.pod,
        cpu_millis: cpu_millis(cpu_nanos.saturating_sub(before), now - then),
        memory_bytes: cgroup.memory_bytes()?,
    })
}

/// CPU time over a while, in thousandths of a core.
fn cpu_millis(nanos: u64, over: Duration) -> u32 {
    let millis = u128::from(nanos) * 1_000 / over.as_nanos().max(1);
    u32::try_from(millis).unwrap_or(u32::MAX)
}
