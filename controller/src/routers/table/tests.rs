use std::collections::BTreeMap;

use fairway_api::{
    ids::AppId,
    routes::{NotTaken, RouteBook, RouteUpdate, Service},
};
use proptest::prelude::*;

use super::*;

fn key(host: &str) -> RouteKey {
    RouteKey {
        hostname: host.parse().unwrap(),
        path: "/".into(),
    }
}

/// A route whose app tells versions apart.
fn route(host: &str, version: u128) -> Route {
    Route {
        hostname: host.parse().unwrap(),
        path: "/".into(),
        service: Service {
            app: AppId::from_u128(version),
            app_name: "shop".parse().unwrap(),
            process_type: "web".parse().unwrap(),
            maintenance: false,
            endpoints: vec![],
            on_demand: false,
            canary: None,
        },
    }
}

fn touched(routes: &[(&str, Option<u128>)]) -> Touched {
    let routes = routes
        .iter()
        .map(|(host, version)| (key(host), version.map(|version| route(host, version))));
    Touched {
        is_whole: false,
        routes: routes.collect(),
    }
}

/// Publishes what is different; false if nothing is.
fn publish(table: &Table, generation: u64, touched: Touched) -> bool {
    let changed = table.changed(touched).unwrap();
    let differs = !changed.is_empty();
    if differs || table.published.newest().is_none() || table.published.is_behind() {
        table.publish(generation, changed);
    }
    differs
}

fn update(table: &Table, after: u64, changes: bool) -> RouteUpdate {
    serde_json::from_slice(&table.answer(after, changes).unwrap()).unwrap()
}

fn text(book: &RouteBook) -> String {
    serde_json::to_string(&book.whole()).unwrap()
}

#[test]
fn a_router_is_told_what_changed_since_what_it_has() {
    let table = Table::default();
    publish(&table, 1, touched(&[("a", Some(1)), ("b", Some(1))]));
    publish(&table, 2, touched(&[("b", Some(2)), ("a", Some(1))]));
    publish(&table, 3, touched(&[("a", None), ("c", Some(1))]));
    let told = |after, changes| {
        let update = update(&table, after, changes);
        assert_eq!(update.generation, 3);
        let gone = update.gone.iter().map(|key| key.hostname.to_string());
        (update.since, update.routes.len(), gone.collect::<Vec<_>>())
    };
    assert_eq!(told(2, true), (2, 1, vec!["a".into()]));
    assert_eq!(told(1, true), (1, 2, vec!["a".into()]));
    // Everything for one that has nothing, that is of another history, or that asks for it.
    assert_eq!(told(0, true), (0, 2, vec![]));
    assert_eq!(told(4, true), (0, 2, vec![]));
    assert_eq!(told(2, false), (0, 2, vec![]));
    assert!(!publish(&table, 4, touched(&[("b", Some(2)), ("x", None)])));
}

#[test]
fn a_controller_that_starts_anew_tells_everything_first() {
    let table = Table::default();
    publish(&table, 8, touched(&[("a", Some(1))]));
    assert_eq!(update(&table, 7, true).since, 0);
    // A pass that begins anew knows all routes: what it does not name is gone.
    let whole = Touched {
        is_whole: true,
        ..touched(&[("b", Some(1))])
    };
    assert!(publish(&table, 9, whole));
    let update = update(&table, 8, true);
    assert_eq!(
        (update.since, update.routes.len(), update.gone.len()),
        (8, 1, 1)
    );
}

#[test]
fn routers_of_another_history_are_told_everything() {
    let table = Table::default();
    publish(&table, 1, touched(&[("a", Some(1))]));
    assert!(table.published.note_seen(50));
    publish(&table, 51, touched(&[]));
    assert_eq!(update(&table, 50, true).since, 0);
    publish(&table, 52, touched(&[("a", Some(2))]));
    assert_eq!(update(&table, 51, true).since, 51);
}

#[test]
fn only_so_many_routes_that_are_no_more_are_remembered() {
    let table = Table::default();
    let hosts: Vec<String> = (0..=GONE_MAX).map(|n| format!("h{n}")).collect();
    let all = |version| {
        let routes: Vec<_> = hosts.iter().map(|host| (&**host, version)).collect();
        touched(&routes)
    };
    publish(&table, 1, all(Some(1)));
    publish(&table, 2, touched(&[("h0", None)]));
    publish(&table, 3, touched(&[("x", Some(1))]));
    publish(&table, 4, all(None));
    assert!(table.routes().gone <= GONE_MAX);
    assert_eq!(
        update(&table, 1, true).since,
        0,
        "what left in 2 is forgotten"
    );
    let mut book = RouteBook::default();
    book.take(update(&table, 0, true)).unwrap();
    assert!(text(&book).contains("\"x\""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A router that asks now and then, loses answers, gets old ones again and starts anew ends
    /// with the same routes as one that asks for everything.
    #[test]
    fn routers_follow(
        passes in prop::collection::vec(prop::collection::vec((0_u8..5, prop::option::of(1_u128..4)), 0..4), 1..12),
        asks in prop::collection::vec(0_u8..4, 12),
    ) {
        let (table, mut book) = (Table::default(), RouteBook::default());
        let mut late: Vec<Vec<u8>> = Vec::new();
        let mut now: BTreeMap<String, u128> = BTreeMap::new();
        for (pass, (changes, ask)) in passes.iter().zip(asks).enumerate() {
            let routes: BTreeMap<String, Option<u128>> =
                changes.iter().map(|(host, version)| (format!("h{host}"), *version)).collect();
            let named: Vec<_> = routes.iter().map(|(host, version)| (&**host, *version)).collect();
            publish(&table, pass as u64 + 1, touched(&named));
            for (host, version) in routes {
                match version {
                    Some(version) => now.insert(host, version),
                    None => now.remove(&host),
                };
            }
            let answer = table.answer(book.generation(), true).unwrap();
            late.push(answer.clone());
            let take = |book: &mut RouteBook, answer: &[u8]| {
                let taken = book.take(serde_json::from_slice(answer).unwrap());
                let refused = taken.as_ref().err();
                let broken = matches!(refused, Some(NotTaken::Digest(_) | NotTaken::Route { .. }));
                assert!(!broken, "{refused:?}");
            };
            match ask {
                0 => (),
                1 => take(&mut book, &answer),
                2 => take(&mut book, &late[pass / 2].clone()),
                _ => book = RouteBook::default(),
            }
        }
        if let Ok(update) = serde_json::from_slice(&table.answer(book.generation(), true).unwrap()) {
            drop(book.take(update));
        }
        let mut other = RouteBook::default();
        other.take(update(&table, 0, false)).unwrap();
        prop_assert_eq!(text(&book), text(&other));
        prop_assert_eq!(text(&book).matches("hostname").count(), now.len());
    }
}
