use std::sync::Arc;

use fairway_api::ids::PodId;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::pick;
use crate::{
    drain::{InFlight, Load},
    table::Endpoint,
};

/// Pods numbered from 0, each with this many requests in flight.
fn pods(loads: &[usize]) -> (Vec<Arc<Endpoint>>, Vec<InFlight>) {
    let notice = Arc::new(Notify::new());
    let endpoints: Vec<_> = (0..loads.len())
        .map(|number| {
            Arc::new(Endpoint {
                pod: PodId::from_u128(number as u128),
                name: format!("web.{number}").into(),
                address: "127.0.0.1:80".parse().unwrap(),
                load: Arc::new(Load::new(notice.clone())),
                affinity: None,
                counts: None,
            })
        })
        .collect();
    let in_flight = endpoints
        .iter()
        .zip(loads)
        .flat_map(|(endpoint, load)| (0..*load).map(|_| InFlight::begin(endpoint.clone())))
        .collect();
    (endpoints, in_flight)
}

fn number(picked: Option<&Arc<Endpoint>>) -> Option<u128> {
    picked.map(|endpoint| endpoint.pod.as_uuid().as_u128())
}

#[test]
fn the_less_loaded_of_the_two_is_taken() {
    let (endpoints, _open) = pods(&[5, 1, 3]);
    // The first number picks one, the second picks among the others behind it.
    for (random, expect) in [
        ((0, 0), 1),
        ((0, 1), 2),
        ((1, 0), 1),
        ((2, 0), 2),
        ((2, 1), 1),
    ] {
        assert_eq!(
            number(pick(&endpoints, &[], 0, random)),
            Some(expect),
            "{random:?}"
        );
    }
}

#[test]
fn ejected_pods_are_passed_over_until_their_time_is_up() {
    let (endpoints, _open) = pods(&[0, 9]);
    endpoints[0].load.eject(1_000);
    assert_eq!(number(pick(&endpoints, &[], 1_000, (0, 0))), Some(1));
    assert_eq!(number(pick(&endpoints, &[], 2_999, (0, 0))), Some(1));
    assert_eq!(number(pick(&endpoints, &[], 3_000, (0, 0))), Some(0));
    // With nobody else left the ejected one is better than nobody.
    endpoints[1].load.eject(1_000);
    assert_eq!(number(pick(&endpoints, &[], 1_000, (0, 0))), Some(0));
    let tried = [PodId::from_u128(0)];
    assert_eq!(number(pick(&endpoints, &tried, 1_000, (0, 0))), Some(1));
}

#[test]
fn nobody_is_picked_when_all_were_tried() {
    let (endpoints, _open) = pods(&[0, 0]);
    let tried = [PodId::from_u128(0), PodId::from_u128(1)];
    assert_eq!(number(pick(&endpoints, &tried, 0, (7, 7))), None);
    assert_eq!(number(pick(&[], &[], 0, (0, 0))), None);
}

proptest! {
    #[test]
    fn a_healthy_untried_pod_is_picked_if_there_is_one(
        pods_state in prop::collection::vec((0usize..4, any::<bool>(), any::<bool>()), 0..6),
        random in any::<(u32, u32)>(),
    ) {
        let loads: Vec<usize> = pods_state.iter().map(|(load, ..)| *load).collect();
        let (endpoints, _open) = pods(&loads);
        let mut tried = Vec::new();
        for (endpoint, (_, ejected, was_tried)) in endpoints.iter().zip(&pods_state) {
            if *ejected { endpoint.load.eject(0) }
            if *was_tried { tried.push(endpoint.pod) }
        }
        let picked = number(pick(&endpoints, &tried, 1, random)).map(|number| number as usize);
        let untried = pods_state.iter().any(|(_, _, tried)| !tried);
        let healthy = pods_state.iter().any(|(_, ejected, tried)| !tried && !ejected);
        prop_assert_eq!(picked.is_some(), untried);
        if let Some(picked) = picked {
            let (_, ejected, tried) = pods_state[picked];
            prop_assert!(!tried);
            prop_assert_eq!(ejected, !healthy);
        }
    }
}
