//! Routing: the orders to all routers ([`RouteTable`]) and what each reports back.

mod book;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::book::{
    NotTaken, RouteBook, RouteChanges, RouteKey, RouteUpdate, RoutesDigest, Whole,
};
use crate::{
    ids::{AppId, DeploymentId, PodId},
    names::{AppName, Hostname, ProcessType, RouterName},
};

/// Where every request goes.
///
/// `GET /internal/routers/{router}/table?after=GENERATION` answers 200 with a newer table, or 204
/// after [`crate::nodes::LONG_POLL_SECS`]; with `&changes=true` it may answer with what has changed
/// since ([`RouteUpdate`]). A router refuses an older generation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows with each change; 0 is the empty table of a router that has none yet.
    pub generation: u64,
    pub routes: Vec<Route>,
}

/// One hostname's service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub hostname: Hostname,
    /// A path prefix that starts with `/`; the longest match wins.
    pub path: String,
    pub service: Service,
}

/// The stable name of (app, process type) and the pods behind it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub app: AppId,
    pub app_name: AppName,
    pub process_type: ProcessType,
    /// Answer with the maintenance page.
    pub maintenance: bool,
    /// Ready pods only. Empty: the router answers 503, or holds requests if the service is on
    /// demand.
    pub endpoints: Vec<Endpoint>,
    /// It may have no pods because nobody asked for anything: the router then says so by
    /// [`WakeNotice`], and holds requests until there is a pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_demand: bool,
    /// A share of the requests goes elsewhere, for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// The pods of a release that is tried with a share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    pub deployment: DeploymentId,
    /// Counts begin anew with each step.
    pub step: u32,
    /// Share of the requests, 1 to 99. If one side has no pod left to try, the other gets all.
    pub percent: u8,
    pub endpoints: Vec<Endpoint>,
}

/// The address of one ready pod. A pod that drains is simply not listed any more; the router
/// finishes what it has begun and reports the count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub pod: PodId,
    /// `web.1`, for access lines.
    pub name: String,
    pub address: SocketAddr,
    /// With session affinity: the word by which a client's cookie asks for this pod. It tells
    /// nothing of the pod and cannot be guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
}

/// `POST /internal/routers/{router}/status`: after each table swap, after the last request to a
/// pod that left the table ended, and at least every [`crate::nodes::HEARTBEAT_SECS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    pub router: RouterName,
    /// Of the table in use: this is the acknowledgement.
    pub generation: u64,
    /// Requests and upgraded connections still open to pods that the table no longer names. A pod
    /// that is absent here and in the table has drained.
    pub draining: BTreeMap<PodId, u32>,
    /// Requests by app. An app that is absent had none since the last report.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traffic: BTreeMap<AppId, Traffic>,
    /// How both sides did in the canaries that the table names, counted since this router saw
    /// their present step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub canaries: BTreeMap<DeploymentId, CanaryTally>,
}

/// How both sides of a canary did in one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryTally {
    pub step: u32,
    pub stable: Tally,
    pub canary: Tally,
}

/// Requests to one app since this router started, and those that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    #[serde(flatten)]
    pub tally: Tally,
    /// Requests and upgraded connections that have not ended, held ones included.
    pub open: u32,
    /// Those that wait for the app's first pod.
    pub held: u32,
    /// The time that requests were open, in all; of open ones up to now.
    pub open_ms: u64,
}

/// `POST /internal/routers/{router}/wake`: these apps have requests and no pod. Sent at once, and
/// again as long as requests are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeNotice {
    pub apps: BTreeSet<AppId>,
}

/// Upper bounds of the latencies that are told apart, in milliseconds; what is above the last one
/// is counted behind it.
pub const LATENCY_BOUNDS_MS: [u32; 12] = [
    5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240,
];
/// Counters of a latency histogram.
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS_MS.len() + 1;

/// The counter of a latency in a histogram.
pub fn latency_bucket(latency: Duration) -> usize {
    let millis = latency.as_millis();
    LATENCY_BOUNDS_MS.partition_point(|bound| u128::from(*bound) < millis)
}

/// How requests to a group of pods went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Tries that were answered or that failed at the pod.
    pub requests: u64,
    /// Those that were answered 5xx, refused, broken off or not answered in time.
    pub errors: u64,
    /// Answers by the time from the request to the head of its answer.
    pub latencies: [u64; LATENCY_BUCKETS],
}

impl Tally {
    /// Adds another router's counts.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        for (mine, others) in self.latencies.iter_mut().zip(other.latencies) {
            *mine = mine.saturating_add(others);
        }
    }
}
