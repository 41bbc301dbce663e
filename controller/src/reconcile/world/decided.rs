//! What a decision changes in the world beside the planner, which has taken it in itself.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use fairway_api::ids::AppId;
use fairway_scheduler::{
    action::{Action, Decision, Step},
    jobs::JobAction,
};

use super::{News, World};
use crate::reconcile::runs;

impl World {
    /// Notes what a decision changes for machines and routes.
    pub(in crate::reconcile) fn note(&mut self, decision: &Decision) {
        let apps = &self.planner.snapshot().apps;
        for step in &decision.steps {
            let Some(app) = apps.get(&step.app) else {
                continue;
            };
            match &step.action {
                Action::Bind { pod, node } => {
                    self.news.orders.insert(node.clone());
                    self.unplaced.remove(pod);
                }
                Action::Stop { pod } => {
                    let pod = app.pods.get(pod).or_else(|| decision.removed.get(pod));
                    self.news
                        .orders
                        .extend(pod.and_then(|pod| pod.node.clone()));
                }
                // Other images are kept.
                Action::Switch { .. } => {
                    let machines = app.pods.values().filter_map(|pod| pod.node.clone());
                    self.news.orders.extend(machines);
                }
                Action::Unplaced { pod, .. } => {
                    if self.unplaced.insert(*pod) {
                        self.news.unplaced.push((step.app, *pod));
                    }
                }
                Action::Remove { pod } => {
                    self.unplaced.remove(pod);
                    // A machine that waits for it may begin its work on a volume.
                    let machines = self.volumes.machines(&self.apps, step.app);
                    self.news.orders.extend(machines);
                }
                Action::Create(_) | Action::Retire { .. } | Action::Advance { .. } => {}
                Action::Job(JobAction::Start(new)) => {
                    if let Some(known) = self.apps.get_mut(&step.app) {
                        known.runs.insert(new.id, runs::known(new));
                    }
                }
                Action::Job(_) => {}
            }
        }
        for id in &decision.looked_at {
            if let (Some(app), Some(known)) = (apps.get(id), self.apps.get(id)) {
                self.routing.set(app, &known.edge);
            }
        }
        let told = |step: &&Step| moves_pods(&step.action);
        let moved: BTreeSet<AppId> = decision
            .steps
            .iter()
            .filter(told)
            .map(|it| it.app)
            .collect();
        for app in moved {
            self.note_network_of(app);
        }
    }

    /// Brings what stands beside the planner up to date with a decision that was written and told.
    pub(in crate::reconcile) fn settle(&mut self, decision: &Decision, now: DateTime<Utc>) {
        let snapshot = self.planner.snapshot();
        for step in &decision.steps {
            let Some(known) = self.apps.get_mut(&step.app) else {
                continue;
            };
            match &step.action {
                Action::Remove { pod } => {
                    known.one_offs.remove(pod);
                }
                Action::Job(JobAction::End { run, .. }) => {
                    known.runs.remove(run);
                }
                Action::Bind { .. } => {
                    let Some(app) = snapshot.apps.get(&step.app) else {
                        continue;
                    };
                    known.follow_volumes(app);
                }
                Action::Advance { .. } | Action::Switch { .. } => {
                    let Some(app) = snapshot.apps.get(&step.app) else {
                        continue;
                    };
                    known.row.current_release = app.current;
                    known.follow(app, now);
                }
                _ => {}
            }
        }
        self.planner.forget_ended(&decision.looked_at);
        self.news = News::default();
    }
}

/// True for what changes which pods the others see, or which of them serve.
fn moves_pods(action: &Action) -> bool {
    matches!(
        action,
        Action::Retire { .. }
            | Action::Remove { .. }
            | Action::Advance { .. }
            | Action::Switch { .. }
    )
}
