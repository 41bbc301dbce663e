//! The packet filter of this machine as one nft table, from plan and census: pure.
//!
//! ```text
//!            to a pod                         from a pod
//! bridge ------------+              +---> bridge, tunnel, outside   (never elsewhere in the
//! tunnel ------------+--> judged    |                                pod network)
//! outside -- replies +    by app    +---> this machine: name server, public ports
//! ```
//!
//! What may pass to a pod is marked, and only marked packets pass the engine's own rules
//! ([`MARK`]): without this table, nothing does.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, net::Ipv4Addr};

use fairway_api::{ids::AppId, network::NetworkPlan};

use super::{
    census::{Census, Members},
    names::Names,
};

/// The bit that says that a packet was judged and may pass.
pub(crate) const MARK: &str = "0x100000";
/// Just before the engine's own rules, which are at 0.
const PRIORITY: i32 = -5;

/// The whole table, as a script that replaces the one before it in one step.
pub(crate) fn table(names: &Names, plan: &NetworkPlan, census: &Census) -> String {
    let mut text = String::new();
    let name = &names.table;
    // Deleting what may not be there: first make sure that it is.
    writes(&mut text, format_args!("table inet {name}\n"));
    writes(&mut text, format_args!("delete table inet {name}\n"));
    writes(&mut text, format_args!("table inet {name} {{\n"));
    sets(&mut text, plan);
    apps(&mut text, census);
    input(&mut text, names, plan);
    forward(&mut text, names, plan);
    text.push_str("}\n");
    text
}

fn writes(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

fn sets(text: &mut String, plan: &NetworkPlan) {
    let ends = plan.peers.iter().map(|peer| peer.subnet.first());
    set(text, "machines", "ipv4_addr", ends);
    let underlay = plan.peers.iter().map(|peer| peer.underlay);
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = underlay.partition(IpAddr::is_ipv4);
    set(text, "peers4", "ipv4_addr", four);
    set(text, "peers6", "ipv6_addr", six);
}

fn set<T: ToString>(text: &mut String, name: &str, kind: &str, all: impl IntoIterator<Item = T>) {
    let all: Vec<String> = all.into_iter().map(|item| item.to_string()).collect();
    // An empty list of elements is a syntax error.
    let elements = if all.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }}; ", all.join(", "))
    };
    writes(
        text,
        format_args!("  set {name} {{ type {kind}; {elements}}}\n"),
    );
}

/// A chain for each app with pods here, and the map that leads to them.
fn apps(text: &mut String, census: &Census) {
    let numbers: BTreeMap<AppId, usize> = census.apps.keys().copied().zip(0..).collect();
    for (id, app) in &census.apps {
        let addresses = app.pods.iter().map(|pod| pod.address);
        set(text, &members(numbers[id]), "ipv4_addr", addresses);
    }
    text.push_str("  chain admit { meta mark set meta mark or ");
    text.push_str(MARK);
    text.push_str(" accept; }\n");
    let mut jumps = vec![];
    for (id, app) in &census.apps {
        let local: Vec<Ipv4Addr> = app
            .pods
            .iter()
            .filter(|pod| pod.local)
            .map(|pod| pod.address)
            .collect();
        if local.is_empty() {
            continue;
        }
        let number = numbers[id];
        jumps.extend(
            local
                .iter()
                .map(|address| format!("{address} : goto app_{number}")),
        );
        app_chain(text, number, app, &numbers);
    }
    let elements = if jumps.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }}; ", jumps.join(", "))
    };
    writes(
        text,
        format_args!("  map pods {{ type ipv4_addr : verdict; {elements}}}\n"),
    );
}

fn members(number: usize) -> String {
    format!("members_{number}")
}

fn app_chain(text: &mut String, number: usize, app: &Members, numbers: &BTreeMap<AppId, usize>) {
    writes(text, format_args!("  chain app_{number} {{\n"));
    writes(
        text,
        format_args!("    ip saddr @members_{number} goto admit\n"),
    );
    for admission in &app.admits {
        let Some(other) = numbers.get(&admission.app) else {
            continue;
        };
        let port = admission
            .port
            .map(|port| format!("meta l4proto {{ tcp, udp }} th dport {port} "));
        writes(
            text,
            format_args!(
                "    ip saddr @members_{other} {}goto admit\n",
                port.unwrap_or_default()
            ),
        );
    }
    text.push_str("    drop\n  }\n");
}

/// What comes to this machine itself.
fn input(text: &mut String, names: &Names, plan: &NetworkPlan) {
    let Names { bridge, tunnel, .. } = names;
    let port = plan.vxlan_port;
    let gateway = plan.subnet.nth(1).unwrap_or(plan.subnet.first());
    let opened = plan.host_ports.iter().map(u16::to_string);
    let opened = opened.collect::<Vec<_>>().join(", ");
    let opened = if opened.is_empty() {
        String::new()
    } else {
        format!("    tcp dport {{ {opened} }} accept\n")
    };
    writes(
        text,
        format_args!(
            "  chain from_peers {{
    ip saddr @peers4 accept
    ip6 saddr @peers6 accept
    drop
  }}
  chain to_machine {{
    ct state established,related accept
    iifname \"{tunnel}\" drop
    ip daddr {gateway} udp dport 53 accept
    ip daddr {gateway} tcp dport 53 accept
    ip protocol icmp icmp type echo-request accept
{opened}    drop
  }}
  chain input {{
    type filter hook input priority {PRIORITY}; policy accept;
    iifname {{ \"{bridge}\", \"{tunnel}\" }} goto to_machine
"
        ),
    );
    // A machine alone has no tunnel; the port may be somebody else's.
    if !plan.peers.is_empty() {
        writes(text, format_args!("    udp dport {port} goto from_peers\n"));
    }
    text.push_str("  }\n");
}

/// What passes through this machine.
fn forward(text: &mut String, names: &Names, plan: &NetworkPlan) {
    let Names { bridge, tunnel, .. } = names;
    let NetworkPlan {
        pods,
        subnet,
        vxlan_port,
        ..
    } = plan;
    writes(
        text,
        format_args!(
            "  chain to_pod {{
    meta nfproto ipv6 drop
    ct state established,related goto admit
    iifname \"{tunnel}\" ip saddr @machines goto admit
    iifname \"{tunnel}\" ip saddr {subnet} drop
    iifname \"{bridge}\" ip saddr != {subnet} drop
    iifname {{ \"{bridge}\", \"{tunnel}\" }} ip daddr vmap @pods
    drop
  }}
  chain from_pod {{
    meta nfproto ipv6 drop
    ip saddr != {subnet} drop
    udp dport {vxlan_port} drop
    oifname \"{tunnel}\" accept
    ip daddr {pods} drop
    accept
  }}
  chain forward {{
    type filter hook forward priority {PRIORITY}; policy accept;
    oifname \"{bridge}\" goto to_pod
    iifname \"{bridge}\" goto from_pod
    iifname \"{tunnel}\" drop
    oifname \"{tunnel}\" drop
  }}
  chain leaving {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {subnet} ip daddr != {pods} oifname != \"{bridge}\" masquerade
  }}
"
        ),
    );
}

#[cfg(test)]
mod tests;
