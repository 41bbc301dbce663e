//! What an operator decides for the whole cluster.

/// How pods are shared out, and how much may be promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub strategy: Strategy,
    /// How much memory may be promised to pods, in percent of what a machine has.
    pub memory_percent: u32,
    /// How much CPU time may be promised, in percent of what a machine has.
    pub cpu_percent: u32,
    /// When more than this share of all machines, in percent, is lost within
    /// `brake_window_secs`, their pods are not replaced for `brake_wait_secs`
    /// ([`crate::failure`]).
    pub brake_percent: u32,
    pub brake_window_secs: u32,
    pub brake_wait_secs: u32,
    /// Pods that run move to better machines ([`crate::rebalance`]).
    pub rebalance: bool,
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

/// A lost zone of three is a third of all machines, and its pods have to be replaced.
const BRAKE_PERCENT_DEFAULT: u32 = 50;
/// Machines that a switch takes along go silent within a heartbeat or two of each other.
const BRAKE_WINDOW_SECS_DEFAULT: u32 = 60;
/// Time for a switch to restart or for an operator to look.
const BRAKE_WAIT_SECS_DEFAULT: u32 = 10 * 60;

impl Default for Policy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Spread,
            memory_percent: MEMORY_PERCENT_DEFAULT,
            cpu_percent: CPU_PERCENT_DEFAULT,
            brake_percent: BRAKE_PERCENT_DEFAULT,
            brake_window_secs: BRAKE_WINDOW_SECS_DEFAULT,
            brake_wait_secs: BRAKE_WAIT_SECS_DEFAULT,
            // A start that nobody asked for is for the operator to allow.
            rebalance: false,
        }
    }
}
