//! Moves of pods that run: each rule on a handful of machines, and on arbitrary clusters that a
//! sequence of moves makes nothing worse and ends.

use std::collections::BTreeMap;

use chrono::Duration;
use fairway_api::{deployments::Strategy, ids::AppId, names::NodeName};
use fairway_scheduler::{
    policy,
    rebalance::{self, Gain, MOVES_AT_ONCE, Move, SETTLED_SECS},
    snapshot::{NodeState, PodIntent},
};
use proptest::prelude::*;

use crate::world::{TypeOf, World, status};

/// An app whose pods run where `machines` says, one each, for long enough.
fn running(world: &mut World, name: &str, machines: &[&str]) -> AppId {
    let app = world.add_app(name);
    let web = TypeOf {
        name: "web".into(),
        quantity: u32::try_from(machines.len()).unwrap(),
    };
    let release = world.deploy_by(app, &[web], false, Strategy::default());
    world.plan();
    let now = world.now;
    let of = world.app(app);
    of.current = Some(release);
    of.deployments.clear();
    for (pod, machine) in of.pods.values_mut().zip(machines) {
        pod.node = Some(machine.parse().unwrap());
        pod.unplaced = None;
        pod.status = Some(status(pod.id, "ready", now));
        pod.created_at = now - Duration::seconds(SETTLED_SECS);
    }
    app
}

fn world(machines: &[(&str, &str)]) -> World {
    let mut world = World::new();
    for (name, zone) in machines {
        world.set_node(name, 1024, 4000);
        world.set_facts(name, &[&format!("zone={zone}")], &[]);
    }
    world
}

fn proposed(world: &World) -> Vec<Move> {
    rebalance::propose(&world.snapshot, world.now)
}

/// `web.1 a -> b: Spread` of each.
fn told(world: &World) -> Vec<String> {
    let moves = proposed(world).into_iter();
    moves
        .map(|it| format!("{} {} -> {}: {:?}", it.name, it.from, it.to, it.why))
        .collect()
}

/// The moves are over.
fn done(world: &mut World, moves: &[Move]) {
    for it in moves {
        let pod = world.app(it.app).pods.get_mut(&it.pod).unwrap();
        pod.node = Some(it.to.clone());
    }
}

/// Until nothing is better anywhere.
fn settle(world: &mut World) -> usize {
    for rounds in 0..500 {
        let moves = proposed(world);
        if moves.is_empty() {
            return rounds;
        }
        done(world, &moves);
    }
    panic!("it goes round in circles");
}

fn shares(world: &World, app: AppId) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for pod in world.snapshot.apps[&app].pods.values() {
        *shares
            .entry(pod.node.as_ref().unwrap().to_string())
            .or_default() += 1;
    }
    shares
}

#[test]
fn a_machine_that_joins_later_gets_its_share() {
    let mut world = world(&[("a", "x"), ("b", "x")]);
    let shop = running(&mut world, "shop", &["a", "a", "a", "b", "b", "b"]);
    assert!(told(&world).is_empty(), "three each is even");
    world.set_node("c", 1024, 4000);
    world.set_facts("c", &["zone=x"], &[]);
    assert_eq!(told(&world), ["web.1 a -> c: Spread"]);
    settle(&mut world);
    assert_eq!(
        shares(&world, shop).into_values().collect::<Vec<_>>(),
        [2, 2, 2]
    );
}

#[test]
fn a_zone_that_came_back_is_used_again() {
    let mut world = world(&[("a", "x"), ("b", "y")]);
    let shop = running(&mut world, "shop", &["a", "a"]);
    assert_eq!(told(&world), ["web.1 a -> b: Spread"]);
    settle(&mut world);
    assert_eq!(shares(&world, shop).len(), 2);
}

