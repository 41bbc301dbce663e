//! What the agent asks of the machine it runs on, by the programs `ip`, `bridge`, `nft` and
//! `iptables`. Programs rather than netlink messages: nft is needed anyway, an operator can repeat
//! each step by hand, and a machine's own tools fit its kernel. It must not decide anything.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket},
    path::Path,
    process::Stdio,
    time::Duration,
};

use fairway_api::network::Subnet;
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use super::{
    links::{self, Tunnel},
    names::{DEVICE_PREFIX, Names},
    rules::MARK,
};

/// How long one of the programs may take, in seconds: they only talk to the kernel, but wait for
/// each other's locks.
const PROGRAM_SECS: u64 = 20;
/// Packets of most wires, in bytes, where the machine does not say.
const WIRE_MTU_DEFAULT: u32 = 1500;
/// The bit of CAP_NET_ADMIN in a capability set (capabilities(7)).
const CAP_NET_ADMIN: u64 = 1 << 12;
/// An address far away (for documentation, RFC 5737): the way there is the default route. Nothing
/// is sent.
const FAR_AWAY: &str = "203.0.113.1:9";

/// Why the machine did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    #[error("cannot run {program}; install it (Debian: iproute2, nftables, iptables)")]
    NotRun {
        program: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} did not end within {PROGRAM_SECS} seconds")]
    Stuck { program: &'static str },
    #[error("{program} refused: {message}")]
    Refused {
        program: &'static str,
        message: String,
    },
}

/// Why this agent cannot manage a pod network at all; `None` if it can.
pub(crate) async fn inability() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    if set.is_none_or(|set| set & CAP_NET_ADMIN == 0) {
        return Some("the agent may not change this machine's network; run it as root".into());
    }
    for program in [
        ("nft", "--version"),
        ("ip", "-Version"),
        ("bridge", "-Version"),
    ] {
        if let Err(error) = run(program.0, &[program.1], "").await {
            return Some(error.to_string());
        }
    }
    None
}

