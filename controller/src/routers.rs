//! What all routers get, and what each reports.

pub mod table;

use std::collections::BTreeMap;

use fairway_api::{
    names::{NodeName, RouterName},
    routes::RouterStatus,
};

use self::table::Table;
use crate::observed::Reports;

/// The routers of this platform.
#[derive(Debug, Default)]
pub struct Routers {
    /// The one table for all of them.
    pub table: Table,
    /// Acknowledgements, and requests that still hold on to pods.
    pub reports: Reports<RouterName, RouterStatus>,
}

impl Routers {
    /// Counts a router from the moment in which it asks for a table, and not only from its first
    /// report: it may send requests as soon as it has one. True when it was not known before.
    pub fn meet(&self, router: &RouterName, generation: u64) -> bool {
        self.reports.note_first(router.clone(), || RouterStatus {
            router: router.clone(),
            generation,
            draining: BTreeMap::new(),
            canaries: BTreeMap::new(),
            traffic: BTreeMap::new(),
        })
    }

    /// Forgets the router of a machine that was removed: nobody waits for it any more.
    pub fn forget(&self, machine: &NodeName) {
        if let Ok(router) = machine.as_str().parse() {
            self.reports.forget(&router);
        }
    }
}
