use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A route whose app's name tells versions apart.
fn route(host: &str, version: u32) -> Box<RawValue> {
    let route = json!({
        "hostname": host,
        "path": "/",
        "service": {
            "app": format!("00000000-0000-0000-0000-{version:012}"),
            "app_name": format!("app-{version}"),
            "process_type": "web",
            "maintenance": false,
            "endpoints": [],
            "a field of a newer controller": 1,
        },
    });
    serde_json::value::to_raw_value(&route).unwrap()
}

fn key(host: &str) -> RouteKey {
    RouteKey {
        hostname: host.parse().unwrap(),
        path: "/".into(),
    }
}

fn digest(routes: &[Box<RawValue>]) -> RoutesDigest {
    let mut all = RoutesDigest::default();
    routes
        .iter()
        .for_each(|route| all.toggle(RoutesDigest::of(route)));
    all
}

fn whole(generation: u64, routes: &[Box<RawValue>]) -> RouteUpdate {
    RouteUpdate {
        generation,
        since: 0,
        routes: routes.to_vec(),
        gone: vec![],
        digest: Some(digest(routes)),
    }
}

fn text(book: &RouteBook) -> String {
    serde_json::to_string(&book.whole()).unwrap()
}

#[test]
fn changes_lead_to_the_same_as_the_whole() {
    let (a, b, b2, c) = (route("a", 1), route("b", 1), route("b", 2), route("c", 1));
    let mut book = RouteBook::default();
    let taken = book.take(whole(3, &[a, b])).unwrap();
    assert_eq!(taken.routes.len(), 2);
    let update = RouteUpdate {
        generation: 5,
        since: 3,
        routes: vec![b2.clone(), c.clone()],
        gone: vec![key("a"), key("never-there")],
        digest: Some(digest(&[b2.clone(), c.clone()])),
    };
    let taken = book.take(update).unwrap();
    assert_eq!(taken.generation, 5);
    let changed: Vec<_> = taken
        .routes
        .iter()
        .map(|(key, route)| (key.hostname.as_str(), route.is_some()))
        .collect();
    assert_eq!(changed, [("a", false), ("b", true), ("c", true)]);
    let mut other = RouteBook::default();
    other.take(whole(5, &[c, b2])).unwrap();
    assert_eq!(text(&book), text(&other));
}

#[test]
fn a_whole_table_says_only_what_is_different() {
    let mut book = RouteBook::default();
    book.take(whole(1, &[route("a", 1), route("b", 1)]))
        .unwrap();
    let taken = book
        .take(whole(2, &[route("b", 1), route("c", 1)]))
        .unwrap();
    let changed: Vec<_> = taken
        .routes
        .keys()
        .map(|key| key.hostname.as_str())
        .collect();
    assert_eq!(changed, ["a", "c"]);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut book = RouteBook::default();
    book.take(whole(7, &[route("a", 1)])).unwrap();
    let before = text(&book);
    let changes = |generation, since, digest| RouteUpdate {
        generation,
        since,
        routes: vec![route("b", 1)],
        gone: vec![],
        digest: Some(digest),
    };
    let right = digest(&[route("a", 1), route("b", 1)]);
    let mut refused = |update, everything, words: &str| {
        let why = book.take(update).unwrap_err();
        assert!(why.to_string().contains(words), "{why}");
        assert_eq!(why.needs_everything(), everything);
        assert_eq!(text(&book), before);
    };
    refused(whole(6, &[]), false, "older than 7");
    refused(whole(7, &[]), false, "in use already");
    refused(changes(7, 3, right), false, "in use already");
    refused(changes(9, 8, right), true, "begin at route table 8");
    refused(changes(9, 7, digest(&[])), true, "not what they should be");
    let unreadable = RouteUpdate {
        routes: vec![RawValue::from_string("{}".into()).unwrap()],
        ..changes(9, 7, right)
    };
    refused(unreadable, false, "cannot be read");
    // What it had of later tables already does no harm.
    book.take(changes(9, 3, right)).unwrap();
}

#[test]
fn a_whole_table_counts_whatever_its_digest() {
    let mut book = RouteBook::default();
    let update = RouteUpdate {
        digest: Some(RoutesDigest::default()),
        ..whole(1, &[route("a", 1)])
    };
    book.take(update).unwrap();
    assert_eq!(book.generation(), 1);
    assert_eq!(book.digest, digest(&[route("a", 1)]));
}

