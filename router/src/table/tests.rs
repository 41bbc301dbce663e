use std::{borrow::Cow, collections::HashSet, sync::Arc};

use fairway_api::{
    ids::{AppId, PodId},
    routes::{Endpoint, Route, RouteChanges, Service},
};
use proptest::prelude::*;
use tokio::sync::Notify;

use super::{Table, normalise_host};
use crate::{canary::Sides, drain::Load, traffic::Meters};

fn route(app: u128, host: &str, path: &str) -> Route {
    Route {
        hostname: host.parse().unwrap(),
        path: path.into(),
        service: Service {
            app: AppId::from_u128(app),
            app_name: "shop".parse().unwrap(),
            process_type: "web".parse().unwrap(),
            maintenance: false,
            on_demand: false,
            endpoints: vec![Endpoint {
                pod: PodId::from_u128(app),
                name: "web.1".into(),
                address: "127.0.0.1:80".parse().unwrap(),
                affinity: None,
            }],
            canary: None,
        },
    }
}

fn compile(routes: Vec<Route>) -> Table {
    with(&Table::default(), routes, &[])
}

/// The table with these routes in the place of those with their names, and without `gone`.
fn with(table: &Table, routes: Vec<Route>, gone: &[Route]) -> Table {
    let gone = gone.iter().map(|route| (route.key(), None));
    let routes = routes.into_iter().map(|route| (route.key(), Some(route)));
    let changes = RouteChanges {
        generation: table.generation + 1,
        routes: gone.chain(routes).collect(),
    };
    let load = |_| Arc::new(Load::new(Arc::new(Notify::new())));
    let sides = |_, step| Arc::new(Sides::new(step));
    table.with(&changes, &Meters::new(), load, sides)
}

fn found(table: &Table, host: &str, path: &str) -> Option<u128> {
    table
        .find(host, path)
        .map(|service| service.app.as_uuid().as_u128())
}

#[test]
fn the_longest_prefix_of_the_exact_host_wins() {
    let table = compile(vec![
        route(1, "shop.localhost", "/"),
        route(2, "shop.localhost", "/api"),
        route(3, "shop.localhost", "/api/v2/"),
        route(4, "docs.localhost", "/docs"),
        route(5, "shop.localhost", "/api/"),
    ]);
    for (host, path, expect) in [
        ("shop.localhost", "/", Some(1)),
        ("shop.localhost", "/apix", Some(1)),
        ("shop.localhost", "/api", Some(2)),
        ("shop.localhost", "/api/", Some(2)),
        ("shop.localhost", "/api/v1", Some(2)),
        ("shop.localhost", "/api/v2", Some(3)),
        ("shop.localhost", "/api/v2/x", Some(3)),
        ("shop.localhost", "/api/v22", Some(2)),
        ("shop.localhost", "/API", Some(1)),
        ("shop.localhost", "*", Some(1)),
        ("shop.localhost", "", Some(1)),
        ("docs.localhost", "/docs/a", Some(4)),
        ("docs.localhost", "/", None),
        ("docs.localhost", "*", None),
        ("localhost", "/", None),
        ("x.shop.localhost", "/", None),
        ("", "/", None),
    ] {
        assert_eq!(found(&table, host, path), expect, "{host}{path}");
    }
}

#[test]
fn the_empty_table_finds_nothing() {
    assert_eq!(found(&Table::default(), "shop.localhost", "/"), None);
}

#[test]
fn hosts_are_normalised_or_refused() {
    for (host, expect) in [
        ("shop.localhost", Some("shop.localhost")),
        ("Shop.LOCALHOST:8080", Some("shop.localhost")),
        ("shop.localhost.", Some("shop.localhost")),
        ("shop.localhost.:80", Some("shop.localhost")),
        ("shop.localhost:", Some("shop.localhost")),
        ("a_b.example", Some("a_b.example")),
        ("127.0.0.1:80", Some("127.0.0.1")),
        ("[::1]:8080", Some("[::1]")),
        ("[::1]", Some("[::1]")),
        ("", None),
        (".", None),
        (":80", None),
        ("shop:80:80", None),
        ("shop:80a", None),
        ("shop localhost", None),
        ("shop/localhost", None),
        ("user@shop", None),
        ("sh\u{f6}p", None),
        ("shop,other", None),
        ("[::1", None),
        ("[::1]x", None),
        ("shop\0", None),
    ] {
        assert_eq!(normalise_host(host).as_deref(), expect, "{host:?}");
    }
    assert_eq!(normalise_host(&"a".repeat(254)), None);
    // Nearly every host is right as it is and costs no copy.
    assert!(matches!(
        normalise_host("shop.localhost:80"),
        Some(Cow::Borrowed(_))
    ));
}

/// What `find` should do, said once more in the slowest way.
fn expected(paths: &[String], path: &str) -> Option<u128> {
    let mut best: Option<(usize, u128)> = None;
    for (number, prefix) in paths.iter().enumerate() {
        let prefix = prefix.trim_end_matches('/');
        let covers = path == prefix || path.starts_with(&format!("{prefix}/"));
        if covers && best.is_none_or(|(length, _)| prefix.len() > length) {
            best = Some((prefix.len(), number as u128));
        }
    }
    best.map(|(_, number)| number)
}

proptest! {
    #[test]
    fn find_agrees_with_the_definition(
        paths in prop::collection::vec("(/[ab]{0,2}){1,3}", 0..8),
        path in "(/[ab]{0,2}){1,4}",
    ) {
        // Of two names for one prefix the shorter counts, which is not what this is about.
        let mut prefixes = HashSet::new();
        let mut paths = paths;
        paths.retain(|path| prefixes.insert(path.trim_end_matches('/').to_owned()));
        let routes = paths.iter().enumerate();
        let table = compile(
            routes.map(|(number, path)| route(number as u128, "shop.localhost", path)).collect(),
        );
        prop_assert_eq!(found(&table, "shop.localhost", &path), expected(&paths, &path));
    }

    #[test]
    fn normalising_never_panics_and_is_done_after_once(host in "\\PC{0,40}|[a-zA-Z.:\\[\\]0-9-]{0,20}") {
        if let Some(once) = normalise_host(&host) {
            prop_assert!(!once.bytes().any(|byte| byte.is_ascii_uppercase()));
            let stable = once.ends_with('.') || normalise_host(&once).as_deref() == Some(&*once);
            prop_assert!(stable, "{once}");
        }
    }
}

#[test]
fn what_has_not_changed_is_shared_and_the_rest_replaced() {
    let before = compile(vec![
        route(1, "shop.localhost", "/"),
        route(2, "shop.localhost", "/api"),
        route(3, "docs.localhost", "/"),
        route(4, "old.localhost", "/"),
    ]);
    let after = with(
        &before,
        vec![route(5, "shop.localhost", "/api")],
        &[route(4, "old.localhost", "/")],
    );
    for (table, api, old) in [(&before, 2, Some(4)), (&after, 5, None)] {
        assert_eq!(found(table, "shop.localhost", "/"), Some(1));
        assert_eq!(found(table, "shop.localhost", "/api"), Some(api));
        assert_eq!(found(table, "docs.localhost", "/"), Some(3));
        assert_eq!(found(table, "old.localhost", "/"), old);
    }
    let shop = |table: &Table| std::ptr::from_ref(table.find("shop.localhost", "/").unwrap());
    assert_eq!(shop(&before), shop(&after));
    let none = with(&after, vec![], &[route(1, "shop.localhost", "/")]);
    assert_eq!(found(&none, "shop.localhost", "/"), None);
    assert_eq!(found(&none, "shop.localhost", "/api"), Some(5));
}
