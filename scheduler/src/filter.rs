//! Which machines can take a pod at all, and why the others cannot.
//!
//! What depends on the placement alone ([`standing`]) is asked once for all pods that share it;
//! what depends on size and on what runs there ([`size`], [`room`]) is asked for each kind of pod.

use std::fmt;

use fairway_api::{
    names::{NodeName, VolumeName},
    placement::{Condition, Domain, Expression, Neighbour, Placement, Taint, TaintEffect},
    sizes::Resources,
};

use crate::{
    place::cluster::Room,
    snapshot::{Node, NodeState},
};

const MIB: u64 = 1024 * 1024;
/// Why one machine does not take a pod; a sentence for people. The order is that in which groups of
/// the same size are told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Why {
    Cordoned,
    Draining,
    Suspected,
    Lost,
    DiskPressure,
    /// It has not reported what it has.
    Unknown,
    Label(Expression),
    Kind(Placed),
    Architecture(Placed),
    Taint(Taint),
    /// It is too small even when it is empty; MiB.
    TooSmall {
        need: u64,
        has: u64,
    },
    /// MiB.
    Memory {
        taken: u64,
        max: u64,
        need: u64,
    },
    /// Thousandths of a core.
    Cpu {
        taken: u64,
        max: u64,
        need: u64,
    },
    Near(Neighbour),
    Apart(Neighbour),
    Skew(Domain),
    /// The pod's data is on another machine.
    Volume {
        volume: VolumeName,
        node: NodeName,
    },
    /// MiB.
    Disk {
        promised: u64,
        has: u64,
        need: u64,
    },
}

/// What a machine has to be, and is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Placed {
    pub(crate) wanted: String,
    pub(crate) is: String,
}

/// Says no for a reason that holds whatever else runs on the machine.
pub(crate) fn standing(node: &Node, placement: &Placement, required: &[Expression]) -> Option<Why> {
    state(node)
        .or_else(|| node.capacity.is_none().then_some(Why::Unknown))
        .or_else(|| facts(node, placement, required))
        .or_else(|| taints(node, placement))
}

fn state(node: &Node) -> Option<Why> {
    Some(match node.state {
        NodeState::Ready if node.facts.disk_pressure => Why::DiskPressure,
        NodeState::Ready => return None,
        NodeState::Cordoned => Why::Cordoned,
        NodeState::Draining => Why::Draining,
        NodeState::Suspected => Why::Suspected,
        NodeState::Lost => Why::Lost,
    })
}

/// Says no for what the machine is, which seldom changes.
pub(crate) fn facts(node: &Node, placement: &Placement, required: &[Expression]) -> Option<Why> {
    let facts = &node.facts;
    let unmatched = required.iter().find(|it| !it.matches(&facts.labels));
    if let Some(expression) = unmatched {
        return Some(Why::Label(expression.clone()));
    }
    if let Some(wanted) = placement.kind
        && facts.kind != Some(wanted)
    {
        return Some(Why::Kind(placed(wanted, facts.kind)));
    }
    if let Some(wanted) = &placement.architecture
        && facts.architecture.as_ref() != Some(wanted)
    {
        return Some(Why::Architecture(placed(
            wanted,
            facts.architecture.as_ref(),
        )));
    }
    None
}

fn taints(node: &Node, placement: &Placement) -> Option<Why> {
    let refuses =
        |taint: &&Taint| taint.effect != TaintEffect::PreferNoSchedule && !bears(placement, taint);
    node.facts
        .taints
        .iter()
        .find(refuses)
        .cloned()
        .map(Why::Taint)
}

fn placed(wanted: impl fmt::Display, is: Option<impl fmt::Display>) -> Placed {
    Placed {
        wanted: wanted.to_string(),
        is: is.map_or("unknown".into(), |is| is.to_string()),
    }
}

/// True if pods of this placement bear the taint.
pub(crate) fn bears(placement: &Placement, taint: &Taint) -> bool {
    placement.tolerate.iter().any(|it| it.bears(taint))
}

/// Says no because of the machine's size.
pub(crate) fn size(node: &Node, need: Resources) -> Option<Why> {
    let has = node.capacity?;
    (need.memory_bytes > has.memory_bytes).then_some(Why::TooSmall {
        need: need.memory_bytes / MIB,
        has: has.memory_bytes / MIB,
    })
}

