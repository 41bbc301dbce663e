//! Build containers that are started ahead of time.
//!
//! Starting one takes as long as a whole cached build. So there is always one that nobody has used
//! yet, and after a build its container is cleaned and kept for a while, for the next build of the
//! same app only: what one app's code did in a container can never meet another's.
//!
//! ```text
//! take(app): the app's own, else the fresh one, else start one now
//! give back: cleaned -> kept for this app;   broken or limit hit -> removed
//! tend():    start the fresh one when no build has run for a moment, let go of what is old
//! ```

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use fairway_api::ids::AppId;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Engine,
    sandbox::{Sandbox, SandboxSpec},
    slot::Slot,
};

/// How long a used container waits for the next build of its app. Whoever works on an app pushes
/// again within minutes.
const KEPT_SECS: u64 = 15 * 60;
/// The most used containers that are kept. Each is an idle shell, which costs about 10 MB with the
/// engine's own process beside it.
const KEPT_MAX: usize = 2;
/// How long no build must have run before a fresh container is started: it takes CPU time that the
/// end of a push, the start of the app, needs more.
const QUIET: Duration = Duration::from_millis(1500);

/// The containers that wait.
pub(crate) struct Pool {
    engine: Engine,
    dir: PathBuf,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    /// How to start one; known once the stack is there.
    spec: Option<SandboxSpec>,
    fresh: Option<Sandbox>,
    kept: BTreeMap<AppId, (Sandbox, Instant)>,
    running: usize,
    last_ended: Option<Instant>,
}

