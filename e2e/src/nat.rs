//! A machine behind a router that translates addresses, as in an office or at home: it dials out,
//! and nothing but the pod network's tunnel, which the router forwards to it, comes in.

use std::{net::Ipv4Addr, process::Child};

use crate::{
    Machine,
    machines::{namespace, run, run_in},
};

/// Addresses behind it: those of many homes.
const INSIDE: (Ipv4Addr, Ipv4Addr) = (
    Ipv4Addr::new(192, 168, 77, 1),
    Ipv4Addr::new(192, 168, 77, 2),
);

/// The router in front of a machine.
#[derive(Debug)]
pub struct Nat {
    holder: Child,
}

impl Nat {
    /// Puts a router in front of a machine whose agent does not run yet. The router takes over its
    /// cable and its address on the wire.
    pub fn hide(machine: &Machine, tunnel_port: u16) -> anyhow::Result<Self> {
        run(&["ip", "link", "delete", &machine.place.cable])?;
        let nat = Self {
            holder: namespace()?,
        };
        let (router, inside) = (nat.holder.id(), machine.holder().id());
        machine.place.plug_in(router)?;
        let inside_text = inside.to_string();
        let peer = ["peer", "name", "eth0", "netns", &inside_text];
        let add = ["ip", "link", "add", "inside", "type", "veth"];
        run_in(router, &[&add[..], &peer].concat())?;
        let (near, far) = INSIDE;
        let gateway = near.to_string();
        for (pid, address, device) in [(router, near, "inside"), (inside, far, "eth0")] {
            let address = format!("{address}/24");
            run_in(pid, &["ip", "address", "add", &address, "dev", device])?;
            run_in(pid, &["ip", "link", "set", device, "up"])?;
        }
        run_in(inside, &["ip", "route", "add", "default", "via", &gateway])?;
        run_in(
            router,
            &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        )?;
        run_in(router, &["nft", &rules(far, tunnel_port)])?;
        Ok(nat)
    }
}

fn rules(machine: Ipv4Addr, tunnel_port: u16) -> String {
    format!(
        "table inet router {{
  chain arriving {{
    type nat hook prerouting priority -100;
    iifname \"eth0\" udp dport {tunnel_port} dnat ip to {machine}
  }}
  chain leaving {{
    type nat hook postrouting priority 100;
    oifname \"eth0\" masquerade
  }}
  chain through {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname \"inside\" accept
    iifname \"eth0\" udp dport {tunnel_port} accept
  }}
  chain input {{
    type filter hook input priority 0; policy drop;
    iifname \"inside\" accept
    ct state established,related accept
  }}
}}"
    )
}

impl Drop for Nat {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
