//! Routing: whole orders to all routers ([`RouteTable`]) and what each reports back.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, PodId},
    names::{AppName, Hostname, ProcessType, RouterName},
};

/// Where every request goes.
///
/// `GET /internal/routers/{router}/table?after=GENERATION` answers 200 with a newer table, or 204
/// after [`crate::nodes::LONG_POLL_SECS`]. A router refuses an older generation.
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
    /// Ready pods only. Empty: the router answers 503.
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
}
