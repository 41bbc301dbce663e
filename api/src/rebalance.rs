//! Moving pods that run to better machines, for operators (`/rebalance`). Ours.

use serde::{Deserialize, Serialize};

use crate::{
    apps::AppRef,
    names::{NodeName, ProcessType},
};

/// `GET /rebalance`: what would be moved; `POST` asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebalance {
    /// It is done all the time, by the operator's setting.
    pub enabled: bool,
    /// In their order; a few are under way at a time, and it may be that not all are needed.
    pub moves: Vec<PlannedMove>,
}

/// One pod that had better run elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    pub app: AppRef,
    /// `web.1`
    pub pod: String,
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    pub from: NodeName,
    pub to: NodeName,
    pub why: MoveGain,
}

/// What a move makes better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveGain {
    /// Its machine no longer is what its placement requires.
    Rule,
    /// Its type stands more evenly over zones and machines.
    Spread,
    /// A full machine gets emptier.
    Load,
}
