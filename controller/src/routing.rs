//! From apps, hostnames and pods to the route table. Pure: the same world gives the same table.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use fairway_api::{
    ids::{AppId, ReleaseId},
    names::{Hostname, ProcessType},
    pods::PORT_DEFAULT,
    routes::{Endpoint, Route, Service},
};
use fairway_scheduler::snapshot::{App, Snapshot};

/// What a route needs to know that the planner does not.
#[derive(Debug, Default)]
pub struct Edge {
    /// Every claimed hostname and whose it is.
    pub hostnames: BTreeMap<Hostname, AppId>,
    /// Apps that show the maintenance page.
    pub maintenance: BTreeMap<AppId, bool>,
    /// The port that a release's web process listens on.
    pub ports: HashMap<ReleaseId, u16>,
}

/// One route per hostname. An app without a ready pod keeps its routes, with no endpoint: the
/// router answers 503 and not 404, since the app exists.
pub fn routes(snapshot: &Snapshot, edge: &Edge) -> Vec<Route> {
    let mut services: HashMap<AppId, Service> = HashMap::new();
    edge.hostnames
        .iter()
        .filter_map(|(hostname, app)| {
            let app = snapshot.apps.get(app)?;
            let service = services.entry(app.id).or_insert_with(|| service(app, edge));
            Some(Route {
                hostname: hostname.clone(),
                path: "/".into(),
                service: service.clone(),
            })
        })
        .collect()
}

fn service(app: &App, edge: &Edge) -> Service {
    Service {
        app: app.id,
        app_name: app.name.clone(),
        process_type: ProcessType::web(),
        maintenance: edge.maintenance.get(&app.id).copied().unwrap_or(false),
        endpoints: endpoints(app, edge),
    }
}

fn endpoints(app: &App, edge: &Edge) -> Vec<Endpoint> {
    let routed = app.pods.values().filter(|pod| app.routes_to(pod));
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
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
