use fairway_api::checks::Check;

use super::*;
use crate::app_json::parse;

fn sidecars(text: &str) -> Sidecars {
    let app = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    app.sidecars
}

fn check_refused(text: &str, want: &str) {
    let error = parse(text.as_bytes()).expect_err(text).to_string();
    assert!(
        error.contains(want),
        "{text}: {error:?} does not say {want:?}"
    );
}

fn names(set: &BTreeSet<ContainerName>) -> Vec<&str> {
    set.iter().map(ContainerName::as_str).collect()
}

#[test]
fn little_is_enough() {
    let found =
        sidecars(r#"{"sidecars": [{"name": "proxy", "types": ["web"], "command": "bin/proxy"}]}"#);
    let [proxy] = &found.containers[..] else {
        panic!("{found:?}")
    };
    assert_eq!(names(&found.main_after), ["proxy"]);
    assert!(proxy.after.is_empty() && !proxy.one_offs && proxy.folders.is_empty());
    assert_eq!(proxy.config, SeenConfig::All);
    assert_eq!(proxy.resources.memory_bytes, 128 * MIB);
    assert_eq!(proxy.checks, Checks::for_worker());
    assert_eq!(proxy.stop.grace_secs, 10);
    assert_eq!(sidecars("{}"), Sidecars::default());
}

#[test]
fn everything_can_be_said() {
    let found = sidecars(
        r#"{"sidecars": [{"name": "proxy", "types": ["web", "run"], "image": "nginx:1.27",
            "command": ["nginx", "-g", "daemon off;"], "env": {"LEVEL": "info"},
            "config": ["TOKEN"], "memory": 64, "cpu": 100, "port": 9000, "requests": true,
            "healthchecks": [{"path": "/up"}, {"type": "readiness", "path": "/ready"}],
            "after": ["main"], "on_exit": "restart-pod", "stop": {"signal": "QUIT", "grace": 3},
            "shared": ["pages", {"name": "socket", "path": "/run/x"}]}],
           "shared": [{"name": "pages", "path": "/app/pages"},
                      {"name": "socket", "path": "/run/app", "size": 1}]}"#,
    );
    let proxy = &found.containers[0];
    assert!(found.main_after.is_empty() && proxy.one_offs && proxy.takes_requests);
    assert_eq!(names(&proxy.after), ["main"]);
    assert_eq!(proxy.on_exit, OnExit::RestartPod);
    assert_eq!(proxy.stop.signal, "SIGQUIT");
    assert!(matches!(&proxy.checks.startup, Check::Http { path, .. } if path == "/up"));
    assert!(proxy.checks.readiness.is_some());
    let paths: Vec<&str> = proxy.folders.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/app/pages", "/run/x"]);
    assert_eq!(found.folders[1].size_bytes, MIB);
}

