//! What the rules see besides the app that they look at, and where they say what to do.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use fairway_api::{ids::PodId, names::NodeName, placement::Taint};

use crate::{
    action::{Action, MoveReason, Moved, NewPod},
    filter,
    policy::Policy,
    snapshot::{App, Node, NodeState, Pod, Routers},
};

/// What the rules see besides the app, and where they say what to do.
pub(crate) struct Pass<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) nodes: &'a BTreeMap<NodeName, Node>,
    pub(crate) routers: &'a Routers,
    /// Lost machines that pods wait for.
    held: &'a BTreeSet<NodeName>,
    pub(crate) policy: &'a Policy,
    /// Number of the route table that this plan leads to.
    next_generation: u64,
    publishes: bool,
    ids: &'a mut dyn FnMut() -> PodId,
    actions: Vec<Action>,
    moved: Vec<Moved>,
    wake_at: Option<DateTime<Utc>>,
}

/// What there is besides apps.
pub(crate) struct Around<'a> {
    pub(crate) nodes: &'a BTreeMap<NodeName, Node>,
    pub(crate) routers: &'a Routers,
    /// Lost machines that pods wait for.
    pub(crate) held: &'a BTreeSet<NodeName>,
    pub(crate) policy: &'a Policy,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(
        now: DateTime<Utc>,
        around: &Around<'a>,
        next_generation: u64,
        ids: &'a mut dyn FnMut() -> PodId,
    ) -> Self {
        Self {
            now,
            nodes: around.nodes,
            routers: around.routers,
            held: around.held,
            policy: around.policy,
            next_generation,
            publishes: false,
            ids,
            actions: Vec::new(),
            moved: Vec::new(),
            wake_at: None,
        }
    }

    /// Adds an action. The app that the rule looks at changes only after the rule has ended.
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Adds a new pod and gives its id.
    pub(crate) fn create(&mut self, new: impl FnOnce(PodId) -> NewPod) -> PodId {
        let id = self.id();
        self.act(Action::Create(new(id)));
        id
    }

    /// A fresh id.
    pub(crate) fn id(&mut self) -> PodId {
        (self.ids)()
    }

    /// True when the pod's machine is no more, or is taken for lost.
    pub(crate) fn is_lost(&self, pod: &Pod) -> bool {
        let Some(here) = &pod.node else {
            return pod.gone;
        };
        let node = self.nodes.get(here);
        pod.gone
            || node.is_none_or(|node| node.state == NodeState::Lost && !self.held.contains(here))
    }

    /// True when the pods of the pod's machine move elsewhere.
    pub(crate) fn is_left(&self, pod: &Pod) -> bool {
        let here = pod.node.as_ref().and_then(|name| self.nodes.get(name));
        here.is_some_and(Node::is_left)
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

    /// True when the pod's machine cannot or should not keep it; see [`Self::why_move`].
    pub(crate) fn must_move(&self, app: &App, pod: &Pod) -> bool {
        self.why_move(app, pod).is_some()
    }

    /// Why the pod's machine cannot or should not keep it, if there is another that takes pods.
    /// Without another one it stays: nothing would be won. With its machine removed it is gone, and
    /// anything is better.
    pub(crate) fn why_move(&self, app: &App, pod: &Pod) -> Option<MoveReason> {
        let here = pod.node.as_ref()?;
        if pod.gone {
            return Some(MoveReason::Lost);
        }
        // It would find its disk nowhere else.
        if !app.volumes.is_empty() && app.is_pinned(pod) && self.nodes.contains_key(here) {
            return None;
        }
        let Some(node) = self.nodes.get(here) else {
            return Some(MoveReason::Lost);
        };
        let why = match node.state {
            NodeState::Draining if !self.held.contains(here) => MoveReason::Drained,
            NodeState::Lost if !self.held.contains(here) => MoveReason::Lost,
            _ => MoveReason::Tainted(driving_away(app, pod, node)?.clone()),
        };
        let mut others = self.nodes.iter().filter(|(name, _)| *name != here);
        others.any(|(_, node)| node.takes_pods()).then_some(why)
    }

    /// Notes for people why a pod leaves its machine.
    pub(crate) fn tell_move(&mut self, app: &App, pod: &Pod, why: MoveReason) {
        let Some(node) = pod.node.clone() else { return };
        self.moved.push(Moved {
            app: app.id,
            pod: pod.id,
            name: pod.name.clone(),
            process_type: pod.process_type.clone(),
            node,
            why,
        });
    }

    /// True when the plan publishes a route table.
    pub(crate) fn publishes(&self) -> bool {
        self.publishes
    }

    /// What was told of moves since the last call.
    pub(crate) fn take_moved(&mut self) -> Vec<Moved> {
        std::mem::take(&mut self.moved)
    }

    /// What the rules since the last call want done.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When the rules since the last call want to look again.
    pub(crate) fn take_wake(&mut self) -> Option<DateTime<Utc>> {
        self.wake_at.take()
    }
}

/// The machine's taint that drives the pod away, if there is one.
fn driving_away<'n>(app: &App, pod: &Pod, node: &'n Node) -> Option<&'n Taint> {
    let mut taints = node.evicting().peekable();
    taints.peek()?;
    let placement = app.placement(pod);
    taints.find(|taint| !filter::bears(&placement, taint))
}
