//! Which addresses the controller may ask for the sake of an app. Pure.
//!
//! The URL comes from a tenant, and the request leaves from the operator's machine: what is reached
//! must be no more than the tenant could reach from the outside, or in its own pods. So a name is
//! looked up once, every address that it has is held against these rules, and the connection goes to
//! one of those and nowhere else; redirects are not followed and proxies are not used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairway_api::{
    names::{AppName, ProcessType},
    network::DNS_SUFFIX,
};

/// Whose address a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// Pods of this type of the app itself.
    Own(ProcessType),
    /// A name or an address that anybody may look up.
    Public,
}

/// Sorts a URL's host; `None` for what is inside and not the app's own.
pub(super) fn host(host: &str, app: &AppName) -> Option<Host> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let Some(inside) = name.strip_suffix(&format!(".{DNS_SUFFIX}")) else {
        let inside = name == DNS_SUFFIX;
        return (!inside).then_some(Host::Public);
    };
    let (process_type, owner) = match inside.split_once('.') {
        Some((process_type, owner)) => (process_type.parse().ok()?, owner),
        None => (ProcessType::web(), inside),
    };
    (owner == app.as_str() || owner == "a").then_some(Host::Own(process_type))
}

/// True for an address of the public network, as IANA's registries of special addresses have it.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // This network, private, loopback, shared with carriers, link-local.
        (0 | 10 | 127, ..) | (169, 254, _) | (192, 168, _) => true,
        (100, 64..=127, _) | (172, 16..=31, _) => true,
        // Protocol assignments, documentation, benchmarks, the old way to IPv6.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => {
            true
        }
        // Multicast, reserved, broadcast.
        (224.., ..) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Only 2000::/3 is given out, and of it some is for documentation and protocols.
    first & 0xe000 == 0x2000
        && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        && !(first == 0x3fff && second < 0x1000)
}

/// An address of IPv4 in the clothes of IPv6: mapped, translated (NAT64), 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_apps_own_pods_have_names_inside() {
        let own = |name: &str| Some(Host::Own(name.parse().unwrap()));
        let table = [
            ("web.shop.internal", own("web")),
            ("Worker.Shop.Internal.", own("worker")),
            ("shop.internal", own("web")),
            ("web.a.internal", own("web")),
            ("web.other.internal", None),
            ("other.internal", None),
            ("2.web.shop.internal", None),
            ("x_y.shop.internal", None),
            ("internal", None),
            ("queue.example.com", Some(Host::Public)),
            ("metadata.google.internal", None),
            ("10.0.0.1", Some(Host::Public)),
        ];
        for (name, wanted) in table {
            assert_eq!(host(name, &"shop".parse().unwrap()), wanted, "{name}");
        }
    }

    #[test]
    fn what_is_not_public_is_not_asked() {
        let not = [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "127.8.8.8",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
            "100::1",
        ];
        for address in not {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let public = [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
