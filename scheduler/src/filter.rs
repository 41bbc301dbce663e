//! Which machines can take a pod at all, and why the others cannot.

use std::fmt;

use fairway_api::{names::NodeName, sizes::Resources};

use crate::{place::Machine, snapshot::NodeState};

/// How much more memory may be promised to pods than a machine has. A size is a limit, and web
/// processes idle far below theirs; a pod over its limit is killed alone, whatever the others do.
pub const MEMORY_OVERCOMMIT: u64 = 4;
/// How much more CPU time may be promised than there is. CPU gives way: a promise that all want at
/// once makes them slower and breaks nothing.
pub const CPU_OVERCOMMIT: u64 = 32;

const MIB: u64 = 1024 * 1024;

/// Why one machine does not take a pod; a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub node: NodeName,
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.why)
    }
}

/// Says no with the reason, or nothing.
pub(crate) fn refuse(machine: &Machine<'_>, need: Resources) -> Option<Refusal> {
    let why = state(machine).or_else(|| room(machine, need))?;
    Some(Refusal {
        node: machine.name.clone(),
        why,
    })
}

fn state(machine: &Machine<'_>) -> Option<String> {
    let why = match machine.node.state {
        NodeState::Ready => return None,
        NodeState::Cordoned => "is cordoned",
        NodeState::Draining => "is being drained",
        NodeState::Lost => "is lost: its agent does not report",
    };
    Some(why.into())
}

fn room(machine: &Machine<'_>, need: Resources) -> Option<String> {
    let Some(has) = machine.node.capacity else {
        return Some("has not reported its capacity yet".into());
    };
    if need.memory_bytes > has.memory_bytes {
        let (need, has) = (need.memory_bytes / MIB, has.memory_bytes / MIB);
        return Some(format!(
            "needs {need} MiB of memory, the machine has {has} MiB"
        ));
    }
    let (memory, memory_max) = (
        machine.memory_bytes,
        has.memory_bytes.saturating_mul(MEMORY_OVERCOMMIT),
    );
    if memory.saturating_add(need.memory_bytes) > memory_max {
        return Some(format!(
            "its memory is taken: {} of {} MiB are promised, {} MiB more are needed",
            memory / MIB,
            memory_max / MIB,
            need.memory_bytes / MIB
        ));
    }
    let (cpu, cpu_max) = (
        machine.cpu_millis,
        u64::from(has.cpu_millis) * CPU_OVERCOMMIT,
    );
    if cpu + u64::from(need.cpu_millis) > cpu_max {
        return Some(format!(
            "its CPU is taken: {cpu} of {cpu_max} thousandths of a core are promised, {} more are \
             needed",
            need.cpu_millis
        ));
    }
    None
}
