//! Where pods may run: what a process type asks of machines ([`Placement`]), and what a machine
//! holds against pods ([`Taint`]).
//!
//! Everything here is parsed where it enters and is bounded, so that a scheduler that looks at
//! thousands of machines never meets a value that makes it slow or wrong. Expressions, taints and
//! tolerations are one short text each on the wire, the same one that people type.

mod expression;
mod taint;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

pub use self::{
    expression::{Condition, Expression, InvalidExpression},
    taint::{InvalidTaint, Taint, TaintEffect, Toleration},
};
use crate::{
    apps::AppRef,
    names::{AppName, Architecture, LabelKey, LabelValue, ProcessType},
};

/// A machine's labels.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// The label that names the zone of a machine: what fails together, such as a rack or a data
/// centre. Machines without it are one zone.
pub const ZONE_LABEL: &str = "zone";
/// The label that names the pool of a machine: what an operator keeps apart for a purpose.
pub const POOL_LABEL: &str = "pool";

/// The label that lets a machine run a router, with the value [`ROUTER_LABEL_YES`]. It counts only if
/// an operator set it: a router sees every app's requests.
pub const ROUTER_LABEL: &str = "router";
/// The value of [`ROUTER_LABEL`] that counts.
pub const ROUTER_LABEL_YES: &str = "yes";

/// The most label expressions, required and preferred each.
pub const EXPRESSIONS_MAX: usize = 16;
/// The most entries of each list of [`Placement`] other than expressions.
pub const RULES_MAX: usize = 8;
/// The most pods that one failure domain may have more than another.
pub const MAX_SKEW_MAX: u32 = 100;
/// The most labels of a machine.
pub const LABELS_MAX: usize = 64;
/// The most taints of a machine.
pub const TAINTS_MAX: usize = 16;

/// What the pods of one process type ask of the machines that run them (app.json
/// `formation.TYPE.placement`, `PATCH /apps/{app}/formation/{type}`).
///
/// It is read when a pod is placed. Pods that run stay where they are when it changes; they follow
/// it when they are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Placement {
    /// Labels that a machine must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Expression>,
    /// Labels that make a machine the better one; the more of them it has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<Expression>,
    /// The pool that a machine must be of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<LabelValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<NodeKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// How evenly the pods stand over zones and machines. What is not said here is left to the
    /// cluster's policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
    /// Pods to be close to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Neighbour>,
    /// Pods to stay away from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<Neighbour>,
    /// Taints that these pods bear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerate: Vec<Toleration>,
    #[serde(skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// How many pods of the type may be missing at once because the platform moves them of its own
    /// accord (for a pod of higher priority, to rebalance). `None`: a quarter, at least one. 0: it
    /// never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<u32>,
}

/// Stands for a process type where one-off commands may run.
pub const ONE_OFF_PLACEMENT: &str = "one-off";
/// The same for pods of jobs and of batches.
pub const JOB_PLACEMENT: &str = "job";

/// `GET /apps/{app}/placement/{type}`: where the pods of a process type may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypePlacement {
    pub app: AppRef,
    /// Also [`ONE_OFF_PLACEMENT`] and [`JOB_PLACEMENT`].
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    pub placement: Placement,
    pub source: PlacementSource,
    /// Why no machine of the cluster, as it is now, could run such a pod even if nothing else ran:
    /// a line per machine or reason.
    pub nowhere: Option<String>,
}

/// Who says where pods run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementSource {
    /// Somebody, for the app; app.json does not count.
    App,
    /// The release's app.json.
    Release,
    /// Nobody.
    Default,
}

/// What a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    Vm,
    BareMetal,
}

/// What fails together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Domain {
    /// Machines with the same label [`ZONE_LABEL`].
    Zone,
    /// One machine.
    Node,
}

/// Whether a pod rather waits than break a rule.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Strictness {
    /// Keep the rule as well as it goes.
    #[default]
    Soft,
    /// A pod that would break the rule is not placed.
    Hard,
}

/// Keeps the numbers of pods in each domain close to each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Spread {
    pub by: Domain,
    /// The most that one domain may have more than the one with the fewest, 1 to
    /// [`MAX_SKEW_MAX`].
    #[serde(default = "one")]
    pub max_skew: u32,
    #[serde(default)]
    pub mode: Strictness,
}

/// Pods of one process type of an app, as seen from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Neighbour {
    /// `None`: the same app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    pub by: Domain,
    #[serde(default)]
    pub mode: Strictness,
}

/// Who goes first when there is not room for all. A pod may take the place of pods of strictly
/// lower priority.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Fills what is left over: batch work, previews.
    Low,
    #[default]
    Normal,
    High,
    /// What the others need to work.
    Critical,
}

