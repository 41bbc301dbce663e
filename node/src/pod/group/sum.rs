//! What the containers of a pod come to together: pure.

use chrono::DateTime;
use fairway_api::{
    names::ContainerName,
    pods::{CheckFailure, ContainerStatus, Exit, PodPhase},
};

use super::{
    super::{Record, SIGKILL_CODE},
    order::{Goal, Group, Seat, State},
};

impl Group {
    /// The pod's record: the main container's, and what the others add to it.
    pub(in super::super) fn record(&self) -> Record {
        let main = &self.seats[0].record;
        let (phase, whose) = self.phase();
        let mut sum = main.clone();
        let status = &mut sum.status;
        status.phase = phase;
        // Also before the main container has begun: its sidecars may talk to others by then.
        status.address = self.seats.iter().find_map(|it| it.record.status.address);
        let restarts = self.seats.iter().map(|it| it.record.status.restarts);
        status.restarts = restarts.fold(0, u32::saturating_add);
        if let Some(seat) = whose.map(|index| &self.seats[index]) {
            status.check_failure = failure(seat);
            if seat.record.status.last_exit.is_some() {
                status.last_exit.clone_from(&seat.record.status.last_exit);
            }
        }
        if let (
            Goal::Rest {
                failed: Some(index),
            },
            false,
        ) = (self.goal, self.restarts)
        {
            status.last_exit = Some(never_ran(&self.seats[index]));
        }
        status.containers = self.seats.iter().map(shown).collect();
        let running = self.seats.iter().find_map(|it| it.record.sandbox.clone());
        sum.sandbox = running;
        let members = self.seats.iter();
        sum.members = members
            .map(|it| (it.name.clone(), it.record.clone()))
            .collect();
        sum
    }

    /// What the pod does, and which container is the reason if it is not the main one.
    fn phase(&self) -> (PodPhase, Option<usize>) {
        let main = &self.seats[0];
        match self.goal {
            Goal::Leave => return (PodPhase::Stopping, None),
            Goal::Restart { who, until } => return (PodPhase::BackOff { until }, Some(who)),
            Goal::Rest {
                failed: Some(failed),
            } if self.restarts => return (PodPhase::NeverReady, Some(failed)),
            Goal::Rest { failed: Some(_) } => return (PodPhase::Exited, None),
            Goal::Run | Goal::Rest { failed: None } => {}
        }
        let of = |wanted: &dyn Fn(&Seat) -> bool| {
            let mut sidecars = (1..self.seats.len()).filter(|&index| wanted(&self.seats[index]));
            sidecars.next()
        };
        let phase = |seat: &Seat| seat.record.status.phase.clone();
        let runs = matches!(phase(main), PodPhase::Running { .. });
        if main.state != State::Waiting && !runs {
            // Its sidecars have begun before it.
            let begun = phase(main) == PodPhase::Pending && self.seats.iter().any(|it| it.up);
            let phase = if begun {
                PodPhase::Starting
            } else {
                phase(main)
            };
            return (phase, None);
        }
        // Until all have been up, the pod has not been.
        if let Some(index) = of(&|seat| !seat.up && seat.state != State::Waiting) {
            let seat = &self.seats[index];
            return (before_up(&seat.name, phase(seat)), Some(index));
        }
        if !runs || self.seats.iter().any(|seat| !seat.up) {
            return (PodPhase::Starting, None);
        }
        let ready = PodPhase::Running { ready: true };
        match of(&|seat| phase(seat) != ready) {
            Some(index) => (PodPhase::Running { ready: false }, Some(index)),
            None => (phase(main), None),
        }
    }
}

/// What a pod does whose container of this name has not been up yet.
fn before_up(name: &ContainerName, phase: PodPhase) -> PodPhase {
    match phase {
        PodPhase::Refused { reason } => PodPhase::Refused {
            reason: format!("{name}: {reason}"),
        },
        PodPhase::BackOff { .. } => phase,
        // A first container that has only been ordered is what every pod begins with.
        PodPhase::Pending => PodPhase::Pending,
        _ => PodPhase::Starting,
    }
}

/// Why a sidecar's check fails, with its name.
fn failure(seat: &Seat) -> Option<CheckFailure> {
    let failure = seat.record.status.check_failure.clone()?;
    Some(CheckFailure {
        check: format!("{}: {}", seat.name, failure.check),
        ..failure
    })
}

/// The end of a process that was to run once and did not, because a sidecar could not.
fn never_ran(seat: &Seat) -> Exit {
    let exit = seat.record.status.last_exit.as_ref();
    let why = match (&seat.record.status.check_failure, exit) {
        (Some(failure), _) => failure.to_string(),
        (None, Some(exit)) => exit.to_string(),
        (None, None) => "it did not become ready".into(),
    };
    Exit {
        code: SIGKILL_CODE,
        out_of_memory: false,
        stopped_because: Some(format!("its container {} failed: {why}", seat.name)),
        at: exit.map_or(DateTime::UNIX_EPOCH, |exit| exit.at),
        last_lines: exit.map(|exit| exit.last_lines.clone()).unwrap_or_default(),
    }
}

fn shown(seat: &Seat) -> ContainerStatus {
    let status = &seat.record.status;
    let ended = seat.state == State::Gone && !seat.is_at_rest();
    ContainerStatus {
        name: seat.name.clone(),
        phase: if ended {
            PodPhase::Exited
        } else {
            status.phase.clone()
        },
        restarts: status.restarts,
        last_exit: status.last_exit.clone(),
        check_failure: status.check_failure.clone(),
    }
}
