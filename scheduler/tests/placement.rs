//! Where pods go: each rule of a placement on a handful of machines, and properties of placing on
//! arbitrary ones.

use std::collections::BTreeMap;

use fairway_api::{ids::AppId, names::SizeName, sizes::Resources};
use fairway_scheduler::{
    place, policy,
    snapshot::{NodeState, Pod, PodIntent, resources},
};
use proptest::prelude::*;

use crate::world::{TypeOf, World, size};

/// A machine: name, labels, taints.
type MachineIs = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

fn world(machines: &[MachineIs]) -> World {
    let mut world = World::new();
    for (name, labels, taints) in machines {
        world.set_node(name, 1024, 4000);
        world.set_facts(name, labels, taints);
    }
    world
}

fn web(quantity: u32) -> TypeOf {
    TypeOf {
        name: "web".into(),
        quantity,
    }
}

/// Deploys so many web pods placed like this; the world and the app.
fn deployed(mut world: World, quantity: u32, placement: &str) -> (World, AppId) {
    let app = world.add_app("shop");
    world.set_placement(app, "web", placement);
    world.deploy(app, &[web(quantity)], false);
    world.plan();
    (world, app)
}

fn pods(world: &World, app: AppId) -> impl Iterator<Item = &Pod> {
    world.snapshot.apps[&app].pods.values()
}

/// `a:2 b:1`: pods by machine, `-` for those without.
fn shares(world: &World, app: AppId) -> String {
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for pod in pods(world, app) {
        let node = pod.node.as_ref().map_or("-".into(), ToString::to_string);
        *shares.entry(node).or_default() += 1;
    }
    let shares: Vec<_> = shares
        .iter()
        .map(|(node, n)| format!("{node}:{n}"))
        .collect();
    shares.join(" ")
}

#[track_caller]
fn check(machines: &[MachineIs], quantity: u32, placement: &str, want: &str) {
    let (world, app) = deployed(world(machines), quantity, placement);
    assert_eq!(shares(&world, app), want, "{placement}");
}

const ZONES: [MachineIs; 3] = [
    ("a1", &["zone=a", "cores=4"], &[]),
    ("a2", &["zone=a", "cores=16"], &[]),
    ("b1", &["zone=b", "disk=ssd"], &[]),
];

