//! Sandboxes: containers that hold a network namespace ready for a pod.
//!
//! ```text
//! pods that started --note--> pool (pure) --make, remove--> engine     (keep, when all is quiet)
//! a pod's start <---claim--------|
//! a pod's end ----release--> removed
//! ```
//!
//! Most of what the engine does to start a container is its network: a namespace, a device, an
//! address, files for names. A pod that joins a sandbox finds all that there. One that finds none of
//! its kind gets a network of its own, so that many pods at once do not cost two containers each.

mod pool;
mod program;
mod shared;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use fairway_api::pods::{PodSpec, RestartPolicy};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    pool::{Kind, Listed},
    shared::SharedNet,
};
use self::{
    pool::{Next, Pool},
    program::{IMAGE, layer},
};
use crate::{
    board::Board,
    container,
    engine::{Engine, EngineError},
    network::{Joined, Network},
};

/// How long no pod may have been starting before spares are made, in seconds: whoever starts a pod
/// waits for it, nobody waits for a spare.
const QUIET_SECS: u64 = 2;
/// How often the engine is looked at although nothing happened, in seconds.
const RESYNC_SECS: u64 = 60;
/// How long to wait after a failure, in seconds.
const AGAIN_SECS: u64 = 10;

/// Image and program of every sandbox, as the engine is told.
pub(crate) fn image() -> (String, &'static str) {
    (format!("{}:{}", IMAGE.0, IMAGE.1), program::PATH)
}

/// All sandboxes of this machine.
#[derive(Debug)]
pub(crate) struct Sandboxes {
    engine: Arc<Engine>,
    network: Arc<Network>,
    pool: Mutex<Pool>,
    starts: watch::Sender<Starts>,
    look: Notify,
}

/// Pods that are being started.
#[derive(Debug, Default)]
struct Starts {
    under_way: usize,
    /// When one last ended.
    ended: Option<Instant>,
}

/// Held while a pod is being started.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a Sandboxes);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.starts.send_modify(|starts| {
            starts.under_way = starts.under_way.saturating_sub(1);
            starts.ended = Some(Instant::now());
        });
    }
}

/// A sandbox in the hands of a pod that starts; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    sandboxes: Arc<Sandboxes>,
    id: Option<String>,
    joined: Joined,
}

impl Lease {
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Whether it is as a pod of today would get it.
    pub(crate) fn is_on(&self, joined: &Joined) -> bool {
        self.joined == *joined
    }

    /// The pod runs and has it until it gives it back.
    pub(crate) fn keep(mut self) -> String {
        self.id.take().unwrap_or_default()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.sandboxes.release(id);
        }
    }
}

impl Sandboxes {
    pub(crate) fn new(engine: Arc<Engine>, network: Arc<Network>) -> Self {
        Self {
            engine,
            network,
            pool: Mutex::default(),
            starts: watch::Sender::default(),
            look: Notify::new(),
        }
    }