/// A [`Placement`] that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlacement {
    /// More entries than a list may have.
    #[error("{list} has {count} entries; it may have at most {most}")]
    TooMany {
        list: &'static str,
        count: usize,
        most: usize,
    },
    #[error("a max-skew of {0} is out of range; it must be from 1 to {MAX_SKEW_MAX}")]
    Skew(u32),
    #[error("spread has two rules for the {0}; keep one")]
    SpreadTwice(Domain),
    /// No machine can satisfy both.
    #[error("{one} and {other} exclude each other: no machine can satisfy both")]
    Contradiction { one: String, other: String },
}

impl Placement {
    /// Checks limits, and that the rules do not exclude each other.
    pub fn check(&self) -> Result<(), InvalidPlacement> {
        at_most("require", self.require.len(), EXPRESSIONS_MAX)?;
        at_most("prefer", self.prefer.len(), EXPRESSIONS_MAX)?;
        at_most("spread", self.spread.len(), RULES_MAX)?;
        at_most("near", self.near.len(), RULES_MAX)?;
        at_most("apart", self.apart.len(), RULES_MAX)?;
        at_most("tolerate", self.tolerate.len(), RULES_MAX)?;
        for (index, spread) in self.spread.iter().enumerate() {
            if !(1..=MAX_SKEW_MAX).contains(&spread.max_skew) {
                return Err(InvalidPlacement::Skew(spread.max_skew));
            }
            if self.spread[..index].iter().any(|it| it.by == spread.by) {
                return Err(InvalidPlacement::SpreadTwice(spread.by));
            }
        }
        self.check_labels()?;
        self.check_neighbours()
    }

    /// What a machine's labels must be: `require`, and the pool as one expression more.
    pub fn required(&self) -> impl Iterator<Item = Expression> {
        let pool = self.pool.as_ref().map(|pool| {
            let key = POOL_LABEL.parse().expect("a label key, as a test says");
            Expression {
                key,
                condition: Condition::In([pool.clone()].into()),
            }
        });
        self.require.clone().into_iter().chain(pool)
    }

    fn check_labels(&self) -> Result<(), InvalidPlacement> {
        let required: Vec<Expression> = self.required().collect();
        for (index, one) in required.iter().enumerate() {
            for other in &required[index + 1..] {
                if one.excludes(other) {
                    return Err(InvalidPlacement::Contradiction {
                        one: one.to_string(),
                        other: other.to_string(),
                    });
                }
            }
        }
        Ok(())
    }

    fn check_neighbours(&self) -> Result<(), InvalidPlacement> {
        let hard = |of: &&Neighbour| of.mode == Strictness::Hard;
        for near in self.near.iter().filter(hard) {
            for apart in self.apart.iter().filter(hard) {
                let same = near.app == apart.app && near.process_type == apart.process_type;
                // Far from a zone is far from each machine in it; beside it on one machine is in
                // its zone.
                if same && (near.by == apart.by || apart.by == Domain::Zone) {
                    return Err(InvalidPlacement::Contradiction {
                        one: format!("near {near}"),
                        other: format!("apart from {apart}"),
                    });
                }
            }
        }
        Ok(())
    }
}

fn at_most(list: &'static str, count: usize, most: usize) -> Result<(), InvalidPlacement> {
    if count > most {
        return Err(InvalidPlacement::TooMany { list, count, most });
    }
    Ok(())
}

fn one() -> u32 {
    1
}

impl Priority {
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

impl fmt::Display for Placement {
    /// All of it in one line, as flags of `app placement:set` say it; `anywhere` for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said: Vec<String> = vec![];
        said.extend(self.require.iter().map(|it| format!("require {it}")));
        said.extend(self.prefer.iter().map(|it| format!("prefer {it}")));
        said.extend(self.pool.iter().map(|it| format!("pool {it}")));
        said.extend(self.kind.iter().map(|it| format!("kind {it}")));
        said.extend(
            self.architecture
                .iter()
                .map(|it| format!("architecture {it}")),
        );
        said.extend(self.spread.iter().map(|it| format!("spread {it}")));
        said.extend(self.near.iter().map(|it| format!("near {it}")));
        said.extend(self.apart.iter().map(|it| format!("apart from {it}")));
        said.extend(self.tolerate.iter().map(|it| format!("tolerate {it}")));
        if !self.priority.is_normal() {
            said.push(format!("priority {}", self.priority));
        }
        let most = self.max_unavailable.iter();
        said.extend(most.map(|it| format!("max-unavailable {it}")));
        match said.is_empty() {
            true => f.write_str("anywhere"),
            false => f.write_str(&said.join(", ")),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {}", self.by)?;
        if self.max_skew != 1 {
            write!(f, " within {}", self.max_skew)?;
        }
        f.write_str(self.mode.suffix())
    }
}

impl Strictness {
    fn suffix(self) -> &'static str {
        match self {
            Self::Soft => "",
            Self::Hard => " (hard)",
        }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(app) = &self.app {
            write!(f, "{app}/")?;
        }
        write!(f, "{} by {}", self.process_type, self.by)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zone => "zone",
            Self::Node => "node",
        })
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vm => "vm",
            Self::BareMetal => "bare-metal",
        })
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

#[cfg(test)]
mod tests;
