//! The one loop that makes the platform match what people want.
//!
//! ```text
//! wake or timer -> load everything -> plan (pure) -> one transaction -> publish -> tell
//! ```
//!
//! It takes no argument and keeps nothing between two passes but caches of what never changes, so
//! a pass after a crash is like any other, and the next pass is the only retry there is.

mod carry_out;
mod load;
mod news;
mod specs;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{DateTime, Utc};
use fairway_api::{ids::PodId, routes::RouteTable};
use fairway_scheduler::{
    action::{Action, Plan, Step},
    plan,
    snapshot::DeploymentState,
};
use tokio_util::sync::CancellationToken;

use self::{load::World, specs::Specs};
use crate::{
    deploy, orchestrator::Orchestrator, orders::Generations, routing, state::AppState,
    store::columns::now,
};

/// How long the loop sleeps when it waits for nothing, in seconds: what only shows in silence (a
/// machine or a router that stopped reporting) is seen this much later.
const IDLE_SECS: u64 = 2;
/// How long it waits after a failed pass, in milliseconds.
const RETRY_MILLIS: u64 = 500;

/// Runs the loop until `shutdown`.
pub(crate) async fn run(state: &AppState, shutdown: &CancellationToken) {
    let mut reconciler = Reconciler::new(state);
    loop {
        let pause = match reconciler.pass().await {
            Ok(wake_at) => until(wake_at),
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

fn until(wake_at: Option<DateTime<Utc>>) -> Duration {
    let idle = Duration::from_secs(IDLE_SECS);
    let left = wake_at.map(|at| (at - now()).to_std().unwrap_or_default());
    left.map_or(idle, |left| left.min(idle))
}

/// The loop's caches.
struct Reconciler {
    state: AppState,
    /// Numbers of route tables; opened by the first pass.
    generations: Option<Generations>,
    specs: Specs,
    /// There may be pushers who have not been told how their push ended: so at the start, and
    /// after each end of a deployment until telling has succeeded.
    untold: bool,
}

impl Reconciler {
    fn new(state: &AppState) -> Self {
        Self {
            state: state.clone(),
            generations: None,
            specs: Specs::default(),
            untold: true,
        }
    }

    /// One pass. Gives the time of the next one if nothing happens before.
    async fn pass(&mut self) -> anyhow::Result<Option<DateTime<Utc>>> {
        let state = self.state.clone();
        let now = now();
        let last_table = self.reserve_generation().await?;
        let mut world = load::load(&state, &mut self.specs, last_table, now)
            .await
            .context("load the snapshot")?;
        let plan = plan(world.take_snapshot(), now, &mut PodId::generate);
        let intent = self.specs.intent(&state, &world, &plan.after).await?;
        carry_out::write(&state, &world, &plan, now)
            .await
            .context("write the plan")?;
        if plan.steps.iter().any(ends_deployment) {
            self.untold = true;
            // Its end may have queued another one.
            state.wake.notify();
        }
        // From here on what was decided is true; agents and routers hear of it first.
        state.cluster.apply(intent).await?;
        self.publish_routes(&world, &plan);
        news::announce(&state, &world, &plan, now).await;
        if self.untold {
            deploy::tell_pushers(&state).await?;
            self.untold = false;
            state.builds_changed.ring();
        }
        Ok(plan.wake_at)
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
        let seen = self.state.routers.table.seen();
        generations
            .reserve(store, 1, seen)
            .await
            .context("reserve a generation")?;
        Ok(generations.last())
    }

    /// Publishes the route table if it is another one, or if the plan counts on its number.
    fn publish_routes(&mut self, world: &World, plan: &Plan) {
        let Some(generations) = &mut self.generations else {
            return;
        };
        let table = &self.state.routers.table;
        let routes = routing::routes(&plan.after, &world.edge);
        let asked_for = plan.after.routes_generation > generations.last();
        let differs = table.newest().is_none_or(|newest| newest.routes != routes);
        if asked_for || differs || table.is_behind() {
            let generation = generations.take();
            table.publish(Arc::new(RouteTable { generation, routes }));
        }
    }
}

fn ends_deployment(step: &Step) -> bool {
    matches!(&step.action, Action::Advance { to, .. } if DeploymentState::has_ended(to))
}

#[cfg(test)]
mod tests;
