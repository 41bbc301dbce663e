//! Writes a plan, and what was seen, in one transaction.

use chrono::{DateTime, Utc};
use fairway_api::{
    apps::AppRef,
    ids::{AppId, DeploymentId, FormationId},
    releases::ReleaseStatus,
};
use fairway_scheduler::{
    action::{Action, NewPod, Plan},
    snapshot::{DeploymentState, PodIntent, Snapshot},
};

use super::{load::World, news};
use crate::{
    deploy,
    orchestrator::NodeSeen,
    state::AppState,
    store::{
        Db, StoreError, apps, deployments,
        events::{self, ACTOR_PLATFORM},
        formation::{self, FormationRow},
        nodes,
        pods::{self, PodRow},
        releases,
    },
};

/// Writes everything or nothing.
///
/// The transaction is a relaxed one: what a power cut takes back is found out again from the pods
/// themselves. The end of a push is told by another, durable one (`deploy::tell_pushers`).
pub(super) async fn write(
    state: &AppState,
    world: &World,
    plan: &Plan,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let joined: Vec<_> = world
        .seen
        .nodes
        .iter()
        .filter(|(name, seen)| {
            let stored = world.nodes.get(*name).and_then(|row| row.capacity.as_ref());
            stored.is_none_or(|stored| !same_capacity(stored, seen))
        })
        .collect();
    if plan.steps.is_empty() && world.news.is_empty() && joined.is_empty() {
        return Ok(());
    }
    let mut tx = state.store.write_relaxed().await?;
    for (name, seen) in joined {
        nodes::report(&mut tx, name, seen.capacity(), now).await?;
    }
    for (pod, status) in &world.news {
        pods::set_status(&mut tx, *pod, status, now).await?;
    }
    for (app, event) in news::events(world, plan) {
        let app = world.apps.get(&app).map(apps::AppRow::app);
        events::record(
            &mut tx,
            app.as_ref(),
            ACTOR_PLATFORM,
            event.kind,
            &event.message,
        )
        .await?;
    }
    for step in &plan.steps {
        let Some(app) = world.apps.get(&step.app).map(apps::AppRow::app) else {
            continue;
        };
        let mut writer = Writer {
            db: &mut tx,
            world,
            after: &plan.after,
            app,
            now,
        };
        writer.act(&step.action).await?;
    }
    tx.commit().await
}

fn same_capacity(stored: &fairway_api::nodes::Capacity, seen: &NodeSeen) -> bool {
    let seen = seen.capacity();
    (
        stored.resources,
        stored.disk_bytes,
        &stored.architecture,
        &stored.engine,
    ) == (
        seen.resources,
        seen.disk_bytes,
        &seen.architecture,
        &seen.engine,
    )
}

/// Writes the actions for one app.
struct Writer<'a> {
    db: &'a mut Db,
    world: &'a World,
    after: &'a Snapshot,
    app: AppRef,
    now: DateTime<Utc>,
}

impl Writer<'_> {
    async fn act(&mut self, action: &Action) -> Result<(), StoreError> {
        let now = self.now;
        match action {
            Action::Create(new) => pods::insert(self.db, &row(self.app.id, new, now)).await,
            Action::Bind { pod, node } => pods::bind(self.db, *pod, node, now).await,
            Action::Unplaced { pod, why } => pods::set_unplaced(self.db, *pod, why, now).await,
            Action::Retire { pod, unrouted_in } => {
                pods::retire(self.db, *pod, *unrouted_in, now).await
            }
            Action::Stop { pod } => pods::stop(self.db, *pod, now).await,
            Action::Remove { pod } => pods::delete(self.db, *pod).await,
            Action::Advance {
                deployment,
                to,
                deadline_at,
            } => self.advance(*deployment, to, *deadline_at).await,
            Action::Switch {
                deployment,
                release,
                retire,
                generation,
                deadline_at,
            } => {
                apps::set_current_release(self.db, self.app.id, *release, now).await?;
                releases::end(self.db, *release, ReleaseStatus::Succeeded, None, now).await?;
                self.settle_formation().await?;
                for pod in retire {
                    pods::retire(self.db, *pod, generation.unwrap_or_default(), now).await?;
                }
                let to = DeploymentState::Switching {
                    generation: *generation,
                };
                self.advance(*deployment, &to, Some(*deadline_at)).await
            }
        }
    }

    async fn advance(
        &mut self,
        id: DeploymentId,
        to: &DeploymentState,
        deadline_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        deployments::advance(self.db, id, to, deadline_at, self.now).await?;
        let failure = match to {
            DeploymentState::Failed { failure } => failure.reason.clone(),
            DeploymentState::Superseded { by } => format!("superseded by v{by}"),
            _ => return Ok(()),
        };
        let Some(deployment) = self.world.deployments.get(&id) else {
            return Ok(());
        };
        let failed = ReleaseStatus::Failed;
        let release = deployment.release;
        releases::end(self.db, release, failed, Some(&failure), self.now).await?;
        if let (DeploymentState::Failed { .. }, Some(release)) =
            (to, self.world.releases.get(&release))
        {
            deploy::rescue_config(self.db, release, self.now).await?;
        }
        Ok(())
    }

    /// Writes down the formation of types that have none yet.
    async fn settle_formation(&mut self) -> Result<(), StoreError> {
        let Some(app) = self.after.apps.get(&self.app.id) else {
            return Ok(());
        };
        for (process_type, want) in &app.formation {
            let formation = FormationRow {
                id: FormationId::generate(),
                app: self.app.id,
                process_type: process_type.clone(),
                quantity: want.quantity,
                size: want.size.clone(),
                created_at: self.now,
                updated_at: self.now,
            };
            formation::insert_missing(self.db, &formation).await?;
        }
        Ok(())
    }
}

fn row(app: AppId, new: &NewPod, now: DateTime<Utc>) -> PodRow {
    PodRow {
        id: new.id,
        app,
        release: new.release,
        kind: new.kind,
        process_type: new.process_type.clone(),
        name: new.name.clone(),
        ordinal: new.ordinal,
        size: new.size.clone(),
        node: None,
        unplaced: None,
        intent: PodIntent::Wanted,
        one_off: None,
        status: None,
        created_at: now,
        updated_at: now,
    }
}
