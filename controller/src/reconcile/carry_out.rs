//! Writes a plan, and what was seen, in one transaction.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use fairway_api::{
    deployments::Wish,
    ids::{AppId, DeploymentId, FormationId, PodId},
    names::NodeName,
    releases::ReleaseStatus,
};
use fairway_scheduler::{
    action::{Action, Decision, NewPod, Step},
    jobs::JobAction,
    snapshot::{DeploymentState, Pod},
};

use super::{news, runs, world::World};
use crate::{
    deploy,
    state::AppState,
    store::{
        Db, StoreError, apps, deployments, events,
        formation::{self, FormationRow},
        network, nodes, pods, releases, volumes,
    },
};

/// Writes everything or nothing.
///
/// The transaction is a relaxed one: what a power cut takes back is found out again from the pods
/// themselves. The end of a push is told by another, durable one (`deploy::tell_pushers`). The
/// beginning of a run by schedule is durable, since one that was taken back would begin again.
pub(super) async fn write(
    state: &AppState,
    world: &World,
    decision: &Decision,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let news = &world.news;
    if decision.steps.is_empty()
        && news.pods.is_empty()
        && news.nodes.is_empty()
        && news.subnets.is_empty()
        && news.machines.is_empty()
    {
        return Ok(());
    }
    let begins_run = |step: &Step| matches!(step.action, Action::Job(JobAction::Start(_)));
    let mut tx = if decision.steps.iter().any(begins_run) {
        state.store.write().await?
    } else {
        state.store.write_relaxed().await?
    };
    for name in &news.nodes {
        if let Some(seen) = world.seen.get(name) {
            let facts = seen.status.facts.as_ref();
            nodes::report(&mut tx, name, seen.capacity(), facts, now).await?;
        }
    }
    for (pods, machine) in &news.subnets {
        network::set_pods(&mut tx, *pods, now).await?;
        network::free_subnets(&mut tx).await?;
        network::set_subnet(&mut tx, machine, now).await?;
    }
    let told = news::events(world, decision);
    for (app, event) in told.into_iter().chain(runs::events(world, decision, now)) {
        let app = world.apps.get(&app).map(|known| known.row.app());
        events::observe(&mut tx, &event.of(app.as_ref()), now).await?;
    }
    for event in news::of_machines(world) {
        events::observe(&mut tx, &event.of(None), now).await?;
    }
    pods::write(&mut tx, &changed_pods(world, decision), now).await?;
    let removed: Vec<PodId> = decision.removed.keys().copied().collect();
    pods::delete(&mut tx, &removed).await?;
    for step in &decision.steps {
        let mut writer = Writer {
            db: &mut tx,
            world,
            app: step.app,
            now,
        };
        writer.act(&step.action).await?;
    }
    tx.commit().await
}

/// The pods that something was decided or heard of, as they are now.
fn changed_pods<'a>(world: &'a World, decision: &Decision) -> Vec<(AppId, &'a Pod)> {
    let mut ids: BTreeSet<(AppId, PodId)> = BTreeSet::new();
    for step in &decision.steps {
        match &step.action {
            Action::Create(NewPod { id: pod, .. })
            | Action::Bind { pod, .. }
            | Action::Unplaced { pod, .. }
            | Action::Retire { pod, .. }
            | Action::Stop { pod } => {
                ids.insert((step.app, *pod));
            }
            Action::Switch { retire, .. } => {
                ids.extend(retire.iter().map(|pod| (step.app, *pod)));
            }
            Action::Remove { .. } | Action::Advance { .. } | Action::Job(_) => {}
        }
    }
    ids.extend(world.news.pods.iter().map(|(pod, (app, _))| (*app, *pod)));
    let apps = &world.planner.snapshot().apps;
    ids.into_iter()
        .filter_map(|(app, pod)| Some((app, apps.get(&app)?.pods.get(&pod)?)))
        .collect()
}

/// Writes the actions for one app that are not about single pods.
struct Writer<'a> {
    db: &'a mut Db,
    world: &'a World,
    app: AppId,
    now: DateTime<Utc>,
}

impl Writer<'_> {
    async fn act(&mut self, action: &Action) -> Result<(), StoreError> {
        let now = self.now;
        match action {
            Action::Bind { pod, node } => self.settle_volumes(*pod, node).await,
            Action::Create(_)
            | Action::Unplaced { .. }
            | Action::Retire { .. }
            | Action::Stop { .. }
            | Action::Remove { .. } => Ok(()),
            Action::Job(action) => runs::write(self.db, self.app, action, now).await,
            Action::Advance {
                deployment,
                to,
                deadline_at,
            } => self.advance(*deployment, to, *deadline_at).await,
            Action::Switch {
                deployment,
                release,
                retire: _,
                generation: _,
                to,
                deadline_at,
            } => {
                apps::set_current_release(self.db, self.app, *release, now).await?;
                releases::end(self.db, *release, ReleaseStatus::Succeeded, None, now).await?;
                self.settle_formation().await?;
                self.advance(*deployment, to, *deadline_at).await
            }
        }
    }

    /// The pod's machine is that of its local volumes from then on.
    async fn settle_volumes(&mut self, pod: PodId, node: &NodeName) -> Result<(), StoreError> {
        let apps = &self.world.planner.snapshot().apps;
        let found = apps
            .get(&self.app)
            .and_then(|app| Some((app, app.pods.get(&pod)?)));
        let Some((app, pod)) = found else {
            return Ok(());
        };
        for (id, _) in app.volumes_of(pod).filter(|(_, volume)| volume.local) {
            volumes::settle(self.db, id, node).await?;
        }
        Ok(())
    }

    async fn advance(
        &mut self,
        id: DeploymentId,
        to: &DeploymentState,
        deadline_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        // What somebody has asked since must be heard before the deployment moves on.
        if deployments::wish(self.db, id).await? != self.heard(id) {
            return Err(StoreError::Overtaken);
        }
        deployments::advance(self.db, id, to, deadline_at, self.now).await?;
        let failure = match to {
            DeploymentState::Failed { failure } => failure.reason.clone(),
            DeploymentState::Superseded { by } => format!("superseded by v{by}"),
            _ => return Ok(()),
        };
        let Some(deployment) = self.world.deployment(self.app, id) else {
            return Ok(());
        };
        let failed = ReleaseStatus::Failed;
        let release = deployment.release;
        releases::end(self.db, release, failed, Some(&failure), self.now).await?;
        if let (DeploymentState::Failed { .. }, Some(release)) =
            (to, self.world.release(self.app, release))
        {
            deploy::rescue_config(self.db, release, self.now).await?;
        }
        Ok(())
    }

    /// What somebody asked of a deployment, as the planner knew it.
    fn heard(&self, id: DeploymentId) -> Option<Wish> {
        let app = self.world.planner.snapshot().apps.get(&self.app)?;
        let known = app.deployments.iter().find(|it| it.id == id)?;
        known.wish.clone()
    }

    /// Writes down the formation of types that have none yet.
    async fn settle_formation(&mut self) -> Result<(), StoreError> {
        let Some(app) = self.world.planner.snapshot().apps.get(&self.app) else {
            return Ok(());
        };
        for (process_type, want) in &app.formation {
            let formation = FormationRow {
                id: FormationId::generate(),
                app: self.app,
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