#[test]
fn labels_are_required_or_preferred() {
    check(&ZONES, 2, r#"{ "require": ["zone=a"] }"#, "a1:1 a2:1");
    check(&ZONES, 2, r#"{ "require": ["cores>8"] }"#, "a2:2");
    check(&ZONES, 2, r#"{ "require": ["!disk"] }"#, "a1:1 a2:1");
    check(&ZONES, 2, r#"{ "require": ["zone=c"] }"#, "");
    check(&ZONES, 2, r#"{ "prefer": ["disk=ssd"] }"#, "b1:2");
    check(&ZONES, 2, r#"{ "prefer": ["zone=c"] }"#, "a1:1 b1:1");
}

#[test]
fn pods_stand_over_zones_then_machines() {
    check(&ZONES, 3, "{}", "a1:1 a2:1 b1:1");
    check(&ZONES, 4, "{}", "a1:1 a2:1 b1:2");
    let hard = r#"{ "require": ["cores"], "spread": [{ "by": "zone", "mode": "hard" }] }"#;
    check(&ZONES, 3, hard, "a1:2 a2:1");
    // The other zone has no machine that may take the pods it would need for balance.
    let machines: [MachineIs; 3] = [
        ("a1", &["zone=a"], &[]),
        ("a2", &["zone=a"], &[]),
        ("b1", &["zone=b", "small=yes"], &[]),
    ];
    let mut small = world(&machines);
    small.set_node("b1", 10, 4000);
    small.set_facts("b1", machines[2].1, &[]);
    let hard = r#"{ "spread": [{ "by": "zone", "mode": "hard", "max-skew": 2 }] }"#;
    let (world, app) = deployed(small, 4, hard);
    assert_eq!(shares(&world, app), "-:2 a1:1 a2:1");
    let why = pods(&world, app)
        .find_map(|pod| pod.unplaced.clone())
        .unwrap();
    assert!(
        why.contains("a1: its zone has more pods of the type than others"),
        "{why}"
    );
    assert!(
        why.contains("b1: needs 512 MiB of memory, the machine has 10 MiB"),
        "{why}"
    );
    let by_node = r#"{ "require": ["zone=a"], "spread": [{ "by": "node", "mode": "hard" }] }"#;
    check(&ZONES, 5, by_node, "a1:3 a2:2");
}

#[test]
fn taints_keep_off_who_does_not_bear_them() {
    const TAINTED: [MachineIs; 3] = [
        ("a", &[], &["dedicated=db:no-schedule"]),
        ("b", &[], &["old:prefer-no-schedule"]),
        ("c", &[], &[]),
    ];
    check(&TAINTED, 2, "{}", "c:2");
    check(
        &TAINTED,
        2,
        r#"{ "tolerate": ["dedicated=db"] }"#,
        "a:1 c:1",
    );
    check(&TAINTED, 3, r#"{ "tolerate": ["*"] }"#, "a:1 b:1 c:1");
    check(&TAINTED[..2], 2, "{}", "b:2");
    check(&TAINTED[..1], 1, "{}", "-:1");
}

#[test]
fn a_no_execute_taint_drives_pods_away_that_do_not_bear_it() {
    let both: [MachineIs; 2] = [("a", &[], &[]), ("b", &[], &[])];
    let taint = |placement| {
        let (mut world, app) = deployed(world(&both), 2, placement);
        for id in pods(&world, app).map(|pod| pod.id).collect::<Vec<_>>() {
            let ready = crate::world::status(id, "ready", world.now);
            world.app(app).pods.get_mut(&id).unwrap().status = Some(ready);
        }
        world.report_router("edge", 9, BTreeMap::new());
        world.plan();
        world.set_facts("a", &[], &["broken:no-execute"]);
        world.plan();
        shares(&world, app)
    };
    // The replacement stands beside the old pod until it is up.
    assert_eq!(taint("{}"), "a:1 b:2");
    assert_eq!(taint(r#"{ "tolerate": ["broken"] }"#), "a:1 b:1");
}

#[test]
fn a_machine_short_of_disk_keeps_its_pods_and_takes_no_new_ones() {
    let (mut world, app) = deployed(world(&[("a", &[], &[]), ("b", &[], &[])]), 2, "{}");
    obey(&mut world);
    world.set_disk_pressure("a", true);
    world.plan();
    assert_eq!(shares(&world, app), "a:1 b:1", "nobody moves for it");
    world.scale(app, "web", 4, "standard-1x");
    world.plan();
    assert_eq!(shares(&world, app), "a:1 b:3");
    world.set_disk_pressure("b", true);
    world.scale(app, "web", 5, "standard-1x");
    world.plan();
    let why = pods(&world, app).find_map(|pod| pod.unplaced.clone());
    assert_eq!(
        why.unwrap(),
        "a: has disk pressure: too little of its disk is free\n\
         b: has disk pressure: too little of its disk is free"
    );
    world.set_disk_pressure("a", false);
    world.plan();
    assert_eq!(shares(&world, app), "a:2 b:3");
}

#[test]
fn an_evicted_pod_is_replaced_elsewhere_and_its_release_is_not_to_blame() {
    let (mut world, app) = deployed(world(&[("a", &[], &[]), ("b", &[], &[])]), 2, "{}");
    let evict = |world: &mut World, node: &str| {
        let now = world.now;
        let on_node = |pod: &&mut Pod| pod.node.as_ref().is_some_and(|it| it.as_str() == node);
        let pod = world.app(app).pods.values_mut().find(on_node).unwrap();
        pod.status = Some(crate::world::status(pod.id, "evicted", now));
        world.set_disk_pressure(node, true);
        world.plan();
    };
    // In the middle of the first deployment.
    evict(&mut world, "a");
    assert!(
        world
            .app(app)
            .deployments
            .iter()
            .all(|it| !it.state.has_ended())
    );
    assert_eq!(shares(&world, app), "a:1 b:2");
    obey(&mut world);
    obey(&mut world);
    assert_eq!(shares(&world, app), "b:2");
    assert!(
        world.app(app).current.is_some(),
        "it went live all the same"
    );
    // And later: with no other machine it waits for room.
    evict(&mut world, "b");
    assert_eq!(shares(&world, app), "-:1 b:2");
    obey(&mut world);
    obey(&mut world);
    assert_eq!(
        shares(&world, app),
        "-:1 b:1",
        "what was evicted does not come back"
    );
    world.set_disk_pressure("b", false);
    world.plan();
    assert_eq!(shares(&world, app), "b:2");
}

#[test]
fn pods_are_near_and_apart() {
    let apart = r#"{ "apart": [{ "type": "web", "by": "node", "mode": "hard" }] }"#;
    check(&ZONES, 4, apart, "-:1 a1:1 a2:1 b1:1");
    let apart = r#"{ "apart": [{ "type": "web", "by": "zone", "mode": "hard" }] }"#;
    check(&ZONES, 3, apart, "-:1 a1:1 b1:1");
    let near = r#"{ "near": [{ "type": "web", "by": "zone", "mode": "hard" }] }"#;
    check(&ZONES, 3, near, "a1:2 a2:1");
    let soft = r#"{ "near": [{ "type": "web", "by": "node" }] }"#;
    check(&ZONES, 3, soft, "a1:3");

    let (mut world, _) = deployed(world(&ZONES), 1, r#"{ "require": ["disk"] }"#);
    let other = world.add_app("other");
    let near = r#"{ "near": [{ "app": "shop", "type": "web", "by": "node", "mode": "hard" }] }"#;
    world.set_placement(other, "web", near);
    world.deploy(other, &[web(2)], false);
    world.plan();
    assert_eq!(shares(&world, other), "b1:2");
    let lonely = world.add_app("lonely");
    world.set_placement(lonely, "web", &near.replace("shop", "nobody"));
    world.deploy(lonely, &[web(1)], false);
    world.plan();
    assert_eq!(shares(&world, lonely), "-:1");
}

#[test]
fn packing_fills_one_machine_before_the_next() {
    let mut world = world(&[("a", &[], &[]), ("b", &[], &[])]);
    world.snapshot.policy.strategy = policy::Strategy::Pack;
    // 512 MiB each, of 4 times 1024 MiB.
    let (world, app) = deployed(world, 10, "{}");
    assert_eq!(shares(&world, app), "a:8 b:2");
}

#[test]
fn overcommit_is_a_policy() {
    let mut world = world(&[("a", &[], &[])]);
    world.snapshot.policy.memory_percent = 100;
    let (world, app) = deployed(world, 3, "{}");
    assert_eq!(shares(&world, app), "-:1 a:2");
}

#[test]
fn who_has_the_higher_priority_is_placed_first() {
    let mut world = world(&[("a", &[], &[])]);
    for (name, priority) in [("low", "low"), ("normal", "normal"), ("high", "high")] {
        let app = world.add_app(name);
        world.set_placement(app, "web", &format!("{{ \"priority\": \"{priority}\" }}"));
        world.deploy(app, &[web(5)], false);
    }
    world.plan();
    let placed: Vec<_> = world
        .snapshot
        .apps
        .keys()
        .map(|app| shares(&world, *app))
        .collect();
    assert_eq!(placed, ["-:5", "-:2 a:3", "a:5"]);
}

#[test]
fn many_machines_share_a_line() {
    let mut world = World::new();
    for n in 0..412 {
        world.set_node(&format!("n{n}"), 10, 4000);
    }
    world.set_node("off", 1024, 4000);
    world.set_node_state("off", NodeState::Cordoned);
    let (world, app) = deployed(world, 1, "{}");
    let why = pods(&world, app).next().unwrap().unplaced.clone().unwrap();
    assert_eq!(
        why,
        "412 machines: have less memory than the 512 MiB needed\noff: is cordoned"
    );
}

#[test]
fn what_can_never_fit_is_known_at_once() {
    let world = world(&ZONES);
    let never = |size: &SizeName, placement: &str| {
        let placement = serde_json::from_str(placement).unwrap();
        place::never_fits(&world.snapshot.nodes, &placement, resources(size))
    };
    assert_eq!(never(&size("standard-1x"), "{}"), None);
    let why = never(&size("performance-l"), "{}").unwrap();
    assert!(
        why.starts_with("a1: needs 14336 MiB of memory, the machine has 1024 MiB\n"),
        "{why}"
    );
    let why = never(&size("nano"), r#"{ "require": ["gpu"] }"#).unwrap();
    assert!(why.starts_with("a1: lacks the label gpu\n"), "{why}");
    let (nobody, any) = (BTreeMap::new(), serde_json::from_str("{}").unwrap());
    let nothing = place::never_fits(&nobody, &any, resources(&size("nano")));
    assert_eq!(nothing, None, "no machine has reported yet");
}

#[test]
fn sidecars_count_as_the_pods_own() {
    let deployed = |sidecars_mib: u64| {
        let mut world = world(&ZONES[..1]);
        let app = world.add_app("shop");
        let release = world.deploy(app, &[web(8)], false);
        let release = world.app(app).releases.get_mut(&release).unwrap();
        let sidecars = Resources {
            memory_bytes: sidecars_mib << 20,
            ..Resources::default()
        };
        release.types.get_mut("web").unwrap().sidecars = sidecars;
        world.plan();
        (world, app)
    };
    // Room for 8 pods without sidecars; what never fits is not even tried.
    for (sidecars_mib, want) in [(0, "a1:8"), (256, "-:3 a1:5"), (4096, "")] {
        let (world, app) = deployed(sidecars_mib);
        assert_eq!(shares(&world, app), want, "{sidecars_mib}");
    }
}

/// Everything that was told to start is up, everything that was told to stop has ended.
fn obey(world: &mut World) {
    let now = world.now;
    world.report_router("edge", world.snapshot.routes_generation, BTreeMap::new());
    let pods = world
        .snapshot
        .apps
        .values_mut()
        .flat_map(|app| app.pods.values_mut());
    for pod in pods.filter(|pod| pod.node.is_some()) {
        pod.status = Some(crate::world::status(pod.id, "ready", now));
        pod.gone = pod.intent == PodIntent::Stopping;
    }
    world.plan();
}

#[test]
fn a_pod_of_higher_priority_takes_the_place_of_few_and_young_ones_within_their_budget() {
    // Room for 8 pods on each.
    let mut world = world(&[("a", &[], &[]), ("b", &[], &[])]);
    let mut apps = BTreeMap::new();
    for (name, placement, quantity) in [
        (
            "strict",
            r#"{ "priority": "low", "max-unavailable": 0, "require": ["!x"] }"#,
            8,
        ),
        ("old", r#"{ "priority": "low" }"#, 4),
        ("young", r#"{ "priority": "low" }"#, 4),
    ] {
        let app = world.add_app(name);
        world.set_placement(app, "web", placement);
        world.deploy(app, &[web(quantity)], false);
        world.now += chrono::Duration::seconds(5);
        world.plan();
        obey(&mut world);
        apps.insert(name, app);
    }
    obey(&mut world);
    let urgent = world.add_app("urgent");
    world.set_placement(urgent, "web", r#"{ "priority": "high" }"#);
    world.deploy(urgent, &[web(3)], false);
    world.plan();
    let leaving = |world: &World, app: AppId| {
        let wanted = |pod: &&Pod| pod.intent != PodIntent::Wanted;
        pods(world, app).filter(wanted).count()
    };
    // One of each: a quarter of four. The third finds nobody who may go.
    assert_eq!(leaving(&world, apps["strict"]), 0);
    assert_eq!(leaving(&world, apps["young"]), 1);
    assert_eq!(leaving(&world, apps["old"]), 1);
    for _ in 0..4 {
        obey(&mut world);
    }
    let placed = pods(&world, urgent)
        .filter(|pod| pod.node.is_some())
        .count();
    assert_eq!(placed, 2, "{}", shares(&world, urgent));
    // Nobody takes anything from equals.
    let equal = world.add_app("equal");
    world.set_placement(equal, "web", r#"{ "priority": "low" }"#);
    world.deploy(equal, &[web(1)], false);
    world.plan();
    assert_eq!(shares(&world, equal), "-:1");
    assert_eq!(
        leaving(&world, apps["old"]) + leaving(&world, apps["young"]),
        0
    );
}

fn placements() -> impl Strategy<Value = String> {
    let rule = |name: &'static str| {
        let by = prop_oneof![Just("zone"), Just("node")];
        let mode = prop_oneof![Just("soft"), Just("hard")];
        (by, mode, Just(name))
            .prop_map(|(by, mode, name)| format!(r#"{{ {name}"by": "{by}", "mode": "{mode}" }}"#))
    };
    (
        prop::option::of(rule("")),
        prop::option::of(rule(r#""type": "web", "#)),
        prop_oneof![
            Just("zone"),
            Just("zone=z1"),
            Just("!zone"),
            Just("zone!=z0")
        ],
        any::<bool>(),
    )
        .prop_map(|(spread, apart, label, required)| {
            let list = if required { "require" } else { "prefer" };
            let spread = spread.unwrap_or_default();
            let apart = apart.unwrap_or_default();
            format!(r#"{{ "spread": [{spread}], "apart": [{apart}], "{list}": ["{label}"] }}"#)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the rules: hard ones hold for every pod that was placed, a pod that was not could
    /// not have been, and a planner with a memory places like one that counts anew.
    #[test]
    fn hard_rules_hold(
        machines in prop::collection::vec((0..4u8, 200..3000u64), 1..7),
        apps in prop::collection::vec((placements(), 1..6u32), 1..4),
    ) {
        let mut world = World::new();
        for (n, (zone, memory)) in machines.iter().enumerate() {
            let name = format!("n{n}");
            world.set_node(&name, *memory, 4000);
            let zone = format!("zone=z{zone}");
            let labels = [zone.as_str()];
            world.set_facts(&name, if zone == "zone=z3" { &[] } else { &labels }, &[]);
        }
        for (n, (placement, quantity)) in apps.iter().enumerate() {
            let app = world.add_app(&format!("app{n}"));
            world.set_placement(app, "web", placement);
            world.deploy(app, &[web(*quantity)], false);
            world.plan();
        }
        for app in world.snapshot.apps.values() {
            let Some(first) = app.pods.values().next() else {
                prop_assert!(app.deployments.is_empty(), "only what can never run has no pods");
                continue;
            };
            let placement = app.placement(first);
            let zone = |pod: &Pod| {
                let node = &world.snapshot.nodes[pod.node.as_ref().unwrap()];
                node.facts.labels.get("zone").map(ToString::to_string)
            };
            let bound: Vec<&Pod> = app.pods.values().filter(|pod| pod.node.is_some()).collect();
            for pod in &bound {
                let labels = &world.snapshot.nodes[pod.node.as_ref().unwrap()].facts.labels;
                prop_assert!(placement.required().all(|it| it.matches(labels)));
                for apart in placement.apart.iter().filter(|it| it.mode == fairway_api::placement::Strictness::Hard) {
                    let beside = bound.iter().filter(|other| match apart.by {
                        fairway_api::placement::Domain::Node => other.node == pod.node,
                        fairway_api::placement::Domain::Zone => zone(other) == zone(pod),
                    });
                    prop_assert_eq!(beside.count(), 1);
                }
            }
            let why = app.pods.values().find_map(|pod| pod.unplaced.as_ref());
            if let Some(why) = why {
                prop_assert_eq!(why.lines().count(), world.snapshot.nodes.len());
            }
        }
    }
}
