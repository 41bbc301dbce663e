//! Which machine has which addresses of the pod network, and what each is told of the others. Pure.
//!
//! A machine whose agent can make the network gets a subnet when it first reports, for good. What
//! it is told is cut to what its pods have to do with: their apps, those that admit them, those
//! that they admit.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use fairway_api::{
    ids::{AppId, ReleaseId},
    names::NodeName,
    network::{
        Admission, AppNetwork, ExternalName, NODE_SUBNET_BITS, NetworkPlan, NetworkStatus, Peer,
        PodPlace, Subnet,
    },
    pods::{PORT_DEFAULT, PodStatus},
};
use fairway_scheduler::snapshot::{App, Pod, PodIntent, PodKind};

use crate::store::network::{PodNetworkRow, SubnetRow};

/// Where a pod network is looked for: private ranges that few companies use as a whole, each with
/// room for 8,192 or 1,024 machines.
const CANDIDATES: [&str; 5] = [
    "10.64.0.0/11",
    "10.96.0.0/11",
    "10.32.0.0/11",
    "10.160.0.0/11",
    "172.20.0.0/14",
];
/// Bits of a VXLAN network identifier.
const VNI_BITS: u32 = 24;

/// What an app lets in, and what it calls things outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    pub admits: Vec<Admission>,
    pub external: Vec<ExternalName>,
}

/// Who has what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    pub pods: Option<PodNetworkRow>,
    pub machines: BTreeMap<NodeName, SubnetRow>,
}

/// What an operator decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The network of all pods; `None` lets the first machine's routes decide.
    pub pods: Option<Subnet>,
    pub vxlan_port: u16,
}

/// What of a report is news for the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The same as before, or nothing that concerns the book.
    Known,
    /// To be stored.
    New {
        pods: PodNetworkRow,
        machine: SubnetRow,
    },
    /// There is no room for this machine, and why, for people.
    Refused(String),
}

impl Book {
    /// What a machine's report changes. `seed` is any number that another cluster does not have.
    pub fn hear(
        &self,
        node: &NodeName,
        status: &NetworkStatus,
        choice: &Choice,
        seed: u32,
    ) -> Entry {
        if !status.can_join {
            return Entry::Known;
        }
        if let (Some(pods), Some(known)) = (self.pods, self.machines.get(node)) {
            if known.underlay == status.underlay || status.underlay.is_none() {
                return Entry::Known;
            }
            let machine = SubnetRow {
                underlay: status.underlay,
                ..known.clone()
            };
            return Entry::New { pods, machine };
        }
        let pods = match self.pods.or_else(|| choose(status, choice, seed)) {
            Some(pods) => pods,
            None => return Entry::Refused(no_network(status)),
        };
        match self.free(pods, status) {
            Some(subnet) => Entry::New {
                pods,
                machine: SubnetRow {
                    node: node.clone(),
                    subnet,
                    underlay: status.underlay,
                },
            },
            None => Entry::Refused(format!(
                "{} has no subnet left for this machine that it has no other route to; remove \
                 machines that are gone",
                pods.pods
            )),
        }
    }

    /// Writes down what [`Book::hear`] said.
    pub fn write(&mut self, pods: PodNetworkRow, machine: SubnetRow) {
        self.pods = Some(pods);
        self.machines.insert(machine.node.clone(), machine);
    }

    /// The first subnet that nobody has. Where to begin follows from the cluster's number, so that
    /// two clusters that share a machine do not meet.
    fn free(&self, network: PodNetworkRow, status: &NetworkStatus) -> Option<Subnet> {
        let taken: BTreeSet<Subnet> = self.machines.values().map(|it| it.subnet).collect();
        let count = network.pods.parts(NODE_SUBNET_BITS);
        let subnets = (0..count).filter_map(|number| {
            let number = (u64::from(number) + u64::from(network.vni)) % u64::from(count);
            network
                .pods
                .part(NODE_SUBNET_BITS, u32::try_from(number).ok()?)
        });
        let is_free = |subnet: &Subnet| {
            !taken.contains(subnet) && !status.routes.iter().any(|route| overlaps(*route, *subnet))
        };
        subnets.into_iter().find(is_free)
    }

