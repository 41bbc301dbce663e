use fairway_api::network::ExternalName;

use super::*;
use crate::network::census::tests::{DATABASE, SHOP, STRANGER, app, census, id, member};

fn cluster() -> Census {
    let mut shop = app(
        "shop",
        &[],
        vec![
            member("web.1", [10, 64, 3, 2], true, true),
            member("web.2", [10, 64, 9, 2], true, false),
            member("web.3", [10, 64, 9, 3], false, false),
            member("worker.1", [10, 64, 9, 4], false, false),
        ],
    );
    let external = |name: &str, target| ExternalName {
        name: name.parse().unwrap(),
        target,
    };
    shop.external = vec![
        external(
            "db",
            ExternalTarget::Hostname("db.example.com".parse().unwrap()),
        ),
        external(
            "cache",
            ExternalTarget::Addresses(vec![[192, 0, 2, 7].into()]),
        ),
    ];
    let database = app(
        "database",
        &[(SHOP, None)],
        vec![member("web.1", [10, 64, 3, 9], true, true)],
    );
    census(vec![(SHOP, shop), (DATABASE, database)])
}

fn ask(asking: u128, name: &str, kind: RecordType) -> Answer {
    let query = Query::query(Name::from_ascii(name).unwrap(), kind);
    answer(&cluster(), Some(id(asking)), &query, 0)
}

/// The answers as `NAME DATA`, or what else came.
#[track_caller]
fn check(asking: u128, name: &str, kind: RecordType, wanted: &str) {
    let text = match ask(asking, name, kind) {
        Answer::Ours { answers, .. } => {
            let texts = answers.iter().map(|record| record.data.to_string());
            texts.collect::<Vec<_>>().join(" ")
        }
        Answer::Alias { target, .. } => format!("alias {target}"),
        Answer::Missing => "missing".into(),
        Answer::Elsewhere => "elsewhere".into(),
    };
    assert_eq!(text, wanted, "{name}");
}

#[test]
fn names_of_the_own_app_and_of_those_that_admit_it() {
    let a = RecordType::A;
    check(SHOP, "web.shop.internal.", a, "10.64.3.2 10.64.9.2");
    check(SHOP, "WEB.Shop.Internal.", a, "10.64.3.2 10.64.9.2");
    check(SHOP, "shop.internal.", a, "10.64.3.2 10.64.9.2");
    check(SHOP, "2.web.shop.internal.", a, "10.64.9.2");
    check(SHOP, "web.database.internal.", a, "10.64.3.9");
    check(SHOP, "web.a.internal.", a, "10.64.3.2 10.64.9.2");
    check(DATABASE, "web.a.internal.", a, "10.64.3.9");
    check(STRANGER, "web.a.internal.", a, "elsewhere");
    // Not ready, and so without an address; but the name exists.
    check(SHOP, "3.web.shop.internal.", a, "");
    check(SHOP, "worker.shop.internal.", a, "");
    check(SHOP, "web.shop.internal.", RecordType::AAAA, "");
    check(SHOP, "nobody.shop.internal.", a, "missing");
    check(SHOP, "9.web.shop.internal.", a, "missing");
    check(SHOP, "a.b.web.shop.internal.", a, "missing");
    // Others' apps are as if they were not there.
    check(DATABASE, "web.shop.internal.", a, "elsewhere");
    check(STRANGER, "web.database.internal.", a, "elsewhere");
    check(SHOP, "metadata.google.internal.", a, "elsewhere");
    check(SHOP, "internal.", a, "elsewhere");
    check(SHOP, "example.com.", a, "elsewhere");
    check(SHOP, ".", a, "elsewhere");
}

#[test]
fn services_tell_their_port() {
    let name = "_web._tcp.shop.internal.";
    check(
        SHOP,
        name,
        RecordType::SRV,
        "0 1 8080 1.web.shop.internal. 0 1 8080 2.web.shop.internal.",
    );
    let Answer::Ours { additionals, .. } = ask(SHOP, name, RecordType::SRV) else {
        panic!("an answer");
    };
    assert_eq!(additionals.len(), 2);
    check(SHOP, "_worker._tcp.shop.internal.", RecordType::SRV, "");
    check(SHOP, "_web._udp.shop.internal.", RecordType::SRV, "missing");
}

#[test]
fn external_names_are_the_apps_own() {
    check(
        SHOP,
        "db.shop.internal.",
        RecordType::A,
        "alias db.example.com.",
    );
    check(SHOP, "cache.shop.internal.", RecordType::A, "192.0.2.7");
    check(
        DATABASE,
        "cache.database.internal.",
        RecordType::A,
        "missing",
    );
}

#[test]
fn not_everybody_gets_the_same_first() {
    let query = Query::query(Name::from_ascii("shop.internal.").unwrap(), RecordType::A);
    let first = |turn| match answer(&cluster(), Some(id(SHOP)), &query, turn) {
        Answer::Ours { answers, .. } => answers[0].data.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [first(0), first(1), first(2)],
        ["10.64.3.2", "10.64.9.2", "10.64.3.2"]
    );
}