/// The address by which other machines reach this one: that which it uses towards `controller`,
/// or, if that is on this machine, towards everywhere else.
pub(crate) fn underlay(controller: Option<(&str, u16)>) -> Option<IpAddr> {
    let towards = |to: SocketAddr| {
        let any: SocketAddr = if to.is_ipv4() {
            ([0; 4], 0).into()
        } else {
            ([0_u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(to).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_loopback() && !address.is_unspecified()).then_some(address)
    };
    let controller = controller
        .and_then(|controller| controller.to_socket_addrs().ok())
        .and_then(|mut all| all.find_map(towards));
    controller.or_else(|| towards(FAR_AWAY.parse().ok()?))
}

/// The address of its own that this machine sends from: `underlay`, or, where that is the address of
/// a router in front of it, what the way to `peer` begins with.
pub(crate) fn source(underlay: Option<IpAddr>, peer: Option<IpAddr>) -> Option<IpAddr> {
    let underlay = underlay?;
    if UdpSocket::bind((underlay, 0)).is_ok() {
        return Some(underlay);
    }
    let any: SocketAddr = if underlay.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let towards = |peer: IpAddr| {
        let socket = UdpSocket::bind(any).ok()?;
        // Nothing is sent.
        socket.connect((peer, 9)).ok()?;
        socket.local_addr().ok().map(|it| it.ip())
    };
    peer.and_then(towards).or(Some(underlay))
}

/// The largest packet that the wire with this address takes, in bytes.
pub(crate) async fn wire_mtu(underlay: Option<IpAddr>) -> u32 {
    let Some(underlay) = underlay else {
        return WIRE_MTU_DEFAULT;
    };
    let text = underlay.to_string();
    let all = json("ip", &["-json", "address", "show"])
        .await
        .unwrap_or_default();
    let devices = all.as_array().map(Vec::as_slice).unwrap_or_default();
    let has_address = |device: &&Value| {
        let infos = device["addr_info"].as_array().map(Vec::as_slice);
        infos
            .unwrap_or_default()
            .iter()
            .any(|info| info["local"] == *text)
    };
    let mtu = devices
        .iter()
        .find(has_address)
        .and_then(|device| device["mtu"].as_u64());
    mtu.and_then(|mtu| u32::try_from(mtu).ok())
        .unwrap_or(WIRE_MTU_DEFAULT)
}

/// Networks that this machine has routes to, with the device, without the default route and what
/// Fairway made.
pub(crate) async fn routes() -> Result<Vec<(Subnet, String)>, MachineError> {
    let routes = json("ip", &["-json", "-4", "route", "show"]).await?;
    let rows = routes.as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |row: &Value| {
        let to = row["dst"].as_str()?;
        // A single address is written without its length.
        let to = to.parse().or_else(|_| format!("{to}/32").parse()).ok()?;
        let device = row["dev"].as_str().unwrap_or("no device");
        (!device.starts_with(DEVICE_PREFIX)).then(|| (to, device.to_owned()))
    };
    Ok(rows.iter().filter_map(row).collect())
}

/// True if the machine has this network device: the engine may run in another network namespace.
pub(crate) fn has_device(name: &str) -> bool {
    // Not in /sys/class/net: that shows the namespace it was mounted in.
    let devices = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let mut names = devices.lines().filter_map(|line| line.split_once(':'));
    names.any(|(device, _)| device.trim() == name)
}

/// The tunnel as it is.
pub(crate) async fn tunnel(names: &Names) -> Result<Tunnel, MachineError> {
    let device = names.tunnel.as_str();
    if !has_device(device) {
        return Ok(Tunnel::default());
    }
    let link = json("ip", &["-json", "-details", "link", "show", "dev", device]).await?;
    let address = json("ip", &["-json", "-4", "address", "show", "dev", device]).await?;
    let routes = json("ip", &["-json", "-4", "route", "show", "dev", device]).await?;
    let permanent = [
        "-json",
        "-4",
        "neighbour",
        "show",
        "dev",
        device,
        "nud",
        "permanent",
    ];
    let neighbours = json("ip", &permanent).await?;
    let forwards = json("bridge", &["-json", "fdb", "show", "dev", device]).await?;
    Ok(links::seen(
        &link,
        &address,
        &routes,
        &neighbours,
        &forwards,
    ))
}

/// Makes the tunnel what is wanted.
pub(crate) async fn set_tunnel(names: &Names, wanted: &Tunnel) -> Result<(), MachineError> {
    let commands = links::diff(names, wanted, &tunnel(names).await?);
    for (program, lines) in [("ip", commands.ip), ("bridge", commands.bridge)] {
        if !lines.is_empty() {
            tracing::debug!(program, ?lines, "changing the tunnel");
            run(program, &["-batch", "-"], &(lines.join("\n") + "\n")).await?;
        }
    }
    Ok(())
}

/// Replaces our packet filter table in one step; if it is refused, the one before stays.
pub(crate) async fn set_table(table: &str) -> Result<(), MachineError> {
    run("nft", &["-f", "-"], table).await.map(drop)
}

/// True if the table is there.
pub(crate) async fn has_table(names: &Names) -> bool {
    run(
        "nft",
        &["list", "chain", "inet", &names.table, "forward"],
        "",
    )
    .await
    .is_ok()
}

/// Takes our table away, which leaves pods apart by the engine's own rule.
pub(crate) async fn remove_table(table: &str) -> Result<(), MachineError> {
    let text = format!("table inet {table}\ndelete table inet {table}\n");
    run("nft", &["-f", "-"], &text).await.map(drop)
}

/// Lets what our table marked pass the engine's own rules. One rule serves all Fairways of a
/// machine; it is put back if somebody flushed it. An engine that manages no packet filter has no
/// such chain, and then nothing of the engine is in the way.
pub(crate) async fn let_marked_pass() -> Result<(), MachineError> {
    let mark = format!("{MARK}/{MARK}");
    let rule = ["DOCKER-USER", "-m", "mark", "--mark", &mark, "-j", "ACCEPT"];
    let wait = ["--wait", "10"];
    if run(
        "iptables",
        &[&wait[..], &["--list-rules", "DOCKER-USER"]].concat(),
        "",
    )
    .await
    .is_err()
    {
        return Ok(());
    }
    if run("iptables", &[&wait[..], &["--check"], &rule].concat(), "")
        .await
        .is_err()
    {
        run("iptables", &[&wait[..], &["--insert"], &rule].concat(), "").await?;
    }
    Ok(())
}

async fn json(program: &'static str, arguments: &[&str]) -> Result<Value, MachineError> {
    let text = run(program, arguments, "").await?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).map_err(|error| MachineError::Refused {
        program,
        message: format!("its output is no JSON: {error}"),
    })
}

async fn run(
    program: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<String, MachineError> {
    let failed = |source| MachineError::NotRun { program, source };
    let work = async {
        let mut child = command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends before it has read everything says why.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        child.wait_with_output().await.map_err(failed)
    };
    let output = timeout(Duration::from_secs(PROGRAM_SECS), work)
        .await
        .map_err(|_| MachineError::Stuck { program })??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(MachineError::Refused {
        program,
        message: said.lines().next().unwrap_or("without a word").to_owned(),
    })
}

/// The program, also where PATH has no sbin (Debian's for ordinary users).
fn command(program: &'static str) -> Command {
    let sbin = ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).join(program));
    match sbin.iter().find(|path| path.exists()) {
        Some(path) => Command::new(path),
        None => Command::new(program),
    }
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn what_is_sent_begins_at_an_address_of_this_machine() {
        let here = Some([127, 0, 0, 2].into());
        let peer = Some([127, 0, 0, 9].into());
        assert_eq!(source(here, peer), here);
        // Of a router in front of it: documentation has it, no machine does.
        let outside = Some([203, 0, 113, 7].into());
        assert_eq!(source(outside, peer), Some([127, 0, 0, 1].into()));
        assert_eq!(source(outside, None), outside);
        assert_eq!(source(None, peer), None);
    }
}
