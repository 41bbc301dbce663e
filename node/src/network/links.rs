//! The tunnel to the other machines: what is wanted, what is there, and the commands that make one
//! of the other. Pure.
//!
//! One VXLAN device, told everything and learning nothing: for each peer a route to its subnet by
//! the first address in it, that address's hardware address (which follows from it), and where the
//! machine that has it is reached.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use fairway_api::network::{NetworkPlan, Subnet};
use serde_json::Value;

use super::names::Names;

/// What VXLAN puts around each packet, in bytes, over IPv4 and over IPv6.
const OVERHEAD: (u32, u32) = (50, 70);

/// A device with all that belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub(crate) device: Option<Device>,
    /// There is a device of the name that is not what we make: down, or of another kind.
    pub(crate) in_the_way: bool,
    /// From a peer's subnet to the address it is reached by.
    pub(crate) routes: BTreeMap<Subnet, Ipv4Addr>,
    /// From that address to the hardware address that answers for it.
    pub(crate) neighbours: BTreeMap<Ipv4Addr, String>,
    /// From the hardware address to the machine.
    pub(crate) forwards: BTreeMap<String, IpAddr>,
}

/// What cannot be changed without making it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) vni: u32,
    pub(crate) port: u16,
    pub(crate) local: IpAddr,
    pub(crate) hardware: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) mtu: u32,
}

/// Lines for `ip -batch` and, after it, `bridge -batch`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    pub(crate) ip: Vec<String>,
    pub(crate) bridge: Vec<String>,
}

/// The size of the pods' packets, in bytes, over a wire with packets of `wire` bytes.
pub(crate) fn pod_mtu(wire: u32, underlay: Option<IpAddr>) -> u32 {
    let overhead = match underlay {
        Some(IpAddr::V6(_)) => OVERHEAD.1,
        _ => OVERHEAD.0,
    };
    wire.saturating_sub(overhead)
}

/// The tunnel that a plan asks for; an empty one for a machine without peers. Peers that speak the
/// other family than this machine's `underlay` cannot be reached and are left out.
pub(crate) fn desired(plan: &NetworkPlan, underlay: Option<IpAddr>, wire: u32) -> Tunnel {
    let mut tunnel = Tunnel::default();
    let Some(local) = underlay else { return tunnel };
    let alike = |peer: &&fairway_api::network::Peer| peer.underlay.is_ipv4() == local.is_ipv4();
    for peer in plan.peers.iter().filter(alike) {
        let end = peer.subnet.first();
        tunnel.routes.insert(peer.subnet, end);
        tunnel.neighbours.insert(end, hardware(end));
        tunnel.forwards.insert(hardware(end), peer.underlay);
    }
    if !tunnel.routes.is_empty() {
        let address = plan.subnet.first();
        tunnel.device = Some(Device {
            vni: plan.vni,
            port: plan.vxlan_port,
            local,
            hardware: hardware(address),
            address,
            mtu: pod_mtu(wire, underlay),
        });
    }
    tunnel
}

/// A hardware address of our own choice: locally administered, then the address.
fn hardware(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("0e:fa:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// What turns `seen` into `wanted`. Nothing if they are equal.
pub(crate) fn diff(names: &Names, wanted: &Tunnel, seen: &Tunnel) -> Commands {
    let mut commands = Commands::default();
    let device = &names.tunnel;
    let nothing = Tunnel::default();
    let mut seen = seen;
    if seen.device != wanted.device || seen.in_the_way {
        if seen.device.is_some() || seen.in_the_way {
            commands.ip.push(format!("link delete {device}"));
        }
        // All that hung on it went with it.
        seen = &nothing;
        if let Some(new) = &wanted.device {
            commands.ip.extend(make(device, new));
        }
    }
    let Some(Device { address, .. }) = &wanted.device else {
        return commands;
    };
    for subnet in seen
        .routes
        .keys()
        .filter(|subnet| !wanted.routes.contains_key(subnet))
    {
        commands
            .ip
            .push(format!("route delete {subnet} dev {device}"));
    }
    for end in seen
        .neighbours
        .keys()
        .filter(|end| !wanted.neighbours.contains_key(end))
    {
        commands
            .ip
            .push(format!("neighbour delete {end} dev {device}"));
    }
    for mac in seen
        .forwards
        .keys()
        .filter(|mac| !wanted.forwards.contains_key(*mac))
    {
        commands
            .bridge
            .push(format!("fdb delete {mac} dev {device}"));
    }
    // Where a packet goes is known before a route sends one there: the machine's own first.
    for (mac, machine) in &wanted.forwards {
        if seen.forwards.get(mac) != Some(machine) {
            commands.bridge.push(format!(
                "fdb replace {mac} dev {device} dst {machine} self permanent"
            ));
        }
    }
    for (end, mac) in &wanted.neighbours {
        if seen.neighbours.get(end) != Some(mac) {
            commands.ip.push(format!(
                "neighbour replace {end} lladdr {mac} dev {device} nud permanent"
            ));
        }
    }
    for (subnet, end) in &wanted.routes {
        if seen.routes.get(subnet) != Some(end) {
            commands.ip.push(format!(
                "route replace {subnet} via {end} dev {device} onlink src {address}"
            ));
        }
    }
    commands
}

fn make(name: &str, device: &Device) -> [String; 3] {
    let Device {
        vni,
        port,
        local,
        hardware,
        address,
        mtu,
    } = device;
    [
        format!(
            "link add {name} address {hardware} mtu {mtu} type vxlan id {vni} local {local} \
             dstport {port} nolearning"
        ),
        format!("address add {address}/32 dev {name}"),
        format!("link set {name} up"),
    ]
}

/// What is there, from iproute2's JSON: `ip -details link`, `ip -4 address`, `ip route`,
/// `ip neighbour` and `bridge fdb`, each of the tunnel's device.
pub(crate) fn seen(
    link: &Value,
    address: &Value,
    routes: &Value,
    neighbours: &Value,
    forwards: &Value,
) -> Tunnel {
    let device = seen_device(&link[0], &address[0]);
    Tunnel {
        in_the_way: device.is_none() && link[0].is_object(),
        device,
        routes: pairs(routes, "dst", "gateway"),
        neighbours: pairs(neighbours, "dst", "lladdr"),
        forwards: pairs(forwards, "mac", "dst"),
    }
}

/// `None` unless it is up and whole; it is then made anew.
fn seen_device(link: &Value, address: &Value) -> Option<Device> {
    let data = &link["linkinfo"]["info_data"];
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let local = data["local"].as_str().or_else(|| data["local6"].as_str())?;
    let up = link["flags"].as_array()?.iter().any(|flag| flag == "UP");
    let info = address["addr_info"].as_array()?.first()?;
    up.then_some(Device {
        vni: number(&data["id"])?,
        port: u16::try_from(data["port"].as_u64()?).ok()?,
        local: local.parse().ok()?,
        hardware: link["address"].as_str()?.to_owned(),
        address: info["local"].as_str()?.parse().ok()?,
        mtu: number(&link["mtu"])?,
    })
}

fn pairs<K, V>(list: &Value, key: &str, value: &str) -> BTreeMap<K, V>
where
    K: std::str::FromStr + Ord,
    V: std::str::FromStr,
{
    let rows = list.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter()
        .filter_map(|row| {
            let text = |name: &str| row[name].as_str();
            Some((text(key)?.parse().ok()?, text(value)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
