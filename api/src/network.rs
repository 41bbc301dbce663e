//! The pod network: which addresses pods have, who may talk to whom, and what names they find.
//!
//! One pod network spans the cluster; each machine owns a subnet of it. The controller says all of
//! it in [`NetworkPlan`], and the agents make it so: a bridge, a VXLAN device to the other
//! machines, packet filter rules and a name server.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, PodId},
    names::{AppName, Hostname, NodeName, ProcessType, ServiceName},
};

/// Names of pods and services end in this.
pub const DNS_SUFFIX: &str = "internal";
/// Stands for the asking pod's own app in a name, `web.a.internal`. No app has a name this short.
pub const DNS_OWN_APP: &str = "a";
/// The UDP port that machines exchange the pods' packets on, unless set otherwise. Neither of the
/// usual two: Docker Swarm (4789) or flannel (8472) may run on the same machine.
pub const VXLAN_PORT_DEFAULT: u16 = 7002;
/// Length of a machine's subnet, in bits: 253 pods, since network, gateway and broadcast are taken.
pub const NODE_SUBNET_BITS: u8 = 24;

/// An IPv4 network, `10.64.3.0/24`. A value that exists has no bits set beyond its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: u32,
    bits: u8,
}

/// A text that is no IPv4 network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no IPv4 network: write it as 10.64.0.0/11, with no bits set beyond its length")]
pub struct InvalidSubnet(String);

/// Everything an agent needs to make its part of the pod network. It comes with each
/// [`NodePlan`](crate::nodes::NodePlan).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// All pods of the cluster are in here.
    pub pods: Subnet,
    /// The pods of this machine. Its first address is the machine's own end of the tunnel, the
    /// second the gateway and name server of its pods.
    pub subnet: Subnet,
    /// Tells this cluster's packets from those of another on the same wire (24 bits).
    pub vni: u32,
    /// UDP port of the tunnel, the same on all machines.
    pub vxlan_port: u16,
    /// The other machines that can be reached.
    pub peers: Vec<Peer>,
    /// TCP ports of this machine that pods may connect to: its router's, which are public.
    pub host_ports: Vec<u16>,
    /// Apps with pods on this machine, those that may talk to them, and those they may talk to.
    pub apps: Vec<AppNetwork>,
}

/// Another machine of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    pub node: NodeName,
    /// Its pods.
    pub subnet: Subnet,
    /// Where its end of the tunnel is reached.
    pub underlay: IpAddr,
}

/// One app as the pod network knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppNetwork {
    pub app: AppId,
    pub name: AppName,
    /// Who may open connections to its pods, besides its own.
    pub admits: Vec<Admission>,
    /// Names of things outside, for its own pods.
    pub external: Vec<ExternalName>,
    pub pods: Vec<PodPlace>,
}

/// Pods of another app may open connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Admission {
    pub app: AppId,
    /// TCP and UDP port; `None` for all.
    pub port: Option<u16>,
}

/// Where a pod is, for those that may reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPlace {
    pub pod: PodId,
    pub process_type: ProcessType,
    /// `web.1`
    pub name: String,
    /// `None` for a pod of the machine that the plan is for: its agent knows better.
    pub address: Option<Ipv4Addr>,
    pub port: Option<u16>,
    /// It belongs to the release that serves and is to stay; on another machine also: it is ready.
    pub serves: bool,
}

/// `NAME.APP.internal` stands for something outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExternalName {
    pub name: ServiceName,
    pub target: ExternalTarget,
}

/// What an external name stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalTarget {
    Hostname(Hostname),
    Addresses(Vec<Ipv4Addr>),
}

/// What a machine says of its own network, in [`NodeStatus`](crate::nodes::NodeStatus).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStatus {
    /// Where other machines reach this one.
    pub underlay: Option<IpAddr>,
    /// Its agent can make the pod network: only such a machine gets a subnet.
    pub can_join: bool,
    /// Networks that this machine has routes to, without those that Fairway made: the pod network
    /// must not overlap them.
    pub routes: Vec<Subnet>,
    /// What keeps it from doing what the plan says, for people.
    pub problem: Option<String>,
}

