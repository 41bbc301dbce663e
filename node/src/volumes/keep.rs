//! What is done about volumes beside the starts of pods: what the orders say, and a look now and
//! then at what they use.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use fairway_api::{
    client::Client,
    ids::{PodId, SnapshotId, VolumeId},
    names::NodeName,
    volumes::{Mount, VolumeOrder, VolumeStatus, VolumeTask, VolumeTaskEnd, show_size},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Volumes, archive, measure};
use crate::{
    board::Board,
    diff::State,
    logs::{LogQueue, Writer},
    plans::Orders,
};

/// How often volumes are measured, in seconds.
const MEASURE_SECS: u64 = 30;
/// How often what could not be done is tried again, in seconds.
const AGAIN_SECS: u64 = 2;
/// Below this share a volume that was full counts as not full any more, in percent.
const ROOM_PERCENT: u64 = 90;

/// What the rest of the agent gives.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) volumes: Arc<Volumes>,
    pub(super) client: Client,
    pub(super) node: NodeName,
    pub(super) orders: watch::Receiver<Option<Arc<Orders>>>,
    pub(super) board: watch::Receiver<Board>,
    pub(super) logs: LogQueue,
    pub(super) measured: watch::Sender<Option<Vec<VolumeStatus>>>,
}

/// Works and measures for ever.
pub(super) async fn keep(means: Means) {
    let (orders, board) = (means.orders.clone(), means.board.clone());
    let mut progress = Progress {
        means: Arc::new(means),
        tasks: HashMap::new(),
        full: BTreeSet::new(),
    };
    let (mut orders, mut board) = (orders, board);
    let mut timer = interval(Duration::from_secs(MEASURE_SECS));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = orders.borrow_and_update().clone();
        let looked = board.borrow_and_update().looked;
        if let Some(orders) = &now {
            progress.follow(&orders.volumes);
            if looked {
                progress.tidy(orders);
            }
        }
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            changed = board.changed() => if changed.is_err() { return },
            _ = timer.tick() => progress.measure(now.as_deref()).await,
        }
    }
}

struct Progress {
    means: Arc<Means>,
    tasks: HashMap<VolumeId, (VolumeTask, AbortOnDropHandle<()>)>,
    /// Volumes that were told to be full.
    full: BTreeSet<VolumeId>,
}

impl Progress {
    /// Begins what is new in the orders, and ends what they do not say any more.
    fn follow(&mut self, orders: &[VolumeOrder]) {
        let wanted: BTreeMap<VolumeId, &VolumeTask> = orders
            .iter()
            .map(|order| (order.volume, &order.task))
            .collect();
        self.tasks
            .retain(|id, (task, _)| wanted.get(id) == Some(&&*task));
        for (id, task) in wanted {
            let means = self.means.clone();
            self.tasks.entry(id).or_insert_with(|| {
                let work = work(means, id, task.clone());
                (task.clone(), AbortOnDropHandle::new(tokio::spawn(work)))
            });
        }
    }

    /// Removes the config files of pods that are no more.
    fn tidy(&self, orders: &Orders) {
        let mut pods: BTreeSet<PodId> = orders.pods.iter().map(|pod| pod.id).collect();
        pods.extend(self.means.board.borrow().pods.keys());
        self.means.volumes.files.keep_only(&pods);
    }

    async fn measure(&mut self, orders: Option<&Orders>) {
        let volumes = self.means.volumes.clone();
        let measuring = tokio::task::spawn_blocking(move || look(&volumes));
        let Ok(measured) = measuring.await else {
            return;
        };
        // Before there are orders nobody knows whose log it is.
        for (status, orders) in measured.iter().zip(orders.into_iter().cycle()) {
            self.tell(status, orders);
        }
        self.means.measured.send_replace(Some(measured));
    }

    /// Says once in the log of its pods that a volume has become full.
    fn tell(&mut self, status: &VolumeStatus, orders: &Orders) {
        let (Some(used), Some(size)) = (status.used_bytes, status.size_bytes) else {
            return;
        };
        if !status.is_full() {
            if u128::from(used) * 100 < u128::from(size) * u128::from(ROOM_PERCENT) {
                self.full.remove(&status.volume);
            }
            return;
        }
        if !self.full.insert(status.volume) {
            return;
        }
        for pod in &orders.pods {
            let mut mounts = pod.mounts.iter();
            if let Some(mount) = mounts.find(|mount| mount.volume == status.volume) {
                let (used, size) = (show_size(used), show_size(size));
                let name = &mount.name;
                let text = format!("Error: volume {name} is full: {used} of {size} are used");
                self.means.logs.say(&Writer::of(pod), text);
            }
        }
    }
}

