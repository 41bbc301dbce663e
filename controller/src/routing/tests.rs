use chrono::DateTime;
use fairway_api::{
    ids::PodId,
    pods::{PodPhase, PodStatus},
};
use fairway_scheduler::{
    jobs::Jobs,
    snapshot::{Pod, PodIntent, PodKind},
};

use super::*;

const CURRENT: ReleaseId = ReleaseId::from_u128(10);
const OTHER: ReleaseId = ReleaseId::from_u128(11);
const APP: AppId = AppId::from_u128(1);

fn pod(id: u128, process_type: &str, release: ReleaseId, ready: bool) -> Pod {
    let id = PodId::from_u128(id);
    let status = PodStatus {
        id,
        phase: PodPhase::Running { ready },
        address: Some([10, 0, 0, 7].into()),
        restarts: 0,
        started_at: None,
        last_exit: None,
        check_failure: None,
        containers: vec![],
    };
    Pod {
        id,
        release,
        kind: PodKind::Service,
        process_type: process_type.parse().unwrap(),
        ordinal: 1,
        name: format!("{process_type}.1"),
        size: "nano".parse().unwrap(),
        sidecars: Default::default(),
        node: Some("one".parse().unwrap()),
        unplaced: None,
        intent: PodIntent::Wanted,
        stop_at: None,
        status: Some(status),
        gone: false,
        created_at: DateTime::UNIX_EPOCH,
    }
}

fn routes_of(pods: Vec<Pod>, edge: &Edge) -> Vec<Route> {
    let app = App {
        id: APP,
        name: "shop".parse().unwrap(),
        current: Some(CURRENT),
        releases: BTreeMap::new(),
        formation: BTreeMap::new(),
        placements: BTreeMap::new(),
        deployments: vec![],
        pods: pods.into_iter().map(|pod| (pod.id, pod)).collect(),
        jobs: Jobs::default(),
        volumes: BTreeMap::new(),
    };
    let mut routing = Routing::default();
    routing.claim(APP, &[], &edge.hostnames);
    routing.set(&app, edge);
    let touched = routing.take_touched();
    assert!(touched.is_whole);
    routing.set(&app, edge);
    let again = routing.take_touched();
    assert!(again.routes.is_empty(), "the same once more is no change");
    assert!(!again.is_whole);
    touched.routes.into_values().flatten().collect()
}

fn edge() -> Edge {
    Edge {
        hostnames: vec![
            "shop.test".parse().unwrap(),
            "www.shop.com".parse().unwrap(),
        ],
        maintenance: true,
        on_demand: true,
        affinity: None,
        ports: [(CURRENT, 3000)].into(),
    }
}

#[test]
fn only_ready_web_pods_of_the_serving_release_are_endpoints() {
    let retired = Pod {
        intent: PodIntent::Retired {
            at: DateTime::UNIX_EPOCH,
            unrouted_in: 1,
        },
        ..pod(4, "web", CURRENT, true)
    };
    let one_off = Pod {
        kind: PodKind::Run,
        ..pod(5, "web", CURRENT, true)
    };
    let mut nowhere = pod(7, "web", CURRENT, true);
    nowhere.status.as_mut().unwrap().address = None;
    let pods = vec![
        pod(1, "web", CURRENT, true),
        pod(2, "web", CURRENT, false),
        pod(3, "web", OTHER, true),
        retired,
        one_off,
        pod(6, "worker", CURRENT, true),
        nowhere,
    ];
    let routes = routes_of(pods, &edge());
    assert_eq!(routes.len(), 2, "each hostname has its route");
    for route in &routes {
        let endpoints: Vec<_> = route.service.endpoints.iter().map(|it| it.pod).collect();
        assert_eq!(endpoints, [PodId::from_u128(1)]);
        assert_eq!(
            route.service.endpoints[0].address.to_string(),
            "10.0.0.7:3000"
        );
        assert!(route.service.maintenance && route.service.on_demand);
    }
}

#[test]
fn an_app_without_ready_pods_keeps_its_routes() {
    let routes = routes_of(vec![], &edge());
    assert_eq!(routes.len(), 2);
    assert!(
        routes
            .iter()
            .all(|route| route.service.endpoints.is_empty())
    );
}

#[test]
fn a_hostname_of_no_app_has_no_route() {
    let mut routing = Routing::default();
    routing.claim(APP, &[], &edge().hostnames);
    let touched = routing.take_touched().routes;
    assert_eq!(touched.len(), 2);
    assert!(touched.values().all(Option::is_none));
}

#[test]
fn hostnames_that_change_hands_are_touched_on_both_sides() {
    let (one, two): (Vec<Hostname>, Vec<Hostname>) = (
        vec!["one.test".parse().unwrap()],
        vec!["two.test".parse().unwrap()],
    );
    let mut routing = Routing::default();
    routing.claim(APP, &[], &one);
    drop(routing.take_touched());
    routing.claim(APP, &one, &two);
    let touched = routing.take_touched().routes;
    let names: Vec<_> = touched.keys().map(|key| key.hostname.as_str()).collect();
    assert_eq!(names, ["one.test", "two.test"]);
}

#[test]
fn a_hostname_that_moved_stays_with_its_new_app() {
    let other = AppId::from_u128(2);
    let name: Vec<Hostname> = vec!["shop.test".parse().unwrap()];
    let mut routing = Routing::default();
    routing.claim(APP, &[], &name);
    routing.claim(other, &[], &name);
    routing.remove(APP, &name);
    assert_eq!(routing.hostnames.get(&name[0]), Some(&other));
}
