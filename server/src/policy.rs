//! What an operator decides of placement and of silent machines, as flags of `fairway controller`
//! and as settings of `fairway up`.

use std::{ops::RangeInclusive, time::Duration};

use clap::{Args, ValueEnum};
use fairway_controller::{NODE_LOST_SECS_DEFAULT, Policy, Strategy};
use serde::Deserialize;

/// A machine that misses one heartbeat is not lost, and one that is silent for an hour is.
const NODE_LOST_SECS: RangeInclusive<u32> = 6..=3600;
/// Promising less than a machine has would leave it idle; promising more than a hundred times as
/// much says nothing any more.
const OVERCOMMIT_PERCENT: RangeInclusive<u32> = 100..=10_000;
/// At 100 no failure is a mass failure.
const BRAKE_PERCENT: RangeInclusive<u32> = 1..=100;

/// How pods are shared out over machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placing {
    /// Over many machines, filled evenly
    Spread,
    /// The fullest machine with room first
    Pack,
}

/// All of it; what is `None` has its default.
#[derive(Debug, Clone, Default, Args)]
pub struct PolicyArgs {
    /// Seconds until a silent machine counts as lost and its pods are replaced [default: 10]
    #[arg(long, env = "FAIRWAY_NODE_LOST_SECS", value_name = "SECONDS")]
    pub node_lost_secs: Option<u32>,
    /// How pods are shared out over machines [default: spread]
    #[arg(long, env = "FAIRWAY_PLACEMENT", value_name = "HOW")]
    pub placement: Option<Placing>,
    /// Memory promised to pods, in percent of what a machine has [default: 400]
    #[arg(long, env = "FAIRWAY_OVERCOMMIT_MEMORY", value_name = "PERCENT")]
    pub overcommit_memory: Option<u32>,
    /// CPU time promised to pods, in percent of what a machine has [default: 3200]
    #[arg(long, env = "FAIRWAY_OVERCOMMIT_CPU", value_name = "PERCENT")]
    pub overcommit_cpu: Option<u32>,
    /// Share of machines that may be lost at once and still be replaced at once, in percent [default: 50]
    #[arg(long, env = "FAIRWAY_BRAKE", value_name = "PERCENT")]
    pub brake: Option<u32>,
    /// Move pods that run to machines that joined later or are emptier, a few at a time [default: false]
    #[arg(
        long,
        env = "FAIRWAY_REBALANCE",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub rebalance: Option<bool>,
}

impl PolicyArgs {
    /// The scheduler's policy.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub(crate) fn policy(&self) -> anyhow::Result<Policy> {
        let percent = |name, given, range, default| within(name, given, range, "percent", default);
        let usual = Policy::default();
        Ok(Policy {
            strategy: match self.placement {
                Some(Placing::Spread) | None => Strategy::Spread,
                Some(Placing::Pack) => Strategy::Pack,
            },
            memory_percent: percent(
                "overcommit-memory",
                self.overcommit_memory,
                OVERCOMMIT_PERCENT,
                usual.memory_percent,
            )?,
            cpu_percent: percent(
                "overcommit-cpu",
                self.overcommit_cpu,
                OVERCOMMIT_PERCENT,
                usual.cpu_percent,
            )?,
            brake_percent: percent("brake", self.brake, BRAKE_PERCENT, usual.brake_percent)?,
            rebalance: self.rebalance.unwrap_or(usual.rebalance),
            ..usual
        })
    }

    /// How long a machine may be silent.
    ///
    /// # Errors
    /// When it is out of its range.
    pub(crate) fn node_lost_after(&self) -> anyhow::Result<Duration> {
        let secs = within(
            "node-lost-secs",
            self.node_lost_secs,
            NODE_LOST_SECS,
            "seconds",
            NODE_LOST_SECS_DEFAULT,
        )?;
        Ok(Duration::from_secs(secs.into()))
    }
}

fn within(
    name: &str,
    given: Option<u32>,
    range: RangeInclusive<u32>,
    unit: &str,
    default: u32,
) -> anyhow::Result<u32> {
    let value = given.unwrap_or(default);
    anyhow::ensure!(
        range.contains(&value),
        "{name} is {value}; it must be from {} to {} {unit}",
        range.start(),
        range.end()
    );
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named_with_its_range() {
        let args = PolicyArgs::default;
        assert_eq!(args().policy().unwrap(), Policy::default());
        assert_eq!(args().node_lost_after().unwrap(), Duration::from_secs(10));
        for (bad, says) in [
            (
                PolicyArgs {
                    overcommit_memory: Some(99),
                    ..args()
                },
                "overcommit-memory is 99; it must be from 100",
            ),
            (
                PolicyArgs {
                    overcommit_cpu: Some(10_001),
                    ..args()
                },
                "to 10000 percent",
            ),
            (
                PolicyArgs {
                    brake: Some(0),
                    ..args()
                },
                "brake is 0",
            ),
        ] {
            let error = bad.policy().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for secs in [5, 3601] {
            let bad = PolicyArgs {
                node_lost_secs: Some(secs),
                ..args()
            };
            let error = bad.node_lost_after().unwrap_err().to_string();
            assert!(error.contains("from 6 to 3600 seconds"), "{error}");
        }
    }
}