#[test]
fn of_two_routes_with_one_key_the_first_counts() {
    let mut book = RouteBook::default();
    book.take(whole(1, &[route("a", 1), route("a", 2)]))
        .unwrap();
    assert!(text(&book).contains("app-1") && !text(&book).contains("app-2"));
}

#[test]
fn an_older_controllers_table_reads_as_all_routes() {
    let update: RouteUpdate = serde_json::from_str(r#"{"generation": 4, "routes": []}"#).unwrap();
    let mut book = RouteBook::default();
    assert!(book.take(update).unwrap().routes.is_empty());
    assert_eq!(book.generation(), 4);
}

#[test]
fn a_digest_comes_back_from_its_text() {
    let digest = RoutesDigest::of(&route("a", 1));
    let text = serde_json::to_string(&digest).unwrap();
    assert_eq!(serde_json::from_str::<RoutesDigest>(&text).unwrap(), digest);
    for wrong in ["\"\"", "\"zz\"", "4", &text.replace('a', "g"), &text[..65]] {
        assert!(serde_json::from_str::<RoutesDigest>(wrong).is_err());
    }
    let long = format!("\"{}00\"", digest);
    assert!(serde_json::from_str::<RoutesDigest>(&long).is_err());
}

/// The routes of each generation from 1 on: by hostname a version, or nothing.
type History = Vec<BTreeMap<u8, u32>>;

/// What changed from generation `since` to `to`, told from the routes as they are at `to`.
fn changes(history: &History, since: usize, to: usize) -> RouteUpdate {
    let host = |number: u8| format!("h{number}");
    let now = &history[to - 1];
    let all: Vec<_> = now.iter().map(|(h, v)| route(&host(*h), *v)).collect();
    if since == 0 {
        return whole(to as u64, &all);
    }
    let touched: BTreeSet<u8> = (since..to)
        .flat_map(|at| {
            let (before, after) = (&history[at - 1], &history[at]);
            let hosts: BTreeSet<u8> = before.keys().chain(after.keys()).copied().collect();
            hosts.into_iter().filter(|h| before.get(h) != after.get(h))
        })
        .collect();
    let (there, gone): (Vec<u8>, Vec<u8>) = touched.into_iter().partition(|h| now.contains_key(h));
    RouteUpdate {
        generation: to as u64,
        since: since as u64,
        routes: there.iter().map(|h| route(&host(*h), now[h])).collect(),
        gone: gone.iter().map(|h| key(&host(*h))).collect(),
        digest: Some(digest(&all)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is lost, doubled, overtaken or spoilt: what was taken is a table that there was, no
    /// generation goes back, and who asks after a refusal has the newest.
    #[test]
    fn messages_may_be_lost_doubled_and_reordered(
        history in prop::collection::vec(prop::collection::btree_map(0_u8..6, 0_u32..3, 0..6), 2..8),
        // Which generation the message begins and ends at, and whether it is spoilt on its way.
        messages in prop::collection::vec((0_usize..8, 1_usize..8, prop::bool::weighted(0.2)), 0..12),
    ) {
        let mut book = RouteBook::default();
        for (since, to, spoilt) in messages {
            let to = to.min(history.len());
            let since = since.min(to - 1);
            let mut update = changes(&history, since, to);
            // A whole table is right by itself; it cannot be spoilt by a mistake in counting.
            if spoilt && since > 0 {
                update.routes.push(route("spoilt", 9));
            }
            let before = book.generation();
            let taken = book.take(update);
            prop_assert!(taken.is_err() == (book.generation() == before));
            prop_assert!(book.generation() >= before);
            prop_assert!(!(spoilt && since > 0 && taken.is_ok()));
            if let Some(at) = (book.generation() as usize).checked_sub(1) {
                let mut fresh = RouteBook::default();
                fresh.take(changes(&history, 0, at + 1)).unwrap();
                prop_assert_eq!(text(&book), text(&fresh));
            }
        }
        let newest = history.len();
        let current = book.generation() as usize;
        if current < newest {
            book.take(changes(&history, current, newest)).unwrap();
        }
        let mut fresh = RouteBook::default();
        fresh.take(changes(&history, 0, newest)).unwrap();
        prop_assert_eq!(text(&book), text(&fresh));
    }
}
