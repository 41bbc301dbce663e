//! What all routers get, and what each reports.

use fairway_api::{
    names::RouterName,
    routes::{RouteTable, RouterStatus},
};

use crate::{observed::Reports, orders::Published};

/// The routers of this platform.
#[derive(Debug, Default)]
pub struct Routers {
    /// The one table for all of them.
    pub table: Published<RouteTable>,
    /// Acknowledgements, and requests that still hold on to pods.
    pub reports: Reports<RouterName, RouterStatus>,
}