/// Says no because of what is promised already.
pub(crate) fn room(room: &Room, need: Resources) -> Option<Why> {
    if !room.has_memory(need) {
        return Some(Why::Memory {
            taken: room.memory_bytes / MIB,
            max: room.memory_bytes_max / MIB,
            need: need.memory_bytes / MIB,
        });
    }
    (!room.has_cpu(need)).then_some(Why::Cpu {
        taken: room.cpu_millis,
        max: room.cpu_millis_max,
        need: need.cpu_millis.into(),
    })
}

impl Why {
    /// The reason without what is one machine's own, so that equal ones can be counted.
    #[must_use]
    pub(crate) fn grouped(self) -> Self {
        match self {
            Self::TooSmall { need, .. } => Self::TooSmall { need, has: 0 },
            Self::Memory { need, .. } => Self::Memory {
                taken: 0,
                max: 0,
                need,
            },
            Self::Cpu { need, .. } => Self::Cpu {
                taken: 0,
                max: 0,
                need,
            },
            Self::Disk { need, .. } => Self::Disk {
                promised: 0,
                has: 0,
                need,
            },
            other => other,
        }
    }

    /// As it is told of many machines.
    pub(crate) fn of_many(&self) -> String {
        match self {
            Self::Cordoned => "are cordoned".into(),
            Self::Draining => "are being drained".into(),
            Self::Suspected => "are suspected: their agents are late".into(),
            Self::Lost => "are lost: their agents do not report".into(),
            Self::DiskPressure => "have disk pressure: too little of their disks is free".into(),
            Self::Unknown => "have not reported their capacity yet".into(),
            Self::TooSmall { need, .. } => format!("have less memory than the {need} MiB needed"),
            Self::Memory { need, .. } => {
                format!("memory is taken: {need} MiB more are needed")
            }
            Self::Cpu { need, .. } => {
                format!("CPU is taken: {need} thousandths of a core more are needed")
            }
            Self::Volume { volume, node } => {
                format!("do not have the pod's volume {volume}, which is on {node}")
            }
            Self::Disk { need, .. } => {
                format!("have no {need} MiB of disk left for the pod's volume")
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordoned => f.write_str("is cordoned"),
            Self::Draining => f.write_str("is being drained"),
            Self::Suspected => f.write_str("is suspected: its agent is late"),
            Self::Lost => f.write_str("is lost: its agent does not report"),
            Self::DiskPressure => f.write_str("has disk pressure: too little of its disk is free"),
            Self::Unknown => f.write_str("has not reported its capacity yet"),
            Self::Label(expression) => label(expression, f),
            Self::Kind(Placed { wanted, is }) => write!(f, "must be {wanted}, it is {is}"),
            Self::Architecture(Placed { wanted, is }) => {
                write!(f, "must be {wanted}, its architecture is {is}")
            }
            Self::Taint(taint) => write!(f, "has the taint {taint}, which the pod does not bear"),
            Self::TooSmall { need, has } => {
                write!(f, "needs {need} MiB of memory, the machine has {has} MiB")
            }
            Self::Memory { taken, max, need } => write!(
                f,
                "its memory is taken: {taken} of {max} MiB are promised, {need} MiB more are needed"
            ),
            Self::Cpu { taken, max, need } => write!(
                f,
                "its CPU is taken: {taken} of {max} thousandths of a core are promised, {need} \
                 more are needed"
            ),
            Self::Volume { volume, node } => {
                write!(
                    f,
                    "does not have the pod's volume {volume}, which is on {node}"
                )
            }
            Self::Disk {
                promised,
                has,
                need,
            } => write!(
                f,
                "its disk is promised: {promised} of {has} MiB are volumes', {need} MiB more are \
                 needed"
            ),
            Self::Near(of) => write!(f, "has no pod of {of}, and the pod must be near one"),
            Self::Apart(of) => write!(f, "has a pod of {of}, and the pod must be apart from it"),
            Self::Skew(Domain::Zone) => {
                f.write_str("its zone has more pods of the type than others")
            }
            Self::Skew(Domain::Node) => f.write_str("has more pods of the type than others"),
        }
    }
}

fn label(expression: &Expression, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match expression.condition {
        Condition::Exists => write!(f, "lacks the label {expression}"),
        _ => write!(f, "its labels do not satisfy {expression}"),
    }
}
