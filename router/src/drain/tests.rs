use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use fairway_api::{
    ids::{AppId, DeploymentId, PodId},
    routes::{Canary, Endpoint, Route, RouteChanges, Service},
};
use futures_util::FutureExt as _;

use super::{InFlight, Refused, Tables};
use crate::{balance::Random, failure::Failure};

fn order(generation: u64, pods: &[u128]) -> RouteChanges {
    let route = route("shop.localhost", pods);
    RouteChanges {
        generation,
        routes: [(route.key(), Some(route))].into(),
    }
}

fn route(host: &str, pods: &[u128]) -> Route {
    let endpoints = pods.iter().map(|pod| Endpoint {
        pod: PodId::from_u128(*pod),
        name: format!("web.{pod}"),
        address: "127.0.0.1:80".parse().unwrap(),
        affinity: None,
    });
    let service = Service {
        app: AppId::from_u128(1),
        app_name: "shop".parse().unwrap(),
        process_type: "web".parse().unwrap(),
        maintenance: false,
        on_demand: false,
        endpoints: endpoints.collect(),
        canary: None,
    };
    Route {
        hostname: host.parse().unwrap(),
        path: "/".into(),
        service,
    }
}

fn choose(tables: &Tables) -> Result<InFlight, Failure> {
    tables
        .choose(("shop.localhost", "/"), None, &[], Random::default())
        .pod
}

fn draining(pods: &[(u128, u32)]) -> BTreeMap<PodId, u32> {
    pods.iter()
        .map(|(pod, count)| (PodId::from_u128(*pod), *count))
        .collect()
}

#[test]
fn older_and_equal_generations_are_refused() {
    let tables = Tables::new();
    assert!(matches!(choose(&tables), Err(Failure::NoTable)));
    tables.install(&order(5, &[1])).unwrap();
    assert_eq!(
        tables.install(&order(4, &[2])),
        Err(Refused::Older {
            offered: 4,
            current: 5
        })
    );
    assert_eq!(tables.install(&order(5, &[2])), Err(Refused::Same(5)));
    assert_eq!(choose(&tables).unwrap().endpoint().pod, PodId::from_u128(1));
}

#[test]
fn a_request_to_a_pod_that_left_is_reported_until_it_ends() {
    let tables = Tables::new();
    tables.install(&order(1, &[1])).unwrap();
    assert!(tables.report_due().now_or_never().is_some(), "after a swap");
    let (first, second) = (choose(&tables).unwrap(), choose(&tables).unwrap());
    assert_eq!(
        tables.report(),
        (1, draining(&[])),
        "a pod in the table does not drain"
    );
    tables.install(&order(2, &[2])).unwrap();
    assert!(tables.report_due().now_or_never().is_some(), "after a swap");
    assert_eq!(tables.report(), (2, draining(&[(1, 2)])));
    drop(first);
    assert!(
        tables.report_due().now_or_never().is_none(),
        "one is still open"
    );
    drop(second);
    assert!(
        tables.report_due().now_or_never().is_some(),
        "the last one ended"
    );
    assert_eq!(tables.report(), (2, draining(&[])));
    // A request to a pod that stays asks for no report.
    drop(choose(&tables).unwrap());
    assert!(tables.report_due().now_or_never().is_none());
}

#[test]
fn a_pod_that_comes_back_keeps_its_count() {
    let tables = Tables::new();
    tables.install(&order(1, &[1])).unwrap();
    let open = choose(&tables).unwrap();
    tables.install(&order(2, &[2])).unwrap();
    assert_eq!(tables.report().1, draining(&[(1, 1)]));
    tables.install(&order(3, &[1])).unwrap();
    assert_eq!(tables.report().1, draining(&[]), "it is named again");
    tables.install(&order(4, &[])).unwrap();
    assert_eq!(tables.report().1, draining(&[(1, 1)]));
    drop(open);
    assert_eq!(tables.report().1, draining(&[]));
    assert!(matches!(choose(&tables), Err(Failure::NoPods)));
}

fn canary(generation: u64, step: u32) -> RouteChanges {
    let mut route = route("shop.localhost", &[1]);
    route.service.canary = Some(Canary {
        deployment: DeploymentId::from_u128(9),
        step,
        percent: 50,
        endpoints: self::route("shop.localhost", &[2]).service.endpoints,
    });
    RouteChanges {
        generation,
        routes: [(route.key(), Some(route))].into(),
    }
}

