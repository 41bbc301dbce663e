use std::io::Write as _;
use std::process::{Command, Stdio};

use fairway_api::network::Peer;

use super::*;
use crate::network::census::tests::{DATABASE, SHOP, app, census, member, plan};

fn example() -> (Names, NetworkPlan, Census) {
    let mut plan = plan();
    plan.peers = vec![
        Peer {
            node: "n2".parse().unwrap(),
            subnet: "10.64.9.0/24".parse().unwrap(),
            underlay: [192, 0, 2, 9].into(),
        },
        Peer {
            node: "n3".parse().unwrap(),
            subnet: "10.64.10.0/24".parse().unwrap(),
            underlay: "fd00::9".parse().unwrap(),
        },
    ];
    let shop = vec![member("web.1", [10, 64, 3, 2], true, true)];
    let database = vec![
        member("db.1", [10, 64, 3, 3], true, true),
        member("db.2", [10, 64, 9, 3], true, false),
    ];
    let census = census(vec![
        (SHOP, app("shop", &[], shop)),
        (DATABASE, app("database", &[(SHOP, Some(5432))], database)),
    ]);
    (Names::new("ab-c", &plan), plan, census)
}

#[test]
fn apps_are_kept_apart_but_for_what_is_admitted() {
    let (names, plan, census) = example();
    let text = table(&names, &plan, &census);
    for line in [
        "table inet fairway_ab_c {",
        "set members_0 { type ipv4_addr; elements = { 10.64.3.2 }; }",
        "set members_1 { type ipv4_addr; elements = { 10.64.3.3, 10.64.9.3 }; }",
        "elements = { 10.64.3.2 : goto app_0, 10.64.3.3 : goto app_1 }",
        "ip saddr @members_0 meta l4proto { tcp, udp } th dport 5432 goto admit",
        "tcp dport { 8080 } accept",
        "udp dport 7002 goto from_peers",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let shop = text
        .split("chain app_0 {")
        .nth(1)
        .unwrap()
        .split('}')
        .next()
        .unwrap();
    assert_eq!(shop.trim(), "ip saddr @members_0 goto admit\n    drop");
}

#[test]
fn a_machine_alone_leaves_the_tunnels_port_to_others() {
    let (names, mut plan, _) = example();
    plan.peers.clear();
    plan.host_ports.clear();
    let text = table(&names, &plan, &Census::default());
    assert!(
        !text.contains("goto from_peers") && !text.contains("elements"),
        "{text}"
    );
}

/// nft itself judges the syntax, without the kernel.
#[test]
fn nft_understands_every_table() {
    let (names, plan, full) = example();
    let mut alone = plan.clone();
    alone.peers.clear();
    for text in [
        table(&names, &plan, &full),
        table(&names, &alone, &Census::default()),
    ] {
        let mut nft = Command::new("unshare")
            .args([
                "--net",
                "--map-root-user",
                "/usr/sbin/nft",
                "--check",
                "-f",
                "-",
            ])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need unshare and nft");
        nft.stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = nft.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{text}");
    }
}
