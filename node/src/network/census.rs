//! Who has which address: pure. The plan knows the pods of other machines, the board those of this
//! one, and sooner than any plan could.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use fairway_api::{
    ids::{AppId, PodId},
    names::{AppName, ProcessType},
    network::{Admission, DNS_OWN_APP, ExternalName, NetworkPlan},
    pods::PodSpec,
};

use crate::board::Board;

/// Every app that matters on this machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) apps: BTreeMap<AppId, Members>,
    by_address: BTreeMap<Ipv4Addr, AppId>,
}

/// One app and its pods.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) name: AppName,
    pub(crate) admits: Vec<Admission>,
    pub(crate) external: Vec<ExternalName>,
    pub(crate) pods: Vec<Member>,
}

/// One pod that has an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) address: Ipv4Addr,
    pub(crate) process_type: ProcessType,
    /// `web.1`
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
    /// Its name is answered with its address.
    pub(crate) serves: bool,
    /// It runs on this machine.
    pub(crate) local: bool,
}

impl Census {
    /// Brings plan and board together. `specs` are those of all pods on the board that are known.
    pub(crate) fn take(
        plan: &NetworkPlan,
        specs: &HashMap<PodId, Arc<PodSpec>>,
        board: &Board,
    ) -> Self {
        let mut census = Self::default();
        let mut serving = HashMap::new();
        for app in &plan.apps {
            let mut pods = vec![];
            for place in &app.pods {
                match place.address {
                    Some(address) if !plan.subnet.contains(address) => pods.push(Member {
                        address,
                        process_type: place.process_type.clone(),
                        name: place.name.clone(),
                        port: place.port,
                        serves: place.serves,
                        local: false,
                    }),
                    _ => drop(serving.insert(place.pod, place.serves)),
                }
            }
            let members = Members {
                name: app.name.clone(),
                admits: app.admits.clone(),
                external: app.external.clone(),
                pods,
            };
            census.apps.insert(app.app, members);
        }
        for (id, record) in &board.pods {
            let (Some(spec), Some(IpAddr::V4(address))) = (specs.get(id), record.status.address)
            else {
                continue;
            };
            let app = census.apps.entry(spec.app).or_insert_with(|| Members {
                name: spec.app_name.clone(),
                admits: vec![],
                external: vec![],
                pods: vec![],
            });
            let wanted = serving.get(id).copied().unwrap_or(false);
            app.pods.push(Member {
                address,
                process_type: spec.process_type.clone(),
                name: spec.name.clone(),
                port: spec.requests_port(),
                serves: wanted && record.status.is_ready(),
                local: true,
            });
        }
        census.index();
        census
    }

    fn index(&mut self) {
        for (id, app) in &mut self.apps {
            app.pods.sort_by_key(|pod| pod.address);
            let addresses = app.pods.iter().map(|pod| (pod.address, *id));
            self.by_address.extend(addresses);
        }
    }

    /// Whose pod has this address.
    pub(crate) fn app_at(&self, address: Ipv4Addr) -> Option<AppId> {
        self.by_address.get(&address).copied()
    }

    /// The app of this name, if pods of `asking` may connect to it.
    pub(crate) fn reachable(&self, asking: AppId, name: &str) -> Option<(AppId, &Members)> {
        if name == DNS_OWN_APP {
            return self.apps.get(&asking).map(|app| (asking, app));
        }
        let mut named = self
            .apps
            .iter()
            .filter(|(_, app)| app.name.as_str() == name);
        named
            .find(|(id, app)| **id == asking || app.admits.iter().any(|it| it.app == asking))
            .map(|(id, app)| (*id, app))
    }
}

#[cfg(test)]
pub(crate) mod tests;