#[test]
fn a_pod_leaves_with_the_last_route_that_names_it() {
    let tables = Tables::new();
    let (shop, www) = (route("shop.localhost", &[1]), route("www.localhost", &[1]));
    let install = |generation, routes: &[(&Route, bool)]| {
        let change =
            |(route, there): &(&Route, bool)| (route.key(), there.then(|| (*route).clone()));
        let routes = routes.iter().map(change).collect();
        tables
            .install(&RouteChanges { generation, routes })
            .unwrap();
    };
    install(1, &[(&shop, true), (&www, true)]);
    let open = choose(&tables).unwrap();
    install(2, &[(&www, false)]);
    assert_eq!(tables.report().1, draining(&[]));
    assert!(tables.names(PodId::from_u128(1)));
    // Nothing happens to a route that is not told of.
    install(3, &[]);
    assert!(tables.names(PodId::from_u128(1)));
    install(4, &[(&shop, false)]);
    assert_eq!(tables.report().1, draining(&[(1, 1)]));
    drop(open);
    assert_eq!(tables.report().1, draining(&[]));
    assert!(!tables.names(PodId::from_u128(1)));
}

#[test]
fn a_canary_counts_on_while_other_routes_change() {
    let tables = Tables::new();
    tables.install(&canary(1, 0)).unwrap();
    choose(&tables)
        .unwrap()
        .endpoint()
        .counts
        .as_ref()
        .unwrap()
        .failed();
    let other = route("docs.localhost", &[7]);
    let changes = RouteChanges {
        generation: 2,
        routes: [(other.key(), Some(other))].into(),
    };
    tables.install(&changes).unwrap();
    let (_, tally) = tables.canaries().pop_first().unwrap();
    assert_eq!(tally.stable.errors + tally.canary.errors, 1);
}

#[test]
fn a_canary_shares_requests_and_counts_until_its_step_is_over() {
    let tables = Tables::new();
    tables.install(&canary(1, 0)).unwrap();
    let pick = |side, tried: &[u128]| {
        let tried: Vec<_> = tried.iter().map(|pod| PodId::from_u128(*pod)).collect();
        let random = Random {
            side,
            ..Random::default()
        };
        let request = tables
            .choose(("shop.localhost", "/"), None, &tried, random)
            .pod
            .unwrap();
        let endpoint = request.endpoint();
        endpoint.counts.as_ref().unwrap().failed();
        endpoint.pod.as_uuid().as_u128()
    };
    assert_eq!((pick(0, &[]), pick(u32::MAX, &[])), (2, 1));
    assert_eq!(
        (pick(0, &[2]), pick(u32::MAX, &[1])),
        (1, 2),
        "a side without pods hands over"
    );
    let requests = || {
        let (_, tally) = tables.canaries().pop_first().unwrap();
        (tally.step, tally.stable.requests, tally.canary.errors)
    };
    assert_eq!(requests(), (0, 2, 2));
    tables.install(&canary(2, 0)).unwrap();
    assert_eq!(requests(), (0, 2, 2), "the counts outlive tables");
    tables.install(&canary(3, 1)).unwrap();
    assert_eq!(requests(), (1, 0, 0), "each step counts anew");
    tables.install(&order(4, &[1])).unwrap();
    assert!(tables.canaries().is_empty());
    assert!(choose(&tables).unwrap().endpoint().counts.is_none());
}

/// The promise of the module: once a report says that a pod has drained, no request goes to it.
#[test]
fn no_request_slips_past_a_report() {
    const SWAPS: u64 = 20_000;
    let tables = Arc::new(Tables::new());
    // One for each pod ever: set when the report said that it has drained.
    let drained: Arc<Vec<AtomicBool>> =
        Arc::new((0..=SWAPS).map(|_| AtomicBool::new(false)).collect());
    tables.install(&order(1, &[1])).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let (tables, drained, done) = (tables.clone(), drained.clone(), done.clone());
            thread::spawn(move || {
                let mut count = 0_u64;
                while !done.load(SeqCst) {
                    let request = choose(&tables).unwrap();
                    let pod = request.endpoint().pod.as_uuid().as_u128() as usize;
                    assert!(
                        !drained[pod].load(SeqCst),
                        "a request to pod {pod} after its end"
                    );
                    count += 1;
                    drop(request);
                }
                count
            })
        })
        .collect();
    for generation in 2..=SWAPS {
        tables
            .install(&order(generation, &[u128::from(generation)]))
            .unwrap();
        let before = PodId::from_u128(u128::from(generation - 1));
        while tables.report().1.contains_key(&before) {
            thread::yield_now();
        }
        drained[generation as usize - 1].store(true, SeqCst);
    }
    done.store(true, SeqCst);
    let counts: Vec<u64> = requests
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
