//! The one loop that makes the platform match what people want.
//!
//! ```text
//! wake or timer -> read what changed -> plan (pure) -> one transaction -> publish -> tell
//! ```
//!
//! It takes no argument. Between two passes it remembers the world ([`world::World`]), so that a
//! pass costs what has changed and not what there is; a pass that fails forgets it, and the next
//! one, which is the only retry there is, reads everything, like the first one after a crash.

mod carry_out;
mod load;
mod networks;
mod news;
pub(crate) mod rebalance;
mod runs;
mod specs;
mod volumes;
mod world;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use fairway_api::{ids::PodId, names::NodeName};
use fairway_scheduler::{
    action::{Action, Step},
    snapshot::DeploymentState,
};
use tokio_util::sync::CancellationToken;

use self::{rebalance::Rebalancer, specs::Specs, world::World};
use crate::{
    deploy,
    orchestrator::Orchestrator,
    orders::Generations,
    state::AppState,
    store::{StoreError, columns::now},
};

/// How long the loop sleeps when it waits for nothing, in seconds: what only shows in silence (a
/// machine or a router that stopped reporting) is seen this much later.
const IDLE_SECS: u64 = 2;
/// Within how many seconds every app is read again although nobody said that it changed: a notice
/// that was forgotten somewhere shows late, and not never.
const READ_AGAIN_SECS: u64 = 300;
/// How long it waits after a failed pass, in milliseconds.
const RETRY_MILLIS: u64 = 500;

/// Runs the loop until `shutdown`.
pub(crate) async fn run(state: &AppState, shutdown: &CancellationToken) {
    let mut reconciler = Reconciler::new(state);
    loop {
        let pause = match reconciler.pass().await {
            Ok(wake_at) => until(wake_at),
            Err(error) if is_overtaken(&error) => Duration::ZERO,
            Err(error) => {
                tracing::error!("a pass of the reconcile loop failed: {error:#}");
                Duration::from_millis(RETRY_MILLIS)
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = state.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// True when the world is only another one than the pass had read.
fn is_overtaken(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Overtaken))
}

fn until(wake_at: Option<DateTime<Utc>>) -> Duration {
    let idle = Duration::from_secs(IDLE_SECS);
    let left = wake_at.map(|at| (at - now()).to_std().unwrap_or_default());
    left.map_or(idle, |left| left.min(idle))
}

/// The loop's memory.
struct Reconciler {
    state: AppState,
    /// Numbers of route tables; opened by the first pass.
    generations: Option<Generations>,
    specs: Specs,
    /// As the last pass left it; `None` before the first and after one that failed.
    world: Option<World>,
    read_again_at: Instant,
    /// There may be pushers who have not been told how their push ended: so at the start, and
    /// after each end of a deployment until telling has succeeded.
    untold: bool,
    /// Machines of a mass failure that was told.
    held: BTreeSet<NodeName>,
    rebalancer: Rebalancer,
}

impl Reconciler {
    fn new(state: &AppState) -> Self {
        Self {
            state: state.clone(),
            generations: None,
            specs: Specs::default(),
            world: None,
            read_again_at: Instant::now(),
            untold: true,
            held: BTreeSet::new(),
            rebalancer: Rebalancer::default(),
        }
    }

    /// One pass. Gives the time of the next one if nothing happens before.
    async fn pass(&mut self) -> anyhow::Result<Option<DateTime<Utc>>> {
        let state = self.state.clone();
        let now = now();
        let last_table = self.reserve_generation().await?;
        // Taken out: what a failed pass leaves of it is not to be believed.
        let mut world = self.read_world().await.context("read what changed")?;
        world.observe(&state);
        world.observe_routers(&state, now);
        world.planner.set_routes_generation(last_table);
        let decision = world.planner.plan(now, &mut PodId::generate);
        world.note(&decision);
        let orders = &world.news.orders;
        let (intent, outlines) = self.specs.intent(&state, &world, orders).await?;
        carry_out::write(&state, &world, &decision, now)
            .await
            .context("write the plan")?;
        for ended in decision.steps.iter().filter(|step| is_verdict(step)) {
            self.untold = true;
            // Its end may have queued another one.
            state.wake.app(ended.app);
        }
        // From here on what was decided is true; agents and routers hear of it first.
        state.cluster.apply(intent).await?;
        self.specs.note_told(outlines);
        news::mass_failure(&state, &mut self.held, world.planner.mass_failure()).await?;
        self.publish_routes(&mut world)?;
        news::announce(&state, &world, &decision, now).await;
        world.settle(&decision, now);
        self.rebalancer.look(&state, &world, now).await?;
        self.world = Some(world);
        if self.untold {
            deploy::tell_pushers(&state).await?;
            self.untold = false;
            state.builds_changed.ring();
        }
        Ok(decision.wake_at)
    }

    /// The world, with what has changed in the database since the last pass.
    async fn read_world(&mut self) -> Result<World, StoreError> {
        let mut changed = self.state.wake.take();
        if changed.rebalance {
            self.rebalancer.ask();
        }
        let Some(mut world) = self.world.take() else {
            return World::load(&self.state, &mut self.specs).await;
        };
        if self.read_again_at.elapsed() >= Duration::from_secs(IDLE_SECS) {
            self.read_again_at = Instant::now();
            let share = usize::try_from(READ_AGAIN_SECS / IDLE_SECS).unwrap_or(1);
            let count = world.apps.len().div_ceil(share);
            changed.apps.extend(world.next_to_read_again(count));
        }
        world.read(&self.state, &mut self.specs, &changed).await?;
        Ok(world)
    }

    /// Makes sure that the next number of a route table may be used; gives the last used one.
    async fn reserve_generation(&mut self) -> anyhow::Result<u64> {
        let store = &self.state.store;
        let generations = match &mut self.generations {
            Some(generations) => generations,
            empty => empty.insert(
                Generations::open(store, "routes")
                    .await
                    .context("read the last generation")?,
            ),
        };
        let seen = self.state.routers.table.published.seen();
        generations
            .reserve(store, 1, seen)
            .await
            .context("reserve a generation")?;
        Ok(generations.last())
    }

    /// Publishes the route table if it is another one, or if the plan counts on its number.
    fn publish_routes(&mut self, world: &mut World) -> anyhow::Result<()> {
        let Some(generations) = &mut self.generations else {
            return Ok(());
        };
        let table = &self.state.routers.table;
        let asked_for = world.planner.snapshot().routes_generation > generations.last();
        let changed = table
            .changed(world.routing.take_touched())
            .context("write routes as JSON")?;
        let published = &table.published;
        let is_new = published.newest().is_none() || published.is_behind();
        if asked_for || is_new || !changed.is_empty() {
            table.publish(generations.take(), changed);
        }
        Ok(())
    }
}

/// True for what a pusher waits for: the release is live, or never will be.
fn is_verdict(step: &Step) -> bool {
    let (Action::Advance { to, .. } | Action::Switch { to, .. }) = &step.action else {
        return false;
    };
    to.has_ended() || matches!(to, DeploymentState::Baking { .. })
}

#[cfg(test)]
mod tests;