#[test]
fn a_machine_that_is_no_longer_right_is_left() {
    let mut world = world(&[("a", "x"), ("b", "x")]);
    let shop = running(&mut world, "shop", &["a"]);
    world.set_placement(shop, "web", r#"{ "require": ["disk=ssd"] }"#);
    assert!(told(&world).is_empty(), "no machine is right");
    world.set_facts("b", &["zone=x", "disk=ssd"], &[]);
    assert_eq!(told(&world), ["web.1 a -> b: Rule"]);
    // A cordoned machine takes nothing, and keeps what it has unless a rule is broken.
    world.set_node_state("b", NodeState::Cordoned);
    assert!(told(&world).is_empty());
}

#[test]
fn full_machines_give_to_empty_ones_and_only_if_it_is_worth_it() {
    let mut world = world(&[("a", "x"), ("b", "x")]);
    world.snapshot.policy.memory_percent = 400;
    let apps: Vec<_> = (0..4)
        .map(|n| running(&mut world, &format!("app{n}"), &["a"]))
        .collect();
    // 4 of 8 places taken on one, none on the other.
    let moves = proposed(&world);
    assert!(!moves.is_empty() && moves.iter().all(|it| it.why == Gain::Load));
    settle(&mut world);
    let on_b = apps
        .iter()
        .filter(|app| shares(&world, **app).contains_key("b"));
    // A second one would win less than it costs.
    assert_eq!(on_b.count(), 1);
    // Whoever packs wants full machines.
    let mut packed = world;
    for app in apps {
        for pod in packed.app(app).pods.values_mut() {
            pod.node = Some("a".parse().unwrap());
        }
    }
    packed.snapshot.policy.strategy = policy::Strategy::Pack;
    assert!(told(&packed).is_empty());
}

#[test]
fn what_is_not_at_rest_is_left_alone() {
    let uneven = || {
        let mut world = world(&[("a", "x"), ("b", "x")]);
        let shop = running(&mut world, "shop", &["a", "a"]);
        assert_eq!(told(&world).len(), 1);
        (world, shop)
    };
    let changes: [fn(&mut World, AppId); 7] = [
        |world, app| world.set_placement(app, "web", r#"{ "max-unavailable": 0 }"#),
        |world, app| world.scale(app, "web", 3, "standard-1x"),
        |world, app| world.scale(app, "web", 2, "standard-2x"),
        |world, app| {
            let now = world.now;
            let pod = world.app(app).pods.values_mut().next().unwrap();
            pod.created_at = now - Duration::seconds(SETTLED_SECS - 1);
        },
        |world, app| {
            let now = world.now;
            let pod = world.app(app).pods.values_mut().next().unwrap();
            pod.status = Some(status(pod.id, "starting", now));
        },
        |world, app| {
            let pod = world.app(app).pods.values_mut().next().unwrap();
            pod.intent = PodIntent::Stopping;
        },
        |world, app| {
            let web = TypeOf {
                name: "web".into(),
                quantity: 2,
            };
            world.deploy(app, &[web], false);
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let (mut world, shop) = uneven();
        change(&mut world, shop);
        assert!(told(&world).is_empty(), "change {number}");
    }
}

#[test]
fn few_move_at_a_time() {
    let mut world = world(&[("a", "x"), ("b", "x")]);
    for n in 0..9 {
        running(&mut world, &format!("app{n}"), &["a", "a"]);
    }
    let moves = proposed(&world);
    assert_eq!(moves.len(), MOVES_AT_ONCE);
    // While they are under way no more begin.
    for it in &moves {
        world.restart_at(it.app, it.pod, &it.to);
    }
    assert!(proposed(&world).is_empty());
}

/// How bad it is: the types' pods by zone and by machine, then the machines' loads, fullest first.
fn badness(world: &World) -> (u64, u64, Vec<u64>) {
    let (mut zones, mut nodes, mut loads) = (0, 0, BTreeMap::<&NodeName, u64>::new());
    let zone = |node: &NodeName| {
        let labels = &world.snapshot.nodes[node].facts.labels;
        labels.values().next().unwrap().to_string()
    };
    for app in world.snapshot.apps.values() {
        let (mut by_zone, mut by_node) = (BTreeMap::new(), BTreeMap::new());
        for node in app.pods.values().filter_map(|pod| pod.node.as_ref()) {
            *by_zone.entry(zone(node)).or_insert(0_u64) += 1;
            *by_node.entry(node).or_insert(0_u64) += 1;
            *loads.entry(node).or_default() += 1;
        }
        zones += by_zone.values().map(|count| count * count).sum::<u64>();
        nodes += by_node.values().map(|count| count * count).sum::<u64>();
    }
    let mut loads: Vec<_> = loads.into_values().collect();
    loads.sort_unstable_by(|one, other| other.cmp(one));
    (zones, nodes, loads)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn moves_are_bounded_make_nothing_worse_and_end(
        zones in prop::collection::vec(0_u8..3, 2..7),
        apps in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5), 1..7),
    ) {
        let names: Vec<String> = (0..zones.len()).map(|n| format!("n{n}")).collect();
        let mut world = World::new();
        for (name, zone) in names.iter().zip(&zones) {
            world.set_node(name, 2048, 8000);
            world.set_facts(name, &[&format!("zone=z{zone}")], &[]);
        }
        for (number, pods) in apps.iter().enumerate() {
            let machine = |pod: &u8| names[usize::from(*pod) % names.len()].as_str();
            let machines: Vec<_> = pods.iter().map(machine).collect();
            running(&mut world, &format!("app{number}"), &machines);
        }
        let mut before = badness(&world);
        let mut rounds = 0;
        loop {
            let moves = proposed(&world);
            prop_assert_eq!(&moves, &proposed(&world), "the same input gives the same moves");
            if moves.is_empty() {
                break;
            }
            prop_assert!(moves.len() <= MOVES_AT_ONCE);
            for it in &moves {
                prop_assert_ne!(&it.from, &it.to);
                done(&mut world, std::slice::from_ref(it));
                let after = badness(&world);
                prop_assert!(after < before, "{:?} makes {:?} of {:?}", it, after, before);
                before = after;
            }
            rounds += 1;
            prop_assert!(rounds < 500, "it ends");
        }
        // What is left is as even as it can be: no machine has two more of a type than another.
        for app in world.snapshot.apps.values() {
            let count = |name: &String| {
                let on = |node: &Option<NodeName>| node.as_ref().is_some_and(|it| it.as_str() == name);
                app.pods.values().filter(|pod| on(&pod.node)).count()
            };
            let one_zone = zones.iter().all(|zone| *zone == zones[0]);
            let counts: Vec<_> = names.iter().map(count).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(!one_zone || most - least <= 1, "{:?}", counts);
        }
    }
}
