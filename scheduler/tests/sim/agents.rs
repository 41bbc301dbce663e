//! Simulated agents: they fetch their orders late, start and stop pods, and report late.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fairway_api::ids::{AppId, PodId};
use fairway_scheduler::snapshot::{NodeState, PodIntent, PodKind};

use super::Dice;
use crate::world::{World, status};

/// What becomes of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Ready,
    Crashes,
    NeverReady,
    Refused,
    /// It starts, and starts, and starts.
    Hangs,
}

impl Fate {
    pub(super) fn any(dice: &mut Dice) -> Self {
        match dice.roll(20) {
            0 => Self::Crashes,
            1 => Self::NeverReady,
            2 => Self::Refused,
            3 => Self::Hangs,
            _ => Self::Ready,
        }
    }
}

/// A plan for one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Grows whenever the pods are others.
    generation: u64,
    pods: BTreeMap<PodId, (AppId, PodKind)>,
}

impl Orders {
    /// Takes in what should run from now on.
    pub(super) fn publish(&mut self, name: &str, world: &World) {
        let bound = world.snapshot.apps.values().flat_map(|app| {
            let pods = app.pods.values();
            pods.filter(|pod| {
                pod.intent != PodIntent::Stopping
                    && pod.node.as_ref().is_some_and(|node| node.as_str() == name)
            })
            .map(|pod| (pod.id, (app.id, pod.kind)))
        });
        let pods = bound.collect();
        if pods != self.pods {
            self.pods = pods;
            self.generation += 1;
        }
    }
}

/// What an agent says of its machine.
#[derive(Debug, Clone)]
struct Report {
    /// Of the plan that it works on.
    generation: u64,
    running: BTreeMap<PodId, Container>,
}

/// Reports on their way at once, at most.
const MAIL_MAX: usize = 4;

/// One machine's agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// The plan that it fetched last.
    orders: Orders,
    /// Reports on their way: they come late, twice, in another order, or never.
    mail: Vec<Report>,
    /// What runs, and the word of its status.
    running: BTreeMap<PodId, Container>,
    /// Commands that have ended: on its disk, so that none of them runs again.
    ended: BTreeMap<PodId, Container>,
    /// Since when it is cut off: its pods go on, and it hears and says nothing.
    cut_off_at: Option<DateTime<Utc>>,
    /// Too little of its disk is free: it takes no new pods, and ends one now and then.
    pressed: bool,
    /// What the operator asked of the machine.
    asked: Option<NodeState>,
}

/// A machine silent for so long counts as late, in seconds, and for so long as lost.
const SUSPECTED_SECS: i64 = 6;
const LOST_SECS: i64 = 10;

#[derive(Debug, Clone)]
struct Container {
    app: AppId,
    kind: PodKind,
    fate: Fate,
    word: &'static str,
}

impl Agent {
    /// A bit of an agent's work, each part of which may come later instead.
    pub(super) fn step(
        &mut self,
        name: &str,
        world: &mut World,
        (orders, dice): (&Orders, &mut Dice),
        fate: fn(&mut Dice) -> Fate,
    ) {
        self.obey(dice, fate);
        if self.cut_off_at.is_none() {
            if dice.chance(60) {
                self.orders = orders.clone();
            }
            if dice.chance(70) {
                self.mail.push(Report {
                    generation: self.orders.generation,
                    running: self.running.clone(),
                });
            }
            self.deliver(name, world, orders.generation, dice);
        }
        if self.pressed && dice.chance(10) {
            self.evict(dice);
        }
        world.set_node_state(name, self.state(world.now));
        if self.cut_off_at.is_none() {
            world.set_disk_pressure(name, self.pressed);
        }
    }

    /// What the controller takes the machine for.
    fn state(&self, now: DateTime<Utc>) -> NodeState {
        let silent = self.cut_off_at.map(|at| (now - at).num_seconds());
        match silent {
            Some(LOST_SECS..) => NodeState::Lost,
            Some(SUSPECTED_SECS..) => NodeState::Suspected,
            _ => self.asked.unwrap_or(NodeState::Ready),
        }
    }

    /// Something happens to the machine, or to the way to it.
    pub(super) fn suffer(&mut self, now: DateTime<Utc>, dice: &mut Dice) {
        match dice.roll(120) {
            0..=2 => self.cut_off_at = self.cut_off_at.or(Some(now)),
            // Its engine or the whole machine dies.
            3 => {
                self.cut_off_at = self.cut_off_at.or(Some(now));
                self.running.clear();
            }
            4..=13 => self.cut_off_at = None,
            14 => self.asked = Some(NodeState::Draining),
            15 => self.asked = Some(NodeState::Cordoned),
            16..=21 => self.asked = None,
            22..=23 => self.pressed = true,
            24..=27 => self.pressed = false,
            _ => {}
        }
    }

    /// The machine is off and stays so.
    pub(super) fn die(&mut self, now: DateTime<Utc>) {
        self.running.clear();
        self.cut_off_at = Some(now);
    }