    /// What a machine is told, without its apps; `None` for one without a subnet.
    pub fn plan(
        &self,
        node: &NodeName,
        choice: &Choice,
        host_ports: &[u16],
    ) -> Option<NetworkPlan> {
        let (network, own) = (self.pods?, self.machines.get(node)?);
        let peer = |machine: &SubnetRow| {
            let underlay: IpAddr = machine.underlay?;
            (machine.node != *node && own.underlay.is_some()).then(|| Peer {
                node: machine.node.clone(),
                subnet: machine.subnet,
                underlay,
            })
        };
        Some(NetworkPlan {
            pods: network.pods,
            subnet: own.subnet,
            vni: network.vni,
            vxlan_port: choice.vxlan_port,
            peers: self.machines.values().filter_map(peer).collect(),
            host_ports: host_ports.to_vec(),
            apps: vec![],
        })
    }
}

fn choose(status: &NetworkStatus, choice: &Choice, seed: u32) -> Option<PodNetworkRow> {
    let candidates = CANDIDATES.iter().filter_map(|it| it.parse().ok());
    let unused = |pods: &Subnet| !status.routes.iter().any(|route| overlaps(*route, *pods));
    let pods = choice
        .pods
        .or_else(|| candidates.into_iter().find(unused))?;
    // 0 is a valid number, but one that people take first.
    let vni = (seed % ((1 << VNI_BITS) - 1)) + 1;
    Some(PodNetworkRow { pods, vni })
}

/// A default route is no hindrance.
fn overlaps(route: Subnet, network: Subnet) -> bool {
    route.bits() > 0 && route.overlaps(network)
}

fn no_network(status: &NetworkStatus) -> String {
    let routes: Vec<_> = status.routes.iter().map(ToString::to_string).collect();
    format!(
        "each network that Fairway tries for its pods ({}) overlaps a route of the first machine \
         ({}); choose one with --pod-network",
        CANDIDATES.join(", "),
        routes.join(", ")
    )
}

/// One app as the pods of `node` have to know it.
pub fn app_network(
    app: &App,
    reach: &Reach,
    ports: &HashMap<ReleaseId, u16>,
    node: &NodeName,
) -> AppNetwork {
    let place = |pod: &Pod| {
        let here = pod.node.as_ref() == Some(node);
        let address = match pod.status.as_ref().and_then(|status| status.address) {
            Some(IpAddr::V4(address)) if !here => Some(address),
            _ => None,
        };
        // A pod elsewhere without an address is nowhere.
        (here || address.is_some()).then(|| PodPlace {
            pod: pod.id,
            process_type: pod.process_type.clone(),
            name: pod.name.clone(),
            address,
            port: pod.is_web().then(|| port(ports, pod)),
            serves: serves(app, pod, here),
        })
    };
    AppNetwork {
        app: app.id,
        name: app.name.clone(),
        admits: reach.admits.clone(),
        external: reach.external.clone(),
        pods: app.pods.values().filter_map(place).collect(),
    }
}

/// Its agent knows whether a pod of the same machine is ready.
fn serves(app: &App, pod: &Pod, here: bool) -> bool {
    pod.kind == PodKind::Service
        && pod.intent == PodIntent::Wanted
        && app.has_places(pod.release)
        && (here || pod.status.as_ref().is_some_and(PodStatus::is_ready))
}

fn port(ports: &HashMap<ReleaseId, u16>, pod: &Pod) -> u16 {
    ports.get(&pod.release).copied().unwrap_or(PORT_DEFAULT)
}

/// The apps that an app's machines have to know: itself, those that it admits, and those that admit
/// it.
pub fn related<'a>(
    app: AppId,
    reach: impl Fn(AppId) -> Option<&'a Reach>,
    admitted_to: &BTreeMap<AppId, BTreeSet<AppId>>,
) -> BTreeSet<AppId> {
    let admits = reach(app)
        .map(|reach| &reach.admits[..])
        .unwrap_or_default();
    let mut all: BTreeSet<AppId> = admits.iter().map(|admission| admission.app).collect();
    all.extend(admitted_to.get(&app).into_iter().flatten());
    all.insert(app);
    all
}

#[cfg(test)]
mod tests;
