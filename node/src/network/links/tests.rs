use fairway_api::network::Peer;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::network::census::tests::plan;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn peer(number: u8, underlay: [u8; 4]) -> Peer {
    Peer {
        node: format!("n{number}").parse().unwrap(),
        subnet: format!("10.64.{number}.0/24").parse().unwrap(),
        underlay: underlay.into(),
    }
}

fn with_peers(peers: Vec<Peer>) -> (Names, Tunnel) {
    let mut plan = plan();
    plan.peers = peers;
    (Names::new("a", &plan), desired(&plan, Some(HERE), 1500))
}

#[test]
fn a_machine_alone_has_no_tunnel_and_loses_an_old_one() {
    let (names, alone) = with_peers(vec![]);
    assert_eq!(alone, Tunnel::default());
    assert_eq!(
        diff(&names, &alone, &Tunnel::default()),
        Commands::default()
    );
    let (_, before) = with_peers(vec![peer(9, [192, 0, 2, 9])]);
    let gone = diff(&names, &alone, &before);
    assert_eq!(gone.ip, [format!("link delete {}", names.tunnel)]);
    assert!(gone.bridge.is_empty());
}

#[test]
fn a_first_peer_makes_the_tunnel() {
    let (names, wanted) = with_peers(vec![peer(9, [192, 0, 2, 9])]);
    let dev = &names.tunnel;
    let made = diff(&names, &wanted, &Tunnel::default());
    assert_eq!(
        made.ip,
        [
            format!(
                "link add {dev} address 0e:fa:0a:40:03:00 mtu 1450 type vxlan id 7 local \
                 192.0.2.1 dstport 7002 nolearning"
            ),
            format!("address add 10.64.3.0/32 dev {dev}"),
            format!("link set {dev} up"),
            format!("neighbour replace 10.64.9.0 lladdr 0e:fa:0a:40:09:00 dev {dev} nud permanent"),
            format!("route replace 10.64.9.0/24 via 10.64.9.0 dev {dev} onlink src 10.64.3.0"),
        ]
    );
    assert_eq!(
        made.bridge,
        [format!(
            "fdb replace 0e:fa:0a:40:09:00 dev {dev} dst 192.0.2.9 self permanent"
        )]
    );
}

#[test]
fn peers_of_the_other_family_are_left_out() {
    let six = Peer {
        underlay: "fd00::9".parse().unwrap(),
        ..peer(9, [0; 4])
    };
    assert_eq!(with_peers(vec![six]).1, Tunnel::default());
}

#[test]
fn what_is_there_is_read_from_json() {
    let (_, wanted) = with_peers(vec![peer(9, [192, 0, 2, 9])]);
    let link = json!([{ "flags": ["UP"], "mtu": 1450, "address": "0e:fa:0a:40:03:00",
        "linkinfo": { "info_data": { "id": 7, "local": "192.0.2.1", "port": 7002 } } }]);
    let address = json!([{ "addr_info": [{ "local": "10.64.3.0" }] }]);
    let routes = json!([{ "dst": "10.64.9.0/24", "gateway": "10.64.9.0" }]);
    let neighbours = json!([{ "dst": "10.64.9.0", "lladdr": "0e:fa:0a:40:09:00" }]);
    let forwards = json!([{ "mac": "0e:fa:0a:40:09:00", "dst": "192.0.2.9" }]);
    let all = seen(&link, &address, &routes, &neighbours, &forwards);
    assert_eq!(all, wanted);
    // One that is down, or nothing we know, is in the way.
    let down = json!([{ "flags": [], "mtu": 1450 }]);
    let null = serde_json::Value::Null;
    let half = seen(&down, &null, &null, &null, &null);
    assert!(half.in_the_way && half.device.is_none());
    let (names, _) = with_peers(vec![]);
    assert_eq!(
        diff(&names, &wanted, &half).ip[0],
        format!("link delete {}", names.tunnel)
    );
}

/// What the commands say, done to a tunnel.
fn carry_out(commands: &Commands, tunnel: &Tunnel, wanted: &Tunnel) -> Tunnel {
    let mut now = tunnel.clone();
    for line in commands.ip.iter().chain(&commands.bridge) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["link", "delete", _] => now = Tunnel::default(),
            ["link", "add", ..] => now.device = wanted.device.clone(),
            ["address" | "link", ..] => {}
            ["route", "delete", subnet, ..] => drop(now.routes.remove(&subnet.parse().unwrap())),
            ["route", "replace", subnet, "via", end, ..] => {
                now.routes
                    .insert(subnet.parse().unwrap(), end.parse().unwrap());
            }
            ["neighbour", "delete", end, ..] => {
                drop(now.neighbours.remove(&end.parse().unwrap()));
            }
            ["neighbour", "replace", end, "lladdr", mac, ..] => {
                now.neighbours
                    .insert(end.parse().unwrap(), (*mac).to_owned());
            }
            ["fdb", "delete", mac, ..] => drop(now.forwards.remove(*mac)),
            ["fdb", "replace", mac, "dev", _, "dst", machine, ..] => {
                now.forwards
                    .insert((*mac).to_owned(), machine.parse().unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    now
}

fn some_peers() -> impl Strategy<Value = Vec<Peer>> {
    proptest::collection::btree_map(0_u8..6, 1_u8..4, 0..5).prop_map(|all| {
        all.into_iter()
            .map(|(n, host)| peer(n + 20, [192, 0, 2, host]))
            .collect()
    })
}

proptest! {
    #[test]
    fn a_diff_leads_from_any_tunnel_to_any_other(
        from in some_peers(),
        to in some_peers(),
        moved in any::<bool>(),
    ) {
        let (names, mut seen) = with_peers(from);
        if moved && let Some(device) = &mut seen.device {
            device.local = [192, 0, 2, 77].into();
        }
        let (_, wanted) = with_peers(to);
        let done = carry_out(&diff(&names, &wanted, &seen), &seen, &wanted);
        prop_assert_eq!(&done, &wanted);
        prop_assert_eq!(diff(&names, &wanted, &done), Commands::default());
    }
}
