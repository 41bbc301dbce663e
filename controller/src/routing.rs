//! From apps, hostnames and pods to the route table. Pure: the same world gives the same table.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use fairway_api::{
    ids::{AppId, ReleaseId},
    names::{Hostname, ProcessType},
    pods::PORT_DEFAULT,
    routes::{Canary, Endpoint, Route, RouteKey, Service},
};
use fairway_scheduler::snapshot::App;

use crate::{features, routers::table::Touched};

/// The path of each route: a hostname belongs to one app as a whole.
const ROOT: &str = "/";

/// The table in the making: what each app adds to it.
#[derive(Debug, Default)]
pub struct Routing {
    /// Every claimed hostname and whose it is.
    hostnames: BTreeMap<Hostname, AppId>,
    services: HashMap<AppId, Service>,
    /// Hostnames whose routes may not be as they were when they were last asked for.
    touched: BTreeSet<Hostname>,
    /// They were asked for before.
    asked: bool,
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
            self.touched.extend(edge.hostnames.iter().cloned());
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
        self.touched.extend(before.iter().chain(now).cloned());
    }

    /// Forgets an app.
    pub fn remove(&mut self, app: AppId, hostnames: &[Hostname]) {
        self.claim(app, hostnames, &[]);
        self.services.remove(&app);
    }

    /// What may be different in the table since the last call; at the first everything.
    pub fn take_touched(&mut self) -> Touched {
        let is_whole = !std::mem::replace(&mut self.asked, true);
        let touched = std::mem::take(&mut self.touched);
        let routes = touched.into_iter().map(|hostname| {
            let route = self.route(&hostname);
            let path = ROOT.into();
            (RouteKey { hostname, path }, route)
        });
        Touched {
            is_whole,
            routes: routes.collect(),
        }
    }

    /// One route per hostname. An app without a ready pod keeps its routes, with no endpoint: the
    /// router answers 503 and not 404, since the app exists.
    fn route(&self, hostname: &Hostname) -> Option<Route> {
        let app = self.hostnames.get(hostname)?;
        Some(Route {
            hostname: hostname.clone(),
            path: ROOT.into(),
            service: self.services.get(app)?.clone(),
        })
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