impl Subnet {
    /// The network of `bits` bits that has this address in it.
    pub fn around(address: Ipv4Addr, bits: u8) -> Option<Self> {
        let base = u32::from(address) & mask(bits)?;
        Some(Self { base, bits })
    }

    /// Its length, in bits.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The address `index` places after the first, if it is in the network.
    pub fn nth(self, index: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(self.base.checked_add(index)?);
        self.contains(address).then_some(address)
    }

    /// The first address.
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base)
    }

    /// True for an address in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        mask(self.bits).is_some_and(|mask| u32::from(address) & mask == self.base)
    }

    /// True if an address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        let (wide, narrow) = if self.bits <= other.bits {
            (self, other)
        } else {
            (other, self)
        };
        wide.contains(narrow.first())
    }

    /// How many networks of `bits` bits it has; 0 if they would be larger.
    pub fn parts(self, bits: u8) -> u32 {
        match bits.checked_sub(self.bits) {
            Some(more) if bits <= 32 => 1_u32.checked_shl(more.into()).unwrap_or(u32::MAX),
            _ => 0,
        }
    }

    /// The part with this number.
    pub fn part(self, bits: u8, number: u32) -> Option<Self> {
        if number >= self.parts(bits) {
            return None;
        }
        let size = 1_u32.checked_shl((32 - bits).into())?;
        let base = self.base.checked_add(number.checked_mul(size)?)?;
        Some(Self { base, bits })
    }
}

/// `None` for more bits than an address has.
fn mask(bits: u8) -> Option<u32> {
    match bits {
        0 => Some(0),
        1..=32 => Some(u32::MAX << (32 - bits)),
        _ => None,
    }
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, bits) = text.split_once('/')?;
            let address: Ipv4Addr = address.parse().ok()?;
            let subnet = Self::around(address, bits.parse().ok()?)?;
            (subnet.first() == address).then_some(subnet)
        };
        parse().ok_or_else(|| InvalidSubnet(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for Subnet {
    type Error = InvalidSubnet;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first(), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_parsed_and_strangers_refused() {
        assert_eq!(subnet("10.64.0.0/11").to_string(), "10.64.0.0/11");
        assert_eq!(subnet("0.0.0.0/0").bits(), 0);
        for wrong in [
            "",
            "10.0.0.0",
            "10.0.0.1/24",
            "10.0.0.0/33",
            "fd00::/8",
            "10.0.0.0/-1",
            "a/8",
        ] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn overlaps_are_seen_from_both_sides() {
        let table = [
            ("10.0.0.0/8", "10.64.3.0/24", true),
            ("10.64.3.0/24", "10.64.4.0/24", false),
            ("0.0.0.0/0", "10.64.4.0/24", true),
            ("10.64.3.0/24", "10.64.3.0/24", true),
        ];
        for (a, b, wanted) in table {
            assert_eq!(subnet(a).overlaps(subnet(b)), wanted);
            assert_eq!(subnet(b).overlaps(subnet(a)), wanted);
        }
    }

    #[test]
    fn a_network_is_cut_into_parts() {
        let pods = subnet("10.64.0.0/11");
        assert_eq!(pods.parts(24), 8192);
        assert_eq!(pods.part(24, 0), Some(subnet("10.64.0.0/24")));
        assert_eq!(pods.part(24, 8191), Some(subnet("10.95.255.0/24")));
        assert_eq!(pods.part(24, 8192), None);
        assert_eq!(subnet("10.64.3.0/24").parts(16), 0);
        assert_eq!(subnet("10.64.3.0/24").nth(1), Some([10, 64, 3, 1].into()));
        assert_eq!(subnet("10.64.3.0/24").nth(256), None);
        assert_eq!(subnet("0.0.0.0/0").parts(32), u32::MAX);
    }
}
