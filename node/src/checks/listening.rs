//! On which ports a pod listens, from the kernel's tables of its network namespace, and what to
//! tell a user whose check cannot connect. Parsing and wording are pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The engine's own name server inside each container; not the app's.
const ENGINE_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// The kernel's number for a listening socket.
const STATE_LISTEN: &str = "0A";
/// The most bytes of a table that are read: a table of a busy pod has a line per connection.
const TABLE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The most addresses that a message names.
const NAMED_MAX: usize = 5;

/// The sockets on which the namespace of process `pid` listens; `None` if this machine does not
/// show it (an engine elsewhere, a process that has ended).
pub(super) async fn of_process(pid: i64) -> Option<BTreeSet<SocketAddr>> {
    let mut found = parse(&table(pid, "tcp").await?);
    found.extend(parse(&table(pid, "tcp6").await.unwrap_or_default()));
    Some(found)
}

async fn table(pid: i64, name: &str) -> Option<String> {
    use tokio::io::AsyncReadExt as _;
    let file = tokio::fs::File::open(format!("/proc/{pid}/net/{name}"))
        .await
        .ok()?;
    let mut text = String::new();
    file.take(TABLE_BYTES_MAX)
        .read_to_string(&mut text)
        .await
        .ok()?;
    Some(text)
}

/// The listening sockets in a table of `/proc/PID/net/tcp` or `tcp6`. Lines that do not look as
/// expected are skipped.
fn parse(table: &str) -> BTreeSet<SocketAddr> {
    table
        .lines()
        .skip(1)
        .filter_map(listening)
        .filter(|s| s.ip() != ENGINE_DNS)
        .collect()
}

fn listening(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    if state != STATE_LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(address_of(address)?, port))
}

/// The kernel prints each 32-bit word of an address as a number in the machine's byte order.
fn address_of(text: &str) -> Option<IpAddr> {
    if !text.is_ascii() {
        return None;
    }
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok();
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes()))),
        32 => {
            let mut bytes = [0; 16];
            for (i, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(i * 8)?.to_ne_bytes());
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// Why nobody answers on `port`, given what is listened on; `None` if that does not explain it.
pub(super) fn explain(port: u16, found: &BTreeSet<SocketAddr>) -> Option<String> {
    let on_port: Vec<_> = found
        .iter()
        .filter(|socket| socket.port() == port)
        .collect();
    if on_port.iter().any(|socket| !socket.ip().is_loopback()) {
        return None;
    }
    if let Some(local) = on_port.first() {
        return Some(format!(
            "the process listens on {local} only, which nobody outside the pod can reach; listen \
             on 0.0.0.0"
        ));
    }
    let ports: BTreeSet<u16> = found.iter().map(SocketAddr::port).collect();
    let named: Vec<String> = ports.iter().take(NAMED_MAX).map(u16::to_string).collect();
    Some(match named.as_slice() {
        [] => format!("nothing listens on port {port} (PORT)"),
        [one] => {
            format!("nothing listens on port {port} (PORT); the process listens on port {one}")
        }
        many => format!(
            "nothing listens on port {port} (PORT); the process listens on ports {}",
            many.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

    #[test]
    fn tables_of_the_kernel_are_read() {
        let tcp = format!(
            "{HEADER}
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0
   2: 0B00007F:A2B1 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0
   3: 020011AC:1F90 010011AC:D3F2 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0
"
        );
        let found: Vec<_> = parse(&tcp).into_iter().map(|s| s.to_string()).collect();
        assert_eq!(found, ["0.0.0.0:8080", "127.0.0.1:3000"]);
        let tcp6 = format!(
            "{HEADER}
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A x
   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A x
   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A x
"
        );
        let found: Vec<_> = parse(&tcp6).into_iter().map(|s| s.to_string()).collect();
        assert_eq!(found, ["127.0.0.1:82", "[::]:80", "[::1]:81"]);
    }

    #[test]
    fn the_reason_names_what_to_change() {
        let table: [(&[&str], Option<&str>); 6] = [
            (&[], Some("nothing listens on port 8080 (PORT)")),
            (
                &["0.0.0.0:3000"],
                Some("nothing listens on port 8080 (PORT); the process listens on port 3000"),
            ),
            (
                &["0.0.0.0:3000", "[::]:3000", "[::]:3001"],
                Some(
                    "nothing listens on port 8080 (PORT); the process listens on ports 3000, 3001",
                ),
            ),
            (
                &["127.0.0.1:8080"],
                Some(
                    "the process listens on 127.0.0.1:8080 only, which nobody outside the pod can \
                     reach; listen on 0.0.0.0",
                ),
            ),
            (&["127.0.0.1:8080", "0.0.0.0:8080"], None),
            (&["[::]:8080"], None),
        ];
        for (sockets, wanted) in table {
            let found = sockets.iter().map(|s| s.parse().unwrap()).collect();
            assert_eq!(explain(8080, &found).as_deref(), wanted, "{sockets:?}");
        }
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(text in "[ 0-9A-Fa-f:\n\u{e9}x]{0,300}") {
            parse(&text);
        }

        #[test]
        fn an_address_survives_the_way_through_the_table(bits: u128, port: u16) {
            let address = Ipv6Addr::from(bits);
            let hex: String = address.octets().chunks(4)
                .map(|w| format!("{:08X}", u32::from_ne_bytes([w[0], w[1], w[2], w[3]])))
                .collect();
            let line = format!("0: {hex}:{port:04X} 0:0 0A");
            prop_assert_eq!(
                listening(&line),
                Some(SocketAddr::new(address.to_canonical(), port))
            );
        }
    }
}