/// What the local volumes use.
fn look(volumes: &Volumes) -> Vec<VolumeStatus> {
    let look = |volume: VolumeId| {
        let data = volumes.local.data(volume);
        let own = volumes.local.size(volume);
        let (used_bytes, size_bytes) = match (data, own) {
            (Some(data), Some(_)) => measure::file_system(&data).unzip(),
            (Some(data), None) => (measure::directory(&data), None),
            (None, own) => (None, own),
        };
        VolumeStatus {
            volume,
            used_bytes,
            size_bytes,
        }
    };
    volumes.local.list().into_iter().map(look).collect()
}

/// Does one thing until it is done or nobody wants it any more.
async fn work(means: Arc<Means>, id: VolumeId, task: VolumeTask) {
    loop {
        if free(&means.volumes, id).await
            && let Some(_work) = means.volumes.claims.work(id)
        {
            let began = Instant::now();
            match &task {
                VolumeTask::Remove => match means.volumes.local.remove(id).await {
                    Ok(()) => return gone(&means, id),
                    Err(why) => tracing::error!(volume = %id, "cannot remove a volume: {why}"),
                },
                VolumeTask::Save { snapshot, mount } => {
                    let done = save(&means, id, *snapshot, mount).await;
                    if done.is_ok() || tell(&means, (id, *snapshot), done).await {
                        tracing::info!(volume = %id, secs = began.elapsed().as_secs(), "sent a volume");
                        return;
                    }
                }
                VolumeTask::Load { snapshot, mount } => {
                    let done = load(&means, id, *snapshot, mount).await;
                    if tell(&means, (id, *snapshot), done).await {
                        return;
                    }
                }
            }
        }
        sleep(Duration::from_secs(AGAIN_SECS)).await;
    }
}

/// True when no container has it.
async fn free(volumes: &Volumes, id: VolumeId) -> bool {
    let found = match volumes.engine.list().await {
        Ok(found) => found.containers,
        Err(error) => {
            tracing::warn!(volume = %id, "cannot see who has a volume: {error}");
            return false;
        }
    };
    found.iter().filter(|it| it.state != State::Dead).all(|it| {
        let mounts = it.stamp.spec.iter().flat_map(|spec| &spec.mounts);
        !mounts.into_iter().any(|mount| mount.volume == id)
    })
}

/// The controller hears of it with the next report.
fn gone(means: &Means, id: VolumeId) {
    tracing::info!(volume = %id, "removed a volume");
    means.measured.send_modify(|all| {
        if let Some(all) = all {
            all.retain(|status| status.volume != id);
        }
    });
}

async fn save(
    means: &Means,
    id: VolumeId,
    snapshot: SnapshotId,
    mount: &Mount,
) -> Result<(), String> {
    let data = means.volumes.local.ready(id, mount.size_bytes).await?;
    let archive = archive::pack(&data)?;
    let (client, node) = (&means.client, &means.node);
    let sent = client.save_volume(node, (id, snapshot), archive).await;
    sent.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

async fn load(
    means: &Means,
    id: VolumeId,
    snapshot: SnapshotId,
    mount: &Mount,
) -> Result<(), String> {
    let fresh = means.volumes.local.fresh(id, mount.size_bytes).await?;
    let (client, node) = (&means.client, &means.node);
    let archive = client.load_volume(node, (id, snapshot)).await;
    let archive = archive.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    archive::unpack(&fresh, archive).await?;
    means.volumes.local.replace(id).await
}

/// Tells the controller how it ended. False if it could not be told: then all is done again.
async fn tell(means: &Means, ids: (VolumeId, SnapshotId), done: Result<(), String>) -> bool {
    if let Err(why) = &done {
        tracing::error!(volume = %ids.0, "work on a volume failed: {why}");
    }
    let end = VolumeTaskEnd {
        failure: done.err(),
    };
    match means.client.end_volume_task(&means.node, ids, &end).await {
        Ok(()) => true,
        // It is no longer ours to do.
        Err(error) if error.api().is_some() => true,
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::warn!("cannot tell how work on a volume ended: {error:#}");
            false
        }
    }
}
