//! What an operator decides for the whole cluster.

/// How pods are shared out, and how much may be promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub strategy: Strategy,
    /// How much memory may be promised to pods, in percent of what a machine has.
    pub memory_percent: u32,
    /// How much CPU time may be promised, in percent of what a machine has.
    pub cpu_percent: u32,
}

/// What makes the better machine when all else is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Pods of a type stand on many machines, and machines are filled evenly.
    Spread,
    /// The fullest machine that still has room: the others stay free for large pods, or can be
    /// given back. A type's own `spread` still holds.
    Pack,
}

/// A size is a limit, and web processes idle far below theirs; a pod over its limit is killed
/// alone, whatever the others do.
const MEMORY_PERCENT_DEFAULT: u32 = 400;
/// CPU gives way: a promise that all want at once makes them slower and breaks nothing.
const CPU_PERCENT_DEFAULT: u32 = 3_200;

impl Default for Policy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Spread,
            memory_percent: MEMORY_PERCENT_DEFAULT,
            cpu_percent: CPU_PERCENT_DEFAULT,
        }
    }
}
