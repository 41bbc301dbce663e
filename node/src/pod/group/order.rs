//! When the containers of a pod begin and end: pure.
//!
//! ```text
//! Run ------> Rest      the main process has ended for good, or one never became ready
//!  | ^  \---> Leave     the plan does not name the pod any more
//!  v |
//! Restart               a container whose end takes the pod along has ended
//! ```
//!
//! A container begins when all that it waits for have been up. They end the other way round: the
//! main one first, then each when those that waited for it are gone.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use fairway_api::{
    names::ContainerName,
    pods::{PodPhase, PodSpec, RestartPolicy},
    sidecars::OnExit,
};

use super::super::Record;

/// The containers of one pod.
#[derive(Debug)]
pub(super) struct Group {
    /// The main one first.
    pub(super) seats: Vec<Seat>,
    pub(super) goal: Goal,
    /// `web.1`, to say who does something.
    pod: String,
    /// Its main process does not run once only.
    pub(super) restarts: bool,
}

/// One container.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) name: ContainerName,
    after: BTreeSet<ContainerName>,
    on_exit: OnExit,
    pub(super) record: Record,
    pub(super) state: State,
    /// It has been up since the pod's containers last began.
    pub(super) up: bool,
}

/// Whether a container has a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Runs,
    Retiring,
    Gone,
}

/// What all of them are up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Run,
    /// `failed` is the sidecar for which there is no pod.
    Rest {
        failed: Option<usize>,
    },
    Restart {
        who: usize,
        until: DateTime<Utc>,
    },
    Leave,
}

/// The number of the main container.
pub(super) const MAIN_SEAT: usize = 0;

/// One thing to do. Containers go by their number, the main one's is [`MAIN_SEAT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Begin(usize),
    /// Tell its task that it is unwanted.
    Retire(usize),
    /// Look again then.
    WakeAt(DateTime<Utc>),
    /// A line for the app's log.
    Say(String),
    /// No container is left: the last thing.
    Left,
}

impl Group {
    /// `record` is what is known of the pod from before the agent was started, `found` are the
    /// containers that are there.
    pub(super) fn new(spec: &PodSpec, record: &Record, found: &BTreeSet<ContainerName>) -> Self {
        let seat = |name: &ContainerName, after: &BTreeSet<ContainerName>, on_exit| {
            let known = record.members.get(name).cloned();
            let record = known.unwrap_or_else(|| Record::new(spec.id));
            // What is there is taken up first of all, whoever it once waited for.
            let is_there = found.contains(name);
            Seat {
                name: name.clone(),
                after: after.clone(),
                on_exit,
                up: is_there && record.was_up,
                record,
                state: if is_there {
                    State::Runs
                } else {
                    State::Waiting
                },
            }
        };
        let sidecars = &spec.sidecars;
        let main = seat(
            &ContainerName::main(),
            &sidecars.main_after,
            OnExit::Restart,
        );
        let others = sidecars.containers.iter();
        let others = others.map(|it| seat(&it.name, &it.after, it.on_exit));
        Self {
            seats: std::iter::once(main).chain(others).collect(),
            goal: Goal::Run,
            pod: spec.name.clone(),
            restarts: spec.restart == RestartPolicy::Always,
        }
    }

    /// Those whose containers were there at the start: they begin by being taken up.
    pub(super) fn there(&self) -> Vec<usize> {
        let seats = self.seats.iter().enumerate();
        seats
            .filter(|(_, seat)| seat.state == State::Runs)
            .map(|(index, _)| index)
            .collect()
    }

    /// What was seen of a container.
    pub(super) fn note(&mut self, seat: usize, record: Record) {
        if let Some(seat) = self.seats.get_mut(seat) {
            seat.up |= matches!(record.status.phase, PodPhase::Running { .. });
            seat.record = record;
        }
    }

    /// A container's task has ended.
    pub(super) fn gone(&mut self, seat: usize) {
        if let Some(seat) = self.seats.get_mut(seat) {
            seat.state = State::Gone;
            seat.record.container = None;
            seat.record.status.address = None;
            seat.record.status.started_at = None;
        }
    }

    /// The plan does not name the pod any more.
    pub(super) fn leave(&mut self) {
        self.goal = Goal::Leave;
    }

    /// Whose container this is.
    pub(super) fn seat_of(&self, container: &str) -> Option<usize> {
        self.seats
            .iter()
            .position(|seat| seat.record.container.as_deref() == Some(container))
    }

