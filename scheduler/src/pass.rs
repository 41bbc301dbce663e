//! Runs the rules over a snapshot until none has anything to add.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fairway_api::{ids::PodId, names::NodeName};

use crate::{
    action::{Action, NewPod, Plan, Step},
    drain, one_off, place, rollout, slots,
    snapshot::{App, Node, NodeState, Pod, Routers, Snapshot},
};

/// How often the rules run over everything in one plan. Each round moves a deployment at least one
/// state on and a queue of deployments at least one on; what is left after that many rounds comes
/// with the next plan, so that no input can make planning endless.
const ROUNDS_MAX: usize = 64;

/// A rule adds to the pass what it wants done for one app.
type Rule = fn(&App, &mut Pass<'_>);

/// In this order, so that within one round a deployment's pods are made after it began.
const RULES: [Rule; 3] = [rollout::advance, slots::keep, one_off::end];

/// Decides everything that should be done now.
///
/// `ids` gives a fresh id for each pod to make; a plan for the same snapshot, time and ids is
/// always the same.
pub fn plan(snapshot: Snapshot, now: DateTime<Utc>, ids: &mut dyn FnMut() -> PodId) -> Plan {
    let Snapshot {
        mut apps,
        nodes,
        routers,
        routes_generation,
    } = snapshot;
    let mut pass = Pass {
        now,
        nodes: &nodes,
        routers: &routers,
        next_generation: routes_generation + 1,
        publishes: false,
        ids,
        actions: Vec::new(),
        wake_at: None,
    };
    let mut steps = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let done_before = steps.len();
        pass.wake_at = None;
        // What is no more makes room first, so that no rule acts on a lack of it that has ended.
        for app in apps.values_mut() {
            drain::stop(app, &mut pass);
            pass.carry_out(app, &mut steps);
        }
        place::bind(&mut apps, &nodes, now, &mut steps);
        for app in apps.values_mut() {
            for rule in RULES {
                rule(app, &mut pass);
                pass.carry_out(app, &mut steps);
            }
        }
        if steps.len() == done_before {
            break;
        }
    }
    let routes_generation = routes_generation + u64::from(pass.publishes);
    let wake_at = pass.wake_at;
    let after = Snapshot {
        apps,
        nodes,
        routers,
        routes_generation,
    };
    Plan {
        steps,
        after,
        wake_at,
    }
}

/// What the rules see besides the app, and where they say what to do.
pub(crate) struct Pass<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) nodes: &'a BTreeMap<NodeName, Node>,
    pub(crate) routers: &'a Routers,
    /// Number of the route table that this plan leads to.
    next_generation: u64,
    publishes: bool,
    ids: &'a mut dyn FnMut() -> PodId,
    actions: Vec<Action>,
    wake_at: Option<DateTime<Utc>>,
}

impl Pass<'_> {
    /// Adds an action. The app that the rule looks at changes only after the rule has ended.
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Adds a new pod and gives its id.
    pub(crate) fn create(&mut self, new: impl FnOnce(PodId) -> NewPod) -> PodId {
        let id = (self.ids)();
        self.act(Action::Create(new(id)));
        id
    }

    /// The generation of the table that this plan publishes. Asking for it is what makes the plan
    /// publish one.
    pub(crate) fn publish(&mut self) -> u64 {
        self.publishes = true;
        self.next_generation
    }

    /// True once `at` is reached; until then the plan asks to be made again at that time.
    pub(crate) fn reached(&mut self, at: DateTime<Utc>) -> bool {
        if self.now >= at {
            return true;
        }
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        false
    }

    /// True when the pod's machine cannot or should not keep it and there is another that takes
    /// pods. Without another one it stays: nothing would be won.
    pub(crate) fn must_move(&self, pod: &Pod) -> bool {
        let Some(here) = &pod.node else { return false };
        let leaves = match self.nodes.get(here).map(|node| node.state) {
            Some(NodeState::Ready | NodeState::Cordoned) => false,
            Some(NodeState::Draining | NodeState::Lost) | None => true,
        };
        let takes = |node: &Node| node.state == NodeState::Ready && node.capacity.is_some();
        leaves
            && self
                .nodes
                .iter()
                .any(|(name, node)| name != here && takes(node))
    }

    fn carry_out(&mut self, app: &mut App, steps: &mut Vec<Step>) {
        for action in self.actions.drain(..) {
            app.apply(&action, self.now);
            steps.push(Step {
                app: app.id,
                action,
            });
        }
    }
}