impl Pool {
    /// A pool whose slots lie in `dir`. Starts nothing.
    pub(crate) fn new(engine: Engine, dir: PathBuf) -> Self {
        Self {
            engine,
            dir,
            waiting: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Where slots lie.
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Says how containers are to be started from now on.
    pub(crate) async fn use_spec(&self, spec: SandboxSpec) {
        let old = self.with(|waiting| {
            let same = waiting
                .spec
                .as_ref()
                .is_some_and(|known| known.image == spec.image);
            let old = if same { None } else { waiting.fresh.take() };
            waiting.spec = Some(spec);
            old
        });
        if let Some(old) = old {
            self.discard(old).await;
        }
        self.wake.notify_one();
    }

    /// A container for a build of this app.
    pub(crate) async fn take(&self, app: AppId) -> anyhow::Result<Sandbox> {
        let (spec, ready) = self.with(|waiting| {
            waiting.running += 1;
            let own = waiting.kept.remove(&app).map(|(sandbox, _)| sandbox);
            (waiting.spec.clone(), own.or_else(|| waiting.fresh.take()))
        });
        let ready = match ready {
            Some(sandbox) => self.if_alive(sandbox).await,
            None => None,
        };
        let started = match (ready, spec) {
            (Some(sandbox), _) => Ok(sandbox),
            (None, Some(spec)) => self.start(&spec).await,
            (None, None) => Err(anyhow::anyhow!("the stack is not there yet")),
        };
        if started.is_err() {
            self.ended();
        }
        started
    }

    async fn if_alive(&self, mut sandbox: Sandbox) -> Option<Sandbox> {
        if sandbox.answers().await {
            return Some(sandbox);
        }
        self.discard(sandbox).await;
        None
    }

    /// Takes back a container whose build came to its end. It is cleaned and kept when it can be.
    pub(crate) async fn give_back(&self, app: AppId, mut sandbox: Sandbox) {
        let cleaned = sandbox.clean().await;
        self.ended();
        match cleaned {
            Ok(()) => {
                let old = self.with(|waiting| {
                    let old = waiting.kept.insert(app, (sandbox, Instant::now()));
                    old.map(|(sandbox, _)| sandbox)
                        .or_else(|| waiting.oldest_beyond(KEPT_MAX))
                });
                if let Some(old) = old {
                    self.discard(old).await;
                }
            }
            Err(error) => {
                tracing::warn!("a build container cannot be used again: {error:#}");
                self.discard(sandbox).await;
            }
        }
    }

    /// [`Self::give_back`], for callers that have something better to do.
    pub(crate) fn give_back_later(self: &Arc<Self>, app: AppId, sandbox: Sandbox) {
        let pool = Arc::clone(self);
        tokio::spawn(async move { pool.give_back(app, sandbox).await });
    }

    /// Ends a container that hit a limit, or that may not end what runs in it.
    pub(crate) async fn give_up(&self, sandbox: Sandbox) {
        self.discard(sandbox).await;
        self.ended();
    }

    /// Keeps a fresh container ready until `shutdown`, then removes all that wait.
    pub(crate) async fn tend(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let (spec, pause) = self.with(|waiting| waiting.next_step(Instant::now()));
            if let Some(spec) = spec {
                match self.start(&spec).await {
                    Ok(sandbox) => self.with(|waiting| waiting.fresh = Some(sandbox)),
                    Err(error) => tracing::warn!("no build container ahead of time: {error:#}"),
                }
            }
            while let Some(old) = self.with(|waiting| waiting.expired(Instant::now())) {
                self.discard(old).await;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        while let Some(left) = self.with(Waiting::any) {
            self.discard(left).await;
        }
    }

    async fn start(&self, spec: &SandboxSpec) -> anyhow::Result<Sandbox> {
        let dir = self.dir.join(uuid::Uuid::new_v4().simple().to_string());
        let slot = Slot::create(dir).context("make the folders of a build container")?;
        let kept = slot.clone();
        let started = Sandbox::start(&self.engine, slot, spec).await;
        if started.is_err()
            && let Err(error) = kept.remove()
        {
            tracing::warn!("the folders of a build container stay behind: {error}");
        }
        started
    }

    async fn discard(&self, sandbox: Sandbox) {
        match sandbox.remove().await {
            Ok(slot) => {
                if let Err(error) = slot.remove() {
                    tracing::warn!("the folders of a build container stay behind: {error}");
                }
            }
            Err(error) => tracing::warn!("a build container stays behind: {error:#}"),
        }
    }

    fn ended(&self) {
        self.with(|waiting| {
            waiting.running = waiting.running.saturating_sub(1);
            waiting.last_ended = Some(Instant::now());
        });
        self.wake.notify_one();
    }

    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        act(&mut self
            .waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Waiting {
    /// What to start now, if anything, and when to look again.
    fn next_step(&self, now: Instant) -> (Option<SandboxSpec>, Duration) {
        const LONG: Duration = Duration::from_secs(60);
        if self.fresh.is_some() || self.spec.is_none() || self.running > 0 {
            return (None, LONG);
        }
        let quiet = self
            .last_ended
            .map_or(QUIET, |ended| now.duration_since(ended));
        if quiet < QUIET {
            (None, QUIET - quiet)
        } else {
            (self.spec.clone(), LONG)
        }
    }

    fn expired(&mut self, now: Instant) -> Option<Sandbox> {
        let limit = Duration::from_secs(KEPT_SECS);
        let old = |since: &Instant| now.duration_since(*since) >= limit;
        let app = *self.kept.iter().find(|(_, (_, since))| old(since))?.0;
        self.kept.remove(&app).map(|(sandbox, _)| sandbox)
    }

    fn oldest_beyond(&mut self, most: usize) -> Option<Sandbox> {
        if self.kept.len() <= most {
            return None;
        }
        let app = *self.kept.iter().min_by_key(|(_, (_, since))| *since)?.0;
        self.kept.remove(&app).map(|(sandbox, _)| sandbox)
    }

    fn any(&mut self) -> Option<Sandbox> {
        let kept = self.kept.pop_first().map(|(_, (sandbox, _))| sandbox);
        kept.or_else(|| self.fresh.take())
    }
}