    /// All is well again.
    pub(super) fn recover(&mut self) {
        self.cut_off_at = None;
        self.asked = None;
        self.pressed = false;
    }

    /// Ends a replica that runs, for good.
    fn evict(&mut self, dice: &mut Dice) {
        let mut up = self.running.iter_mut().filter(|(_, it)| it.word == "ready");
        if let Some((id, container)) = up.nth(usize::try_from(dice.roll(3)).unwrap())
            && container.kind == PodKind::Service
        {
            container.word = "evicted";
            self.ended.insert(*id, container.clone());
        }
    }

    pub(super) fn runs(&self, pod: PodId) -> bool {
        self.running.contains_key(&pod)
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = PodId> {
        self.running.keys().copied()
    }

    fn obey(&mut self, dice: &mut Dice, fate: fn(&mut Dice) -> Fate) {
        for (&id, &(app, kind)) in &self.orders.pods {
            if let Some(container) = self.running.get_mut(&id) {
                container.live_on(dice, fate);
                if container.word.starts_with("exit") {
                    self.ended.insert(id, container.clone());
                }
            } else if let Some(container) = self.ended.get(&id) {
                self.running.insert(id, container.clone());
            } else if dice.chance(80) {
                let container = Container {
                    app,
                    kind,
                    fate: fate(dice),
                    word: "pending",
                };
                self.running.insert(id, container);
            }
        }
        let unwanted: Vec<_> = self
            .running
            .keys()
            .filter(|id| !self.orders.pods.contains_key(id))
            .copied()
            .collect();
        for id in unwanted {
            if dice.chance(50) {
                self.running.remove(&id);
            } else if let Some(container) = self.running.get_mut(&id)
                && !container.has_ended()
            {
                container.word = "stopping";
            }
        }
    }

    /// Brings a report: mostly the newest, now and then an older one, or one once more.
    fn deliver(&mut self, name: &str, world: &mut World, newest_plan: u64, dice: &mut Dice) {
        if self.mail.is_empty() || dice.chance(5) {
            return;
        }
        let which = match dice.chance(15) {
            true => usize::try_from(dice.roll(self.mail.len() as u64)).unwrap(),
            false => self.mail.len() - 1,
        };
        let report = self.mail[which].clone();
        hear(name, world, &report, newest_plan);
        if self.mail.len() >= MAIL_MAX || dice.chance(50) {
            self.mail.clear();
        }
    }
}

/// What the controller makes of a report, whenever it was sent.
fn hear(name: &str, world: &mut World, report: &Report, newest_plan: u64) {
    let now = world.now;
    for app in world.snapshot.apps.values_mut() {
        for pod in app.pods.values_mut() {
            if pod.node.as_ref().is_none_or(|node| node.as_str() != name) {
                continue;
            }
            match report.running.get(&pod.id) {
                Some(container) => {
                    assert_eq!(container.app, app.id);
                    let said = status(pod.id, container.word, now);
                    let same = pod.status.as_ref().is_some_and(|it| it.phase == said.phase);
                    // The same crash was reported before, with the same time.
                    let crashed = container.word.starts_with("crash") && pod.has_crashed();
                    if !same && !crashed && pod.is_news(&said) {
                        pod.status = Some(said);
                    }
                }
                // The newest plan lacks it, its agent works on that, and it is not there.
                None if pod.intent == PodIntent::Stopping && report.generation == newest_plan => {
                    pod.gone = true;
                }
                None => {}
            }
        }
    }
}

/// What an agent remembers of a pod that it has reported as crashed.
trait HasCrashed {
    fn has_crashed(&self) -> bool;
}

impl HasCrashed for fairway_scheduler::snapshot::Pod {
    fn has_crashed(&self) -> bool {
        self.status.as_ref().is_some_and(|seen| seen.restarts > 0)
    }
}

impl Container {
    fn has_ended(&self) -> bool {
        self.word.starts_with("exit") || self.word == "evicted"
    }

    fn live_on(&mut self, dice: &mut Dice, fate: fn(&mut Dice) -> Fate) {
        if self.word == "evicted" {
            return;
        }
        self.word = match (self.kind, self.fate, self.word) {
            (_, _, "pending") => "starting",
            (PodKind::ReleasePhase | PodKind::Run | PodKind::Job, Fate::Ready, _) => "exit:0",
            (PodKind::ReleasePhase | PodKind::Run | PodKind::Job, Fate::Hangs, _) => "ready",
            (PodKind::ReleasePhase | PodKind::Run | PodKind::Job, _, _) => "exit:1",
            (_, Fate::Ready, _) => "ready",
            (_, Fate::Crashes, _) => "crash:1",
            (_, Fate::NeverReady, _) => "never-ready",
            (_, Fate::Refused, _) => "refused:no_such_image",
            (_, Fate::Hangs, _) => "starting",
        };
        // A process that runs may end at any time, and a bad one may get well when it is started
        // again.
        if self.kind == PodKind::Service && dice.chance(5) {
            self.fate = fate(dice);
        }
    }
}