    /// Says that a pod is being started: nothing is made meanwhile.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.starts.send_modify(|starts| starts.under_way += 1);
        Busy(self)
    }

    /// A pod runs here: one like it will probably follow.
    pub(crate) fn note(&self, spec: &PodSpec) {
        if spec.restart == RestartPolicy::Always {
            let hostname = container::hostname(&spec.name);
            self.pool().note(hostname, Instant::now());
            self.look.notify_one();
        }
    }

    /// A sandbox for a pod: the one that it `kept` from its last run if that still serves, else a
    /// spare, else none.
    pub(crate) async fn take(
        self: &Arc<Self>,
        spec: &PodSpec,
        joined: &Joined,
        kept: Option<&str>,
    ) -> Option<Lease> {
        let kind = Kind {
            hostname: container::hostname(&spec.name),
            joined: joined.clone(),
        };
        let id = match kept {
            Some(kept) if self.serves(kept, &kind).await => {
                self.pool().lend(kept);
                Some(kept.to_owned())
            }
            _ => self.pool().claim(&kind),
        };
        id.map(|id| Lease {
            sandboxes: self.clone(),
            id: Some(id),
            joined: joined.clone(),
        })
    }

    /// A sandbox for the containers of a pod, which must have one: a spare, else a new one.
    async fn take_or_make(
        self: &Arc<Self>,
        spec: &PodSpec,
        joined: &Joined,
    ) -> Result<String, EngineError> {
        if let Some(lease) = self.take(spec, joined, None).await {
            return Ok(lease.keep());
        }
        let kind = Kind {
            hostname: container::hostname(&spec.name),
            joined: joined.clone(),
        };
        // Nobody's until it is lent: meanwhile nothing is collected.
        self.pool().begin_making();
        let made = self.make(&kind).await;
        let mut pool = self.pool();
        pool.end_making();
        if let Ok(id) = &made {
            pool.lend(id);
        }
        made
    }

    /// Whether the sandbox runs and is of this kind.
    async fn serves(self: &Arc<Self>, id: &str, kind: &Kind) -> bool {
        let mark = self.engine.sandbox_mark(id).await;
        let serves = mark.is_ok_and(|mark| mark == Some(kind.mark()));
        if !serves {
            self.release(id.to_owned());
        }
        serves
    }

    /// Takes a sandbox away whose pod does not need it any more. If that fails, it is an orphan,
    /// and goes with the next look.
    pub(crate) fn release(self: &Arc<Self>, id: String) {
        self.pool().forget(&id);
        let sandboxes = self.clone();
        tokio::spawn(async move { sandboxes.remove(&id).await });
    }

    /// Makes room for a pod where the spares have the last addresses; false if there are none.
    pub(crate) async fn give_up(&self) -> bool {
        let spares = self.pool().give_up();
        for spare in &spares {
            self.remove(spare).await;
        }
        !spares.is_empty()
    }

    /// One of them ended, or the engine may have changed behind our back.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    /// Removes all there are, for a machine that left the cluster.
    pub(crate) async fn clear(&self) {
        match self.engine.list().await {
            Ok(seen) => {
                for sandbox in seen.sandboxes {
                    self.remove(&sandbox.id).await;
                }
            }
            Err(error) => tracing::warn!("cannot remove the sandboxes: {error}"),
        }
    }

    async fn remove(&self, id: &str) {
        if let Err(error) = self.engine.remove(id).await {
            tracing::debug!(id, "cannot remove a sandbox yet: {error}");
        }
    }

    /// Waits until nobody has been waiting for a pod for a while.
    async fn quiet(&self) {
        let mut starts = self.starts.subscribe();
        loop {
            let Ok(ended) = starts
                .wait_for(|starts| starts.under_way == 0)
                .await
                .map(|starts| starts.ended)
            else {
                return;
            };
            let age = ended.map_or(Duration::MAX, |ended| ended.elapsed());
            let rest = Duration::from_secs(QUIET_SECS).saturating_sub(age);
            if rest.is_zero() || timeout(rest, starts.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Removes what is in nobody's hands. `board` names what pods hold between two runs.
    async fn collect(&self, board: &Board) -> Result<(), EngineError> {
        let seen = self.engine.list().await?;
        let held = board.pods.values().filter_map(|pod| pod.sandbox.clone());
        let joined = seen.containers.iter().filter_map(|it| it.sandbox.clone());
        let used: BTreeSet<String> = held.chain(joined).collect();
        let orphans = self.pool().orphans(&seen.sandboxes, &used);
        for orphan in orphans {
            self.pool().forget(&orphan);
            self.engine.remove(&orphan).await?;
        }
        Ok(())
    }

    /// Makes or removes one spare; false if all is as it should be.
    async fn step(&self) -> Result<bool, EngineError> {
        // Whoever waits for the network makes sure that it comes.
        let Ok(joined) = self.network.joined().await else {
            return Ok(false);
        };
        let next = {
            let pool = self.pool();
            let room = pool::room(available_memory(), pool.spares());
            pool.next(&joined, Instant::now(), room)
        };
        match next {
            None => return Ok(false),
            Some(Next::Remove(id)) => {
                self.pool().forget(&id);
                self.engine.remove(&id).await?;
            }
            Some(Next::Make(kind)) => {
                let id = self.make(&kind).await?;
                self.pool().add(id, kind);
            }
        }
        Ok(true)
    }

    async fn make(&self, kind: &Kind) -> Result<String, EngineError> {
        let instance = self.engine.instance();
        let name = format!(
            "fairway-{instance}-sandbox-{:x}",
            Utc::now().timestamp_micros()
        );
        let body = container::sandbox(instance, kind);
        let id = match self.engine.create(&name, body.clone()).await {
            Err(error) if error.lacks_image() => {
                let layer = layer(std::env::consts::ARCH).transpose();
                let layer = layer.ok().flatten().unwrap_or_default();
                self.engine.import(IMAGE, layer).await?;
                self.engine.create(&name, body).await?
            }
            created => created?,
        };
        if let Err(error) = self.engine.start(&id).await {
            self.remove(&id).await;
            return Err(error);
        }
        Ok(id)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the machine can give to programs without swapping, in bytes; 0 if it does not say.
fn available_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(0, |kib| kib.saturating_mul(1024))
}

/// Keeps spares ready and removes orphans until the machine is `removed` from the cluster.
pub(crate) async fn keep(
    sandboxes: &Sandboxes,
    mut board: watch::Receiver<Board>,
    removed: CancellationToken,
) {
    // Pods are taken up first: what they hold is no orphan.
    let looked = board.wait_for(|board| board.looked).await.is_ok();
    if looked && layer(std::env::consts::ARCH).is_some() {
        let keeping = keep_while_member(sandboxes, &board);
        removed.run_until_cancelled(keeping).await;
    }
    std::future::pending().await
}

async fn keep_while_member(sandboxes: &Sandboxes, board: &watch::Receiver<Board>) {
    loop {
        sandboxes.quiet().await;
        let now = board.borrow().clone();
        let done = async {
            sandboxes.collect(&now).await?;
            sandboxes.step().await
        };
        let pause = match done.await {
            Ok(true) => continue,
            Ok(false) => RESYNC_SECS,
            Err(error) => {
                tracing::warn!("cannot keep sandboxes ready: {error}");
                sleep(Duration::from_secs(AGAIN_SECS)).await;
                continue;
            }
        };
        drop(timeout(Duration::from_secs(pause), sandboxes.look.notified()).await);
    }
}
