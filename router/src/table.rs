//! The route table in the form that requests are matched against. Pure: it is compiled from the
//! one before and what has changed ([`RouteChanges`]), and then only read. What has not changed is
//! shared between the two.
//!
//! Hosts match exactly, paths by their longest prefix that ends at a `/`. The path is compared as
//! the client wrote it: `..` and percent escapes are not resolved here, since the pod gets the same
//! bytes and has to judge them anyway; a path route is a way to share a hostname, no access rule.

use std::{borrow::Cow, collections::HashMap, net::SocketAddr, sync::Arc};

use fairway_api::{
    ids::{AppId, DeploymentId, PodId},
    routes::{self, RouteChanges, RouteKey},
};

use crate::{
    canary::{Counts, Sides},
    drain::Load,
    traffic::{Meter, Meters},
};

/// The longest hostname in DNS, in bytes.
const HOST_BYTES_MAX: usize = 253;

/// One generation of routes, ready to be searched.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) generation: u64,
    /// Per hostname the path routes, longest prefix first.
    hosts: HashMap<Arc<str>, Vec<Arc<PathRoute>>>,
}

#[derive(Debug)]
struct PathRoute {
    /// As the order names it.
    path: Box<str>,
    service: Service,
}

/// What answers for one hostname and path.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) app: AppId,
    pub(crate) maintenance: bool,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    /// Requests wait for a pod when there is none.
    pub(crate) on_demand: bool,
    pub(crate) meter: Arc<Meter>,
    pub(crate) canary: Option<Canary>,
}

/// Pods that get a share of the requests.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(crate) deployment: DeploymentId,
    pub(crate) percent: u8,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
}

/// One ready pod, with the load that all workers and all generations share.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) pod: PodId,
    pub(crate) name: Box<str>,
    pub(crate) address: SocketAddr,
    pub(crate) load: Arc<Load>,
    /// What a cookie says that asks for it.
    pub(crate) affinity: Option<Box<str>>,
    /// Where its answers are counted, in a canary.
    pub(crate) counts: Option<Arc<Counts>>,
}

impl Table {
    /// Compiles the next generation. `load_of` hands out the one [`Load`] of each pod, `sides_of`
    /// the counts of each canary's step.
    pub(crate) fn with(
        &self,
        changes: &RouteChanges,
        meters: &Meters,
        mut load_of: impl FnMut(PodId) -> Arc<Load>,
        mut sides_of: impl FnMut(DeploymentId, u32) -> Arc<Sides>,
    ) -> Self {
        let mut compiled = |endpoints: &[routes::Endpoint], counts: Option<&Arc<Counts>>| {
            let endpoints = endpoints.iter().map(|endpoint| {
                Arc::new(Endpoint {
                    pod: endpoint.pod,
                    name: endpoint.name.as_str().into(),
                    address: endpoint.address,
                    load: load_of(endpoint.pod),
                    affinity: endpoint.affinity.as_deref().map(Into::into),
                    counts: counts.cloned(),
                })
            });
            endpoints.collect()
        };
        let mut hosts = self.hosts.clone();
        for (key, route) in &changes.routes {
            let host = key.hostname.as_str();
            let mut routes = hosts.remove(host).unwrap_or_default();
            routes.retain(|it| *it.path != *key.path);
            if let Some(route) = route {
                let order = &route.service;
                let sides =
                    (order.canary.as_ref()).map(|it| (it, sides_of(it.deployment, it.step)));
                let stable = sides.as_ref().map(|(_, sides)| &sides.stable);
                let service = Service {
                    app: order.app,
                    maintenance: order.maintenance,
                    endpoints: compiled(&order.endpoints, stable),
                    canary: sides.as_ref().map(|(canary, sides)| Canary {
                        deployment: canary.deployment,
                        percent: canary.percent,
                        endpoints: compiled(&canary.endpoints, Some(&sides.canary)),
                    }),
                    on_demand: order.on_demand,
                    meter: meters.of(order.app),
                };
                let path = key.path.as_str().into();
                routes.push(Arc::new(PathRoute { path, service }));
                // `/api` and `/api/` are the same prefix; the shorter name counts.
                routes.sort_by_key(|it| (std::cmp::Reverse(it.prefix().len()), it.path.len()));
            }
            if !routes.is_empty() {
                hosts.insert(host.into(), routes);
            }
        }
        Self {
            generation: changes.generation,
            hosts,
        }
    }

    /// The service for a normalised host and a path as it stands in the request.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Service> {
        // `OPTIONS *` is about the server as a whole: whoever has the root.
        let path = if path.starts_with('/') { path } else { "/" };
        let routes = self.hosts.get(host)?;
        routes
            .iter()
            .find(|route| covers(route.prefix(), path))
            .map(|route| &route.service)
    }

    /// What stands behind all routes; behind a route each, so one may come twice.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.hosts.values().flatten().map(|route| &route.service)
    }

    /// The pods that these routes name, as often as they do.
    pub(crate) fn endpoints_of<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a RouteKey>,
    ) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        let routes = keys.filter_map(|key| {
            let routes = self.hosts.get(key.hostname.as_str())?;
            routes.iter().find(|route| *route.path == *key.path)
        });
        routes.flat_map(|route| {
            let canary = route.service.canary.iter().flat_map(|it| &it.endpoints);
            route.service.endpoints.iter().chain(canary)
        })
    }
}

impl PathRoute {
    /// Without a final `/`, so that the root is the empty text.
    fn prefix(&self) -> &str {
        self.path.trim_end_matches('/')
    }
}

/// True if `path` is `prefix` or lies beneath it: `/api` covers `/api/x` and not `/apix`.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A host as the table knows it: without port and final dot, in lower case. `None` if it cannot be
/// a host at all, which is the client's mistake.
pub(crate) fn normalise_host(host: &str) -> Option<Cow<'_, str>> {
    let name = without_port(host)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > HOST_BYTES_MAX {
        return None;
    }
    let mut upper = false;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {}
            // Of an IPv6 address; such a host finds no route but is well formed.
            b':' | b'[' | b']' if name.starts_with('[') => {}
            b'A'..=b'Z' => upper = true,
            _ => return None,
        }
    }
    Some(if upper {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

fn without_port(host: &str) -> Option<&str> {
    let (name, port) = if host.starts_with('[') {
        let end = host.find(']')? + 1;
        let rest = &host[end..];
        (
            &host[..end],
            if rest.is_empty() {
                ""
            } else {
                rest.strip_prefix(':')?
            },
        )
    } else {
        host.split_once(':').unwrap_or((host, ""))
    };
    port.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(name)
}

#[cfg(test)]
mod tests;
