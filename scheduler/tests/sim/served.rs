//! The invariant that people feel: the planner itself never makes an app serve with fewer pods than
//! it had, or than a rolling deployment may go down to.

use std::collections::BTreeSet;

use fairway_api::{deployments::Strategy, names::ProcessType};
use fairway_scheduler::{
    action::{Action, Step},
    snapshot::{App, DeploymentState, Snapshot},
};

use crate::world::{World, routed};

/// Checks every app after a plan.
pub(super) fn check(before: &Snapshot, world: &World, steps: &[Step]) {
    for app in world.snapshot.apps.values() {
        let was = &before.apps[&app.id];
        if may_lose(was, world, steps) {
            continue;
        }
        let web = ProcessType::web();
        let wanted = app.current_release().map(|release| app.wanted(release));
        let wanted = wanted.and_then(|it| it.get(&web).map(|want| want.quantity));
        let wanted = wanted.unwrap_or_default();
        // One deployment may end and the next one begin in one plan.
        let least = |strategy: Option<&Strategy>| match strategy {
            Some(Strategy::Rolling { unavailable, .. }) => {
                wanted.saturating_sub(unavailable.of_rounded_down(wanted))
            }
            _ => wanted,
        };
        let least = least(exchange(was)).min(least(exchange(app))) as usize;
        let served = |snapshot: &Snapshot, of: &App| {
            let pods = routed(snapshot).filter(|(routed, pod)| {
                // What a canary gives back was only borrowed.
                let counts = exchange(of).is_some() || Some(pod.release) == of.current;
                routed.id == app.id && counts
            });
            // A slot with two pods, the old and the new one, is still one. Scaling down takes the
            // highest slots, whatever state the others are in.
            let slots = pods.map(|(_, pod)| (pod.release, pod.ordinal));
            let slots: BTreeSet<_> = slots
                .filter(|it| exchange(of).is_some() || it.1 <= wanted)
                .collect();
            slots.len()
        };
        let (had, has) = (served(before, was), served(&world.snapshot, app));
        // On a full machine one pod at a time makes room for a replacement, but not in an exchange.
        let full = !(exchange(was).is_some() && exchange(app).is_some())
            && app.pods.values().any(|pod| pod.unplaced.is_some());
        let enough = has >= had.min(least) || full && has + 1 >= had.min(least);
        assert!(
            enough,
            "{}: {had} pods served, now {has} of at least {least}",
            app.name
        );
    }
}

/// The strategy of a deployment in which two releases share the places.
fn exchange(app: &App) -> Option<&Strategy> {
    let deployment = app.active_deployment()?;
    let state = deployment.state.beneath_pause();
    let exchanges = matches!(
        state,
        DeploymentState::Rolling { .. } | DeploymentState::RollingBack { .. }
    );
    exchanges.then_some(&deployment.strategy)
}

/// True when a deadline ended what should have waited for pods, or when others of a higher
/// priority took their machines.
fn may_lose(was: &App, world: &World, steps: &[Step]) -> bool {
    let now = world.now;
    let late = was.active_deployment().is_some_and(|deployment| {
        let gives_up = matches!(
            deployment.state,
            DeploymentState::RollingBack { .. } | DeploymentState::Baking { .. }
        );
        gives_up && deployment.deadline_at.is_some_and(|at| at <= now)
    });
    // A pod that made room is one whose app has no other reason for it.
    let others = steps.iter().any(|step| {
        step.app != was.id && matches!(step.action, Action::Unplaced { .. } | Action::Create(_))
    });
    let preempted = world.has_priorities && others;
    late || preempted
}
