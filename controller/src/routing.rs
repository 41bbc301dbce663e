//! From apps, hostnames and pods to the route table. Pure: the same world gives the same table.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use fairway_api::{
    ids::{AppId, ReleaseId},
    names::{Hostname, ProcessType},
    pods::PORT_DEFAULT,
    routes::{Canary, Endpoint, Route, Service},
};
use fairway_scheduler::snapshot::App;

use crate::features;

/// The table in the making: what each app adds to it.
#[derive(Debug, Default)]
pub struct Routing {
    /// Every claimed hostname and whose it is.
    hostnames: BTreeMap<Hostname, AppId>,
    services: HashMap<AppId, Service>,
    /// Something is not as it was in the table that was made last.
    changed: bool,
}

/// What a route needs to know of an app that the planner does not.
#[derive(Debug, Default)]
pub struct Edge {
    pub hostnames: Vec<Hostname>,
    /// It shows the maintenance page.
    pub maintenance: bool,
    /// Requests bring pods back when there are none.
    pub on_demand: bool,
    /// What the pods' words for cookies are made with, with session affinity.
    pub affinity: Option<Vec<u8>>,
    /// The port that a release's web process listens on.
    pub ports: HashMap<ReleaseId, u16>,
}

impl Routing {
    /// Notes where an app's requests go now.
    pub fn set(&mut self, app: &App, edge: &Edge) {
        let canary = app.canary();
        let service = Service {
            app: app.id,
            app_name: app.name.clone(),
            process_type: ProcessType::web(),
            maintenance: edge.maintenance,
            endpoints: endpoints(app, edge, |release| {
                canary.is_none_or(|it| it.release != release)
            }),
            canary: canary.map(|canary| Canary {
                deployment: canary.deployment,
                step: canary.step,
                percent: canary.percent,
                endpoints: endpoints(app, edge, |release| release == canary.release),
            }),
            on_demand: edge.on_demand && app.current.is_some(),
        };
        if self.services.get(&app.id) != Some(&service) {
            self.services.insert(app.id, service);
            self.changed = true;
        }
    }

    /// Notes which hostnames are an app's, in the place of those it had.
    pub fn claim(&mut self, app: AppId, before: &[Hostname], now: &[Hostname]) {
        if before == now {
            return;
        }
        for hostname in before {
            // It may have gone to another app since.
            if self.hostnames.get(hostname) == Some(&app) {
                self.hostnames.remove(hostname);
            }
        }
        let claimed = now.iter().map(|hostname| (hostname.clone(), app));
        self.hostnames.extend(claimed);
        self.changed = true;
    }

    /// Forgets an app.
    pub fn remove(&mut self, app: AppId, hostnames: &[Hostname]) {
        self.claim(app, hostnames, &[]);
        self.services.remove(&app);
    }

    /// True when the table may be another one than at the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// One route per hostname. An app without a ready pod keeps its routes, with no endpoint: the
    /// router answers 503 and not 404, since the app exists.
    pub fn routes(&self) -> Vec<Route> {
        self.hostnames
            .iter()
            .filter_map(|(hostname, app)| {
                Some(Route {
                    hostname: hostname.clone(),
                    path: "/".into(),
                    service: self.services.get(app)?.clone(),
                })
            })
            .collect()
    }
}

fn endpoints(app: &App, edge: &Edge, of: impl Fn(ReleaseId) -> bool) -> Vec<Endpoint> {
    let routed = (app.pods.values()).filter(|pod| app.routes_to(pod) && of(pod.release));
    routed
        .filter_map(|pod| {
            let address = pod.status.as_ref()?.address?;
            let port = edge
                .ports
                .get(&pod.release)
                .copied()
                .unwrap_or(PORT_DEFAULT);
            let address = SocketAddr::new(address, port);
            Some(Endpoint {
                pod: pod.id,
                name: pod.name.clone(),
                address,
                affinity: (edge.affinity.as_ref()).map(|secret| features::word(secret, pod.id)),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
