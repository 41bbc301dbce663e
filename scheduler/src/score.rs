//! Which of the machines that can take a pod should: the least [`Score`].

/// How unfit a machine is for one pod. The fields stand in the order of what matters, so the
/// derived order is the policy; the machine's number makes it total, and equal machines are filled
/// in a predictable order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// Pods of the same type and release in its zone and on it, as far as a hard spread counts
    /// them: the domain with the fewest is always the one that may have one more.
    pub(crate) must_spread: (u32, u32),
    /// Taints that ask to be avoided.
    pub(crate) avoided: u32,
    /// Wishes of the placement that it does not fulfil.
    pub(crate) unmet: u32,
    /// Pods of the same type and release in its zone and on it: spread, so that one machine's end
    /// takes as few of them as possible.
    pub(crate) spread: (u32, u32),
    /// True if nothing of the app runs on it, so that the whole image has to be pulled.
    pub(crate) pulls: bool,
    /// What is promised on it, in thousandths of what may be; when packing, what is not.
    pub(crate) load_permille: u32,
    /// Its place in the order of names.
    pub(crate) machine: u32,
}
