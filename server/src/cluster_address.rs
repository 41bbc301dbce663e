//! Under which address other machines are told to reach the cluster port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Context;
use url::{Host, Url};

/// An address that no packet has to reach: asking for the way to it tells this machine's own address
/// on its way to others. It is set aside for documentation.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// A setting that must be HOST:PORT.
pub(crate) fn checked_address(text: String) -> anyhow::Result<String> {
    let url: Url = format!("tls://{text}")
        .parse()
        .with_context(|| format!("{text:?} is no HOST:PORT"))?;
    let plain = url.path().is_empty() && url.username().is_empty() && url.query().is_none();
    anyhow::ensure!(
        plain && url.has_host() && url.port().is_some(),
        "{text:?} is no HOST:PORT; write for example fairway.example.com:7001"
    );
    Ok(text)
}

/// Where others reach a cluster port that listens on `listen`: at the public URL's host if that is
/// one, else at this machine's address.
pub(crate) fn reachable(public_url: &Url, listen: SocketAddr) -> String {
    let port = listen.port();
    if !listen.ip().is_unspecified() {
        return listen.to_string();
    }
    match public_url.host() {
        Some(Host::Domain(name)) if name != "localhost" => format!("{name}:{port}"),
        Some(Host::Ipv4(ip)) if !ip.is_loopback() => SocketAddr::new(ip.into(), port).to_string(),
        Some(Host::Ipv6(ip)) if !ip.is_loopback() => SocketAddr::new(ip.into(), port).to_string(),
        _ => SocketAddr::new(own_address(), port).to_string(),
    }
}

fn own_address() -> IpAddr {
    let way_out = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(ELSEWHERE).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    way_out().unwrap_or(Ipv4Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_what_they_can_reach() {
        let told =
            |url: &str, listen: &str| reachable(&url.parse().unwrap(), listen.parse().unwrap());
        assert_eq!(
            told("https://paas.example.com", "0.0.0.0:7001"),
            "paas.example.com:7001"
        );
        assert_eq!(
            told("http://10.0.0.1:7000", "0.0.0.0:7001"),
            "10.0.0.1:7001"
        );
        assert_eq!(told("http://[fd00::1]", "[::]:7001"), "[fd00::1]:7001");
        assert_eq!(
            told("https://paas.example.com", "10.0.0.2:7001"),
            "10.0.0.2:7001"
        );
        assert!(told("http://localhost:7000", "0.0.0.0:7001").ends_with(":7001"));
        assert!(!told("http://localhost:7000", "0.0.0.0:7001").starts_with("localhost"));
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["a.b:7001", "10.0.0.1:1", "[::1]:7001"] {
            assert!(checked_address(text.into()).is_ok(), "{text}");
        }
        for text in [
            "",
            "a.b",
            ":7001",
            "a.b:x",
            "http://a.b:1",
            "a.b:1/c",
            "u@a.b:1",
        ] {
            assert!(checked_address(text.into()).is_err(), "{text}");
        }
    }
}
