//! Which of the machines that can take a pod should: the least [`Score`].

use fairway_api::names::NodeName;

/// How unfit a machine is for one pod. The fields stand in the order of what matters, so the
/// derived order is the policy; the name makes it total, and equal machines are filled in a
/// predictable order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// Pods of the same process type of the same app on it: spread, so that one machine's end
    /// takes as few of them as possible.
    pub same_service: u32,
    /// Memory promised on it, in thousandths of what it may promise: fill evenly.
    pub load_permille: u64,
    pub node: NodeName,
}