    pub(super) fn record_of(&self, seat: usize) -> Record {
        self.seats[seat].record.clone()
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: DateTime<Utc>) -> Vec<Order> {
        let mut orders = vec![];
        if self.goal == Goal::Run {
            self.reconsider(&mut orders);
        }
        match self.goal {
            Goal::Run => self.begin(&mut orders),
            Goal::Rest { .. } => self.retire(true, &mut orders),
            Goal::Leave => {
                self.retire(false, &mut orders);
                if self.is_empty() {
                    orders.push(Order::Left);
                }
            }
            Goal::Restart { until, .. } => {
                self.retire(false, &mut orders);
                if !self.is_empty() {
                    return orders;
                }
                if now < until {
                    orders.push(Order::WakeAt(until));
                } else {
                    self.again();
                    self.begin(&mut orders);
                }
            }
        }
        orders
    }

    /// Whether the containers still should run.
    fn reconsider(&mut self, orders: &mut Vec<Order>) {
        if self.seats[0].is_at_rest() {
            self.goal = Goal::Rest { failed: None };
            return;
        }
        let failed = self.seats.iter().position(|seat| self.has_failed(seat));
        if failed.is_some() {
            self.goal = Goal::Rest { failed };
            return;
        }
        // Before the main container begins there is nothing to take along.
        if !self.restarts || self.seats[0].state != State::Runs {
            return;
        }
        let ended =
            self.seats
                .iter()
                .enumerate()
                .find_map(|(who, seat)| match seat.record.status.phase {
                    PodPhase::BackOff { until } if seat.on_exit == OnExit::RestartPod => {
                        Some((who, until))
                    }
                    _ => None,
                });
        if let Some((who, until)) = ended {
            let seat = &self.seats[who];
            let exit = seat.record.status.last_exit.as_ref();
            let exit = exit.map_or_else(|| "ended".into(), ToString::to_string);
            orders.push(Order::Say(format!(
                "Restarting all containers of {}: {} {exit}",
                self.pod, seat.name
            )));
            self.goal = Goal::Restart { who, until };
        }
    }

    /// Whether there can be no pod because of a container. One that ends before it was up is tried
    /// again, but what runs once does not wait for it.
    fn has_failed(&self, seat: &Seat) -> bool {
        match seat.record.status.phase {
            PodPhase::NeverReady => true,
            PodPhase::BackOff { .. } => {
                !self.restarts && !seat.up && self.seats[0].state == State::Waiting
            }
            _ => false,
        }
    }

    fn begin(&mut self, orders: &mut Vec<Order>) {
        let up: BTreeSet<ContainerName> = self
            .seats
            .iter()
            .filter(|seat| seat.up)
            .map(|seat| seat.name.clone())
            .collect();
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if seat.state == State::Waiting && seat.after.is_subset(&up) {
                seat.state = State::Runs;
                orders.push(Order::Begin(index));
            }
        }
    }

    /// Ends the containers in their order; those at rest only if they are not spared.
    fn retire(&mut self, spare: bool, orders: &mut Vec<Order>) {
        for seat in &mut self.seats {
            if seat.state == State::Waiting {
                seat.state = State::Gone;
            }
        }
        let ends = |seat: &Seat| seat.state == State::Runs && !(spare && seat.is_at_rest());
        let main = &mut self.seats[MAIN_SEAT];
        if ends(main) {
            main.state = State::Retiring;
            orders.push(Order::Retire(0));
        }
        if self.seats[0].state == State::Retiring {
            return;
        }
        let ending: Vec<usize> = (1..self.seats.len())
            .filter(|&index| ends(&self.seats[index]))
            .filter(|&index| {
                let name = &self.seats[index].name;
                let waited = self.seats[1..].iter().filter(|it| it.after.contains(name));
                waited
                    .into_iter()
                    .all(|it| it.state == State::Gone || spare && it.is_at_rest())
            })
            .collect();
        for index in ending {
            self.seats[index].state = State::Retiring;
            orders.push(Order::Retire(index));
        }
    }

    fn is_empty(&self) -> bool {
        self.seats.iter().all(|seat| seat.state == State::Gone)
    }

    /// All begin again, in their order.
    fn again(&mut self) {
        self.goal = Goal::Run;
        for seat in &mut self.seats {
            seat.state = State::Waiting;
            seat.up = false;
            seat.record.status.phase = PodPhase::Pending;
        }
    }
}

impl Seat {
    /// Its process has ended and is not started again.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(
            self.record.status.phase,
            PodPhase::Exited | PodPhase::NeverReady
        )
    }
}

#[cfg(test)]
mod tests;
