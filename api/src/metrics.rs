//! What pods use and how requests go, measured over the last seconds.

use serde::{Deserialize, Serialize};

use crate::{ids::PodId, names::ProcessType};

/// What one pod uses, as its agent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodUsage {
    pub pod: PodId,
    /// Thousandths of a core, averaged since the report before.
    pub cpu_millis: u32,
    /// Without what the kernel would give back at once.
    pub memory_bytes: u64,
}

/// `GET /apps/{app}/metrics`: one process type. What is not known is null, and so are requests of
/// types that get none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypeMetrics {
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    /// Wanted pods, and those that are up.
    pub quantity: u32,
    pub up: u32,
    /// Mean per pod, in percent of its size; the same for memory.
    pub cpu_percent: Option<f64>,
    pub memory_percent: Option<f64>,
    /// Requests per second, and those that failed.
    pub rps: Option<f64>,
    pub errors: Option<f64>,
    /// The time that 95 % of requests stayed below, in milliseconds; null without requests.
    pub p95_ms: Option<f64>,
    /// Requests open on average.
    pub open: Option<f64>,
    pub pods: Vec<PodMetrics>,
    /// Requests over the last minutes, oldest first, a point every 5 s.
    pub history: Vec<MetricsPoint>,
}

/// One pod of a process type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodMetrics {
    /// `web.1`.
    pub name: String,
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub memory_percent: Option<f64>,
}

/// One moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricsPoint {
    pub rps: f32,
    pub p95_ms: f32,
}
