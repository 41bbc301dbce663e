use fairway_api::network::VXLAN_PORT_DEFAULT;
use proptest::prelude::*;

use super::*;

const CHOICE: Choice = Choice {
    pods: None,
    vxlan_port: VXLAN_PORT_DEFAULT,
};

fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

fn node(number: u8) -> NodeName {
    format!("n{number}").parse().unwrap()
}

fn status(number: u8, routes: &[&str]) -> NetworkStatus {
    NetworkStatus {
        underlay: Some([192, 0, 2, number].into()),
        can_join: true,
        routes: routes.iter().map(|route| subnet(route)).collect(),
        problem: None,
    }
}

/// Hears of a machine and writes down what is new; its subnet.
fn join(book: &mut Book, number: u8, routes: &[&str], seed: u32) -> Option<Subnet> {
    match book.hear(&node(number), &status(number, routes), &CHOICE, seed) {
        Entry::New { pods, machine } => {
            let subnet = machine.subnet;
            book.write(pods, machine);
            Some(subnet)
        }
        Entry::Known => None,
        Entry::Refused(why) => panic!("{why}"),
    }
}

#[test]
fn the_first_machines_routes_choose_the_network() {
    for (routes, wanted) in [
        (&["0.0.0.0/0", "192.0.2.0/24"][..], "10.64.0.0/11"),
        (&["10.64.7.0/24"], "10.96.0.0/11"),
        (&["10.0.0.0/8"], "172.20.0.0/14"),
    ] {
        let mut book = Book::default();
        let own = join(&mut book, 1, routes, 7).unwrap();
        let pods = book.pods.unwrap();
        assert_eq!(pods.pods, subnet(wanted));
        assert!(pods.pods.overlaps(own) && own.bits() == 24);
    }
    let full = status(1, &["10.0.0.0/8", "172.16.0.0/12"]);
    let Entry::Refused(why) = Book::default().hear(&node(1), &full, &CHOICE, 7) else {
        panic!("there is no room");
    };
    assert!(
        why.contains("--pod-network") && why.contains("172.16.0.0/12"),
        "{why}"
    );
    // An operator knows best.
    let choice = Choice {
        pods: Some(subnet("10.128.0.0/16")),
        ..CHOICE
    };
    let entry = Book::default().hear(&node(1), &full, &choice, 7);
    let Entry::Refused(why) = entry else {
        panic!("no subnet of it is free on a machine that routes all of 10.0.0.0/8");
    };
    assert!(why.contains("10.128.0.0/16"), "{why}");
}

#[test]
fn a_machine_keeps_its_subnet_and_may_move() {
    let mut book = Book::default();
    let own = join(&mut book, 1, &[], 7).unwrap();
    assert_eq!(join(&mut book, 1, &["10.0.0.0/8"], 9), None, "known");
    let moved = NetworkStatus {
        underlay: Some([192, 0, 2, 99].into()),
        ..status(1, &[])
    };
    let Entry::New { machine, .. } = book.hear(&node(1), &moved, &CHOICE, 9) else {
        panic!("it moved");
    };
    assert_eq!((machine.subnet, machine.underlay), (own, moved.underlay));
    // One that cannot make the network gets nothing.
    let cannot = NetworkStatus {
        can_join: false,
        ..status(2, &[])
    };
    assert_eq!(book.hear(&node(2), &cannot, &CHOICE, 9), Entry::Known);
    assert_eq!(book.plan(&node(2), &CHOICE, &[]), None);
}

#[test]
fn a_full_network_says_so() {
    let choice = Choice {
        pods: Some(subnet("10.128.0.0/23")),
        ..CHOICE
    };
    let mut book = Book::default();
    for number in 1..=2 {
        let entry = book.hear(&node(number), &status(number, &[]), &choice, 1);
        let Entry::New { pods, machine } = entry else {
            panic!("{entry:?}");
        };
        book.write(pods, machine);
    }
    let entry = book.hear(&node(3), &status(3, &[]), &choice, 1);
    assert!(matches!(entry, Entry::Refused(why) if why.contains("remove")));
}

#[test]
fn machines_are_told_of_each_other() {
    let mut book = Book::default();
    let first = join(&mut book, 1, &[], 7).unwrap();
    assert_eq!(book.plan(&node(1), &CHOICE, &[8080]).unwrap().peers, []);
    let second = join(&mut book, 2, &[], 8).unwrap();
    let plan = book.plan(&node(1), &CHOICE, &[8080]).unwrap();
    assert_eq!(
        (plan.subnet, plan.host_ports.as_slice()),
        (first, &[8080][..])
    );
    assert_eq!(
        plan.peers,
        [Peer {
            node: node(2),
            subnet: second,
            underlay: [192, 0, 2, 2].into(),
        }]
    );
}

#[test]
fn apps_are_related_both_ways() {
    let app = AppId::from_u128;
    let admits = |other| Reach {
        admits: vec![Admission {
            app: app(other),
            port: None,
        }],
        external: vec![],
    };
    let all: BTreeMap<AppId, Reach> = [(app(1), admits(2))].into();
    let admitted_to = [(app(2), [app(1)].into())].into();
    let of = |id| related(app(id), |id| all.get(&id), &admitted_to);
    assert_eq!(of(1), [app(1), app(2)].into());
    assert_eq!(of(2), [app(1), app(2)].into());
    assert_eq!(of(3), [app(3)].into());
}

proptest! {
    #[test]
    fn no_two_machines_get_the_same_and_none_what_it_has_a_route_to(
        seed in any::<u32>(),
        routes in proptest::collection::vec((0_u8..40, 20_u8..26), 0..4),
        machines in 1_u8..40,
    ) {
        let routes: Vec<Subnet> = routes
            .into_iter()
            .map(|(third, bits)| Subnet::around([10, 129, third, 0].into(), bits).unwrap())
            .collect();
        let choice = Choice { pods: Some(subnet("10.129.0.0/16")), ..CHOICE };
        let mut book = Book::default();
        for number in 0..machines {
            let mut status = status(number, &[]);
            if number % 2 == 0 {
                status.routes.clone_from(&routes);
            }
            let entry = book.hear(&node(number), &status, &choice, seed);
            let Entry::New { pods, machine } = entry else { panic!("{entry:?}") };
            prop_assert!(pods.pods.overlaps(machine.subnet));
            prop_assert!(!status.routes.iter().any(|route| route.overlaps(machine.subnet)));
            prop_assert!(book.machines.values().all(|it| !it.subnet.overlaps(machine.subnet)));
            book.write(pods, machine);
        }
    }
}