#[test]
fn an_image_from_elsewhere_sees_no_config_that_nobody_meant_for_it() {
    let one = |rest: &str| {
        let text = format!(r#"{{"sidecars": [{{"name": "a", "types": ["web"], {rest}}}]}}"#);
        sidecars(&text).containers.remove(0).config
    };
    let nothing = SeenConfig::Only(BTreeSet::new());
    assert_eq!(one(r#""image": "nginx""#), nothing);
    assert_eq!(one(r#""image": "nginx", "config": true"#), SeenConfig::All);
    assert_eq!(one(r#""command": "x", "config": false"#), nothing);
}

#[test]
fn the_order_goes_all_the_way_down_and_main_waits_for_the_rest() {
    let entry = |name: &str, order: &str| {
        format!(r#"{{"name": "{name}", "types": ["web"], "command": "x", {order}}}"#)
    };
    let list = [
        entry("late", r#""after": ["main"]"#),
        entry("later", r#""after": ["late"]"#),
        entry("proxy", r#""after": ["db"]"#),
        entry("db", r#""before": ["proxy"]"#),
    ];
    let found = sidecars(&format!(r#"{{"sidecars": [{}]}}"#, list.join(",")));
    assert_eq!(names(&found.main_after), ["db", "proxy"]);
    let after = |name: &str| {
        let found = found.containers.iter().find(|it| it.name.as_str() == name);
        names(&found.unwrap().after)
    };
    assert_eq!(after("proxy"), ["db"]);
    assert_eq!(after("late"), ["db", "main", "proxy"]);
    assert_eq!(after("later"), ["db", "late", "main", "proxy"]);
}

#[test]
fn circles_are_refused_and_named() {
    let entry = |name: &str, order: &str| {
        format!(r#"{{"name": "{name}", "types": ["web"], "command": "x", {order}}}"#)
    };
    for (list, want) in [
        (
            vec![entry("a", r#""after": ["a"]"#)],
            "sidecars[0]: a -> a wait for each other in a circle",
        ),
        (
            vec![
                entry("c", r#""after": []"#),
                entry("a", r#""after": ["b"]"#),
                entry("b", r#""after": ["a"]"#),
            ],
            "sidecars[1]: a -> b -> a wait",
        ),
        (
            vec![entry("a", r#""after": ["main"], "before": ["main"]"#)],
            "sidecars[0]: a -> main -> a wait",
        ),
        (
            vec![
                entry("a", r#""after": ["main"]"#),
                entry("b", r#""after": ["a"], "before": ["main"]"#),
            ],
            "in a circle",
        ),
    ] {
        let text = format!(r#"{{"sidecars": [{}]}}"#, list.join(","));
        check_refused(&text, want);
    }
}

/// What stands in a sidecar of web named `a` besides that, and what is said of it.
const MISTAKES: [(&str, &str); 16] = [
    (r#""command": "x", "memroy": 64"#, "unknown field `memroy`"),
    (r#""command": "x", "memroy": 64"#, "line 2, column"),
    (r#""memory": 64"#, "sidecars[0]: say what it runs"),
    (
        r#""command": "x", "memory": 8"#,
        "sidecars[0].memory: 8 is out of range",
    ),
    (
        r#""command": "x", "cpu": 9000"#,
        "sidecars[0].cpu: 9000 is out of range",
    ),
    (
        r#""command": " ""#,
        "sidecars[0].command: a command is a program",
    ),
    (
        r#""image": "a b""#,
        "sidecars[0].image: \"a b\" is no name of an image",
    ),
    (
        r#""command": "x", "port": 0"#,
        "sidecars[0].port: it must be from 1",
    ),
    (r#""command": "x", "requests": true"#, "needs a \"port\""),
    (
        r#""command": "x", "after": ["b"]"#,
        "sidecars[0].after: there is no sidecar b",
    ),
    (
        r#""command": "x", "after": ["B"]"#,
        "container name \"B\" is not valid",
    ),
    (
        r#""command": "x", "on_exit": "panic""#,
        "unknown variant `panic`",
    ),
    (
        r#""command": "x", "shared": ["x"]"#,
        "there is no shared folder x",
    ),
    (
        r#""command": "x", "stop": {"signal": "KILL"}"#,
        "sidecars[0].stop.signal",
    ),
    (
        r#""command": "x", "healthchecks": [{}]"#,
        "sidecars[0].healthchecks[0]: it checks",
    ),
    (
        r#""command": "x", "env": {"A-B": "1"}"#,
        "config var name \"A-B\"",
    ),
];

/// The same of whole files.
const MISTAKES_OF_FILES: [(&str, &str); 9] = [
    (
        r#"{"sidecars": [{"name": "a", "types": ["web"], "command": "x"},
            {"name": "a", "types": ["worker"], "command": "x"}]}"#,
        "sidecars[1].name: there are two sidecars named a",
    ),
    (
        r#"{"sidecars": [{"name": "a", "types": ["web"], "command": "x", "port": 1},
            {"name": "b", "types": ["web"], "command": "x", "port": 1}]}"#,
        "sidecars[1].port: a listens on this port already",
    ),
    (
        r#"{"shared": [{"name": "a", "path": "/a"}]}"#,
        "no sidecar has the folder a",
    ),
    (
        r#"{"shared": [{"name": "a", "path": "a"}]}"#,
        "must be an absolute path",
    ),
    (
        r#"{"shared": [{"name": "a", "path": "/a/../b"}]}"#,
        "must be an absolute path",
    ),
    (
        r#"{"shared": [{"name": "a", "path": "/"}]}"#,
        "must be an absolute path",
    ),
    (
        r#"{"shared": [{"name": "a", "path": "/proc/1"}]}"#,
        "which is the system's",
    ),
    (
        r#"{"shared": [{"name": "a", "path": "/a", "size": 0}]}"#,
        "shared[0].size: 0",
    ),
    (
        r#"{"shared": [{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}]}"#,
        "shared[1]: there are two folders named a",
    ),
];

#[test]
fn mistakes_are_named_with_their_place() {
    let one = |name: &str, types: &str, rest: &str| {
        format!("{{\"sidecars\": [\n{{\"name\": \"{name}\", \"types\": {types}, {rest}}}]}}")
    };
    for (rest, want) in MISTAKES {
        check_refused(&one("a", r#"["web"]"#, rest), want);
    }
    for (text, want) in MISTAKES_OF_FILES {
        check_refused(text, want);
    }
    let runs = r#""command": "x""#;
    for (name, types, want) in [
        ("main", r#"["web"]"#, "main is the name of"),
        ("A", r#"["web"]"#, "line 2"),
        ("a", "[]", "sidecars[0].types: name the"),
        ("a", r#"["Web"]"#, "process type \"Web\""),
    ] {
        check_refused(&one(name, types, runs), want);
    }
    let many = [r#"{"name": "a", "types": ["web"], "command": "x"}"#; SIDECARS_MAX + 1];
    let text = format!(r#"{{"sidecars": [{}]}}"#, many.join(","));
    check_refused(&text, "at most 8 sidecars");
}

proptest::proptest! {
    /// Whoever waits for whom: it is a circle and refused, or everybody waits for those that those
    /// wait for, and nobody for itself.
    #[test]
    fn an_order_is_whole_or_refused(edges in proptest::collection::vec((0_usize..5, 0_usize..5), 0..9)) {
        const NAMES: [&str; 5] = ["a", "b", "c", "d", "main"];
        let entry = |index: usize| {
            let after: Vec<&str> = edges.iter().filter(|it| it.0 == index).map(|it| NAMES[it.1]).collect();
            let before: Vec<&str> = edges.iter().filter(|it| it.0 == 4 && it.1 == index).map(|_| "main").collect();
            serde_json::json!({"name": NAMES[index], "types": ["web"], "command": "x",
                               "after": after, "before": before})
        };
        let list: Vec<_> = (0..4).map(entry).collect();
        let text = serde_json::json!({ "sidecars": list }).to_string();
        let mut reach = [[false; 5]; 5];
        for &(later, earlier) in &edges {
            if (later, earlier) != (4, 4) {
                reach[later][earlier] = true;
            }
        }
        for middle in 0..5 {
            for from in 0..5 {
                for to in 0..5 {
                    reach[from][to] |= reach[from][middle] && reach[middle][to];
                }
            }
        }
        let circle = (0..5).any(|it| reach[it][it]);
        match parse(text.as_bytes()) {
            Err(error) => {
                proptest::prop_assert!(circle, "{error}");
            }
            Ok(app) => {
                proptest::prop_assert!(!circle);
                let after = |name: &str| match app.sidecars.containers.iter().find(|it| it.name.as_str() == name) {
                    Some(sidecar) => sidecar.after.clone(),
                    None => app.sidecars.main_after.clone(),
                };
                for name in NAMES {
                    let own = after(name);
                    proptest::prop_assert!(!own.contains(name));
                    for waited in &own {
                        proptest::prop_assert!(after(waited.as_str()).is_subset(&own));
                    }
                    let related = name == "main" || own.contains("main") || after("main").contains(name);
                    proptest::prop_assert!(related, "{name} has no place");
                }
            }
        }
    }
}
