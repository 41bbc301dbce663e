use fairway_api::{network::PodPlace, pods::PodPhase};

use super::*;
use crate::{pod::Record, testing};

pub(crate) const SHOP: u128 = 1;
pub(crate) const DATABASE: u128 = 2;
pub(crate) const STRANGER: u128 = 3;

pub(crate) fn id(number: u128) -> AppId {
    AppId::from_u128(number)
}

pub(crate) fn member(name: &str, address: [u8; 4], serves: bool, local: bool) -> Member {
    Member {
        address: address.into(),
        process_type: name.split('.').next().unwrap().parse().unwrap(),
        name: name.into(),
        port: name.starts_with("web").then_some(8080),
        serves,
        local,
    }
}

pub(crate) fn app(name: &str, admits: &[(u128, Option<u16>)], pods: Vec<Member>) -> Members {
    Members {
        name: name.parse().unwrap(),
        admits: admits
            .iter()
            .map(|(app, port)| Admission {
                app: id(*app),
                port: *port,
            })
            .collect(),
        external: vec![],
        pods,
    }
}

pub(crate) fn census(apps: Vec<(u128, Members)>) -> Census {
    let mut census = Census {
        apps: apps.into_iter().map(|(app, it)| (id(app), it)).collect(),
        ..Census::default()
    };
    census.index();
    census
}

pub(crate) fn plan() -> NetworkPlan {
    NetworkPlan {
        pods: "10.64.0.0/11".parse().unwrap(),
        subnet: "10.64.3.0/24".parse().unwrap(),
        vni: 7,
        vxlan_port: 7002,
        peers: vec![],
        host_ports: vec![8080],
        apps: vec![],
    }
}

fn place(pod: u128, address: Option<[u8; 4]>, serves: bool) -> PodPlace {
    PodPlace {
        pod: PodId::from_u128(pod),
        process_type: "web".parse().unwrap(),
        name: format!("web.{pod}"),
        address: address.map(Into::into),
        port: Some(8080),
        serves,
    }
}

#[test]
fn the_board_knows_this_machines_pods_and_the_plan_the_others() {
    let mut plan = plan();
    plan.apps.push(fairway_api::network::AppNetwork {
        app: id(SHOP),
        name: "shop".parse().unwrap(),
        admits: vec![],
        external: vec![],
        pods: vec![
            place(1, None, true),
            place(2, Some([10, 64, 9, 2]), true),
            // An address of ours in somebody's plan: the board has the last word.
            place(3, Some([10, 64, 3, 77]), true),
            place(4, None, false),
        ],
    });
    let mut board = Board::default();
    let mut specs = HashMap::new();
    for (pod, last, phase) in [
        (1, 2, PodPhase::Running { ready: true }),
        (4, 3, PodPhase::Running { ready: true }),
        (5, 4, PodPhase::Running { ready: false }),
    ] {
        let mut record = Record::new(PodId::from_u128(pod));
        record.status.phase = phase;
        record.status.address = Some([10, 64, 3, last].into());
        board.pods.insert(record.status.id, record);
        specs.insert(PodId::from_u128(pod), Arc::new(testing::spec(pod)));
    }
    // A pod that nobody knows the app of has no say.
    let mut unknown = Record::new(PodId::from_u128(6));
    unknown.status.address = Some([10, 64, 3, 9].into());
    board.pods.insert(unknown.status.id, unknown);

    let census = Census::take(&plan, &specs, &board);
    let pods = &census.apps[&id(SHOP)].pods;
    let seen: Vec<(u8, u8, bool, bool)> = pods
        .iter()
        .map(|pod| {
            (
                pod.address.octets()[2],
                pod.address.octets()[3],
                pod.serves,
                pod.local,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (3, 2, true, true),
            (3, 3, false, true),
            (3, 4, false, true),
            (9, 2, true, false),
        ]
    );
    assert_eq!(census.app_at([10, 64, 9, 2].into()), Some(id(SHOP)));
    assert_eq!(census.app_at([10, 64, 3, 9].into()), None);
}

#[test]
fn an_app_finds_itself_and_who_admits_it() {
    let census = census(vec![
        (SHOP, app("shop", &[], vec![])),
        (DATABASE, app("database", &[(SHOP, None)], vec![])),
    ]);
    let finds = |asking, name| census.reachable(id(asking), name).is_some();
    assert!(finds(SHOP, "shop") && finds(SHOP, "database") && finds(DATABASE, "database"));
    assert!(!finds(DATABASE, "shop") && !finds(STRANGER, "database") && !finds(SHOP, "nobody"));
}
