use fairway_api::checks::{Check, Periodic, STARTUP_DEADLINE_SECS_MAX, Statuses};
use proptest::prelude::*;

use super::*;

fn checks_of(text: &str, process_type: &str) -> Checks {
    let app = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    app.checks[process_type].clone()
}

fn check_refused(text: &str, want: &str) {
    let error = parse(text.as_bytes()).expect_err(text).to_string();
    assert!(
        error.contains(want),
        "{text}: {error:?} does not say {want:?}"
    );
}

fn http(path: &str) -> Check {
    Check::Http {
        path: path.into(),
        port: None,
        content: None,
        headers: BTreeMap::new(),
        expect: Statuses::default(),
        timeout_secs: 5,
    }
}

#[test]
fn other_platforms_keys_are_ignored() {
    let text = r#"{"name": "shop", "env": {"A": {"value": "b"}}, "buildpacks": [], "scripts": {}}"#;
    assert_eq!(parse(text.as_bytes()), Ok(AppJson::default()));
    assert_eq!(parse(b"{}"), Ok(AppJson::default()));
    assert_eq!(parse(br#"{"formation": null}"#), Ok(AppJson::default()));
}

#[test]
fn checks_in_dokkus_form() {
    let startup = |check, secs| Checks {
        startup: check,
        startup_deadline_secs: secs,
        startup_delay_secs: 0,
        readiness: None,
        liveness: None,
    };
    let web = |check: &str| {
        checks_of(
            &format!(r#"{{"healthchecks": {{"web": [{check}]}}}}"#),
            "web",
        )
    };
    assert_eq!(
        web(r#"{"type": "startup", "name": "x", "path": "/up"}"#),
        startup(http("/up"), 60)
    );
    assert_eq!(
        web(r#"{"path": "/up", "deadline": 7}"#),
        startup(http("/up"), 7)
    );
    assert_eq!(
        web(r#"{"path": "/up", "attempts": 4, "wait": 2, "timeout": 5}"#),
        startup(http("/up"), 28)
    );
    assert_eq!(
        web(r#"{"uptime": 90}"#),
        startup(Check::Uptime { secs: 90 }, 91)
    );
    let tcp = Check::Tcp {
        port: None,
        timeout_secs: 5,
    };
    assert_eq!(web(r#"{"listening": true}"#), startup(tcp, 60));
    let ready = web(r#"{"type": "readiness", "path": "/r", "wait": 3, "attempts": 2}"#);
    assert_eq!(ready.startup, http("/r"));
    assert_eq!(
        ready.readiness,
        Some(Periodic {
            check: http("/r"),
            every_secs: 3,
            failures: 2,
            delay_secs: 0,
        })
    );
    let live = web(r#"{"type": "liveness", "port": 99}"#);
    assert_eq!(live.startup, Checks::for_port().startup);
    let check = Check::Tcp {
        port: Some(99),
        timeout_secs: 5,
    };
    assert_eq!(
        live.liveness,
        Some(Periodic {
            check,
            every_secs: 5,
            failures: 3,
            delay_secs: 0,
        })
    );
}

#[test]
fn formation_and_stop() {
    let text = r#"{"formation": {"web": {"quantity": 3, "size": "eco"}, "worker": {}},
                   "stop": {"web": {"signal": "int", "grace": 60}, "worker": {}}}"#;
    let app = parse(text.as_bytes()).unwrap();
    assert_eq!(
        app.formation["web"],
        InitialFormation {
            quantity: 3,
            size: Some("eco".into()),
            placement: Placement::default(),
        }
    );
    assert_eq!(
        app.formation["worker"],
        InitialFormation {
            quantity: 1,
            size: None,
            placement: Placement::default(),
        }
    );
    assert_eq!(
        app.stop["web"],
        StopPolicy {
            signal: "SIGINT".into(),
            grace_secs: 60
        }
    );
    assert_eq!(app.stop["worker"], StopPolicy::default());
}

#[test]
fn mistakes_are_named_with_their_place() {
    check_refused("", "line 1, column 0: EOF");
    check_refused("{\n  \"formation\": {,}}", "line 2, column 17");
    check_refused(
        "{\n\"formation\": {\"web\": {\"quantity\": \"3\"}}}",
        "line 2, column 37: invalid type: string",
    );
    check_refused(
        r#"{"formation": {"Web!": {}}}"#,
        "process type \"Web!\" is not valid",
    );
    check_refused(
        r#"{"formation": {"web": {"quantity": 1000}}}"#,
        "formation.web.quantity: 1000 is out of range",
    );
    check_refused(r#"{"formation": {"web": {"quantity": -1}}}"#, "line 1");
    let placed = |placement: &str| {
        format!("{{\n\"formation\": {{\"web\": {{\"placement\": {placement}}}}}}}")
    };
    // In which column a mistake within a nested type is found, the JSON reader's features decide,
    // and those are others when the whole workspace is built.
    check_refused(
        &placed(r#"{"require": ["zone in a"]}"#),
        "\"zone in a\" is not valid: write KEY",
    );
    check_refused(&placed(r#"{"zones": 3}"#), "unknown field `zones`");
    check_refused(
        &placed(r#"{"pool": "big", "require": ["pool=small"]}"#),
        "formation.web.placement: pool=small and pool=big exclude each other",
    );
    check_refused(
        r#"{"stop": {"web": {"signal": "SIGKILL"}}}"#,
        "stop.web.signal: \"SIGKILL\" cannot stop",
    );
    check_refused(
        r#"{"stop": {"web": {"grace": 99999}}}"#,
        "stop.web.grace: 99999 is out of range",
    );
    let web = |check: &str| format!(r#"{{"healthchecks": {{"web": [{check}]}}}}"#);
    check_refused(&web("{}"), "healthchecks.web[0]: it checks nothing");
    check_refused(&web(r#"{"path": "up"}"#), "\"up\" must start with /");
    check_refused(&web(r#"{"path": "/a b"}"#), "no spaces");
    check_refused(
        &web(r#"{"command": []}"#),
        "healthchecks.web[0].command: a command is a program",
    );
    check_refused(&web(r#"{"path": "/a", "uptime": 1}"#), "not both");
    check_refused(
        &web(r#"{"path": "/a"}, {"path": "/b"}"#),
        "healthchecks.web[1]: a process type has at most one",
    );
    check_refused(
        &web(r#"{"type": "liveness", "uptime": 3}"#),
        "only a startup check",
    );
    check_refused(
        &web(r#"{"path": "/a", "deadline": 0}"#),
        "deadline: 0 is out of range",
    );
    check_refused(
        &web(r#"{"type": "sometimes", "path": "/a"}"#),
        "unknown variant `sometimes`",
    );
    assert_eq!(
        parse(&vec![b' '; APP_JSON_BYTES_MAX + 1]),
        Err(AppJsonError::TooLarge)
    );
}

proptest! {
    #[test]
    fn any_numbers_are_taken_or_refused(
        wait in any::<u32>(), attempts in any::<u32>(), delay in any::<u32>(), timeout in any::<u32>()
    ) {
        let text = format!(
            r#"{{"healthchecks": {{"web": [{{"path": "/", "wait": {wait}, "attempts": {attempts},
            "initialDelay": {delay}, "timeout": {timeout}}}]}}}}"#
        );
        if let Ok(app) = parse(text.as_bytes()) {
            let deadline = app.checks["web"].startup_deadline_secs;
            prop_assert!((1..=STARTUP_DEADLINE_SECS_MAX).contains(&deadline));
        }
    }
}

#[test]
fn checks_by_command_grpc_and_with_headers() {
    let web = |check: &str| {
        let text = format!(r#"{{"healthchecks": {{"web": [{check}]}}}}"#);
        checks_of(&text, "web")
    };
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let command = |list: &[&str], timeout_secs| Check::Command {
        command: words(list),
        timeout_secs,
    };
    let grpc = |service: Option<&str>, port| Check::Grpc {
        port,
        service: service.map(Into::into),
        timeout_secs: 5,
    };
    for (text, expect) in [
        (
            r#"{"command": ["pg_isready", "-q"]}"#,
            command(&["pg_isready", "-q"], 5),
        ),
        (
            r#"{"command": "test -f /tmp/up", "timeout": 2}"#,
            command(&["sh", "-c", "test -f /tmp/up"], 2),
        ),
        (r#"{"grpc": true}"#, grpc(None, None)),
        (
            r#"{"grpc": "shop.Cart", "port": 50051}"#,
            grpc(Some("shop.Cart"), Some(50051)),
        ),
        (r#"{"grpc": false, "path": "/up"}"#, http("/up")),
    ] {
        assert_eq!(web(text).startup, expect, "{text}");
    }
    let text = r#"{"path": "/up", "status": "200-204", "scheme": "http",
                   "httpHeaders": [{"name": "Host", "value": "shop.example"}]}"#;
    let Check::Http {
        headers, expect, ..
    } = web(text).startup
    else {
        panic!("{text}")
    };
    assert_eq!(
        headers,
        [("host".to_owned(), "shop.example".to_owned())].into()
    );
    assert_eq!(expect, Statuses { from: 200, to: 204 });
}

#[test]
fn each_check_has_its_own_pace() {
    let web = |check: &str| {
        let text = format!(r#"{{"healthchecks": {{"web": [{check}]}}}}"#);
        checks_of(&text, "web")
    };
    let all = web(
        r#"{"type": "startup", "command": ["a"], "initialDelay": 4, "deadline": 90},
                     {"type": "readiness", "path": "/r", "wait": 2, "attempts": 1},
                     {"type": "liveness", "grpc": true, "wait": 30, "initialDelay": 60}"#,
    );
    assert_eq!((all.startup_delay_secs, all.startup_deadline_secs), (4, 90));
    let pace = |it: &Option<Periodic>| {
        let it = it.as_ref().unwrap();
        (it.every_secs, it.failures, it.delay_secs)
    };
    assert_eq!(
        (pace(&all.readiness), pace(&all.liveness)),
        ((2, 1, 0), (30, 3, 60))
    );
}

#[test]
fn checks_that_cannot_be_are_refused() {
    for (text, want) in [
        (
            r#"{"path": "/up", "command": ["a"]}"#,
            "either a path or a command",
        ),
        (r#"{"grpc": true, "uptime": 3}"#, "either an uptime or grpc"),
        (
            r#"{"path": "/up", "status": "600"}"#,
            ".status: \"600\" is no status",
        ),
        (r#"{"path": "/up", "status": "300-200"}"#, "is no status"),
        (
            r#"{"path": "/up", "scheme": "https"}"#,
            "a pod speaks plain http",
        ),
        (
            r#"{"path": "/up", "httpHeaders": [{"name": "a b", "value": "c"}]}"#,
            "is no header",
        ),
        (
            r#"{"path": "/up", "httpHeaders": [{"name": "a", "value": "b\r\nc"}]}"#,
            "is no header",
        ),
        (
            r#"{"port": 80, "content": "x"}"#,
            ".content: only a check with a path",
        ),
        (r#"{"command": [""]}"#, "a command is a program"),
        (
            r#"{"type": "liveness", "uptime": 3}"#,
            "only a startup check",
        ),
        (
            r#"{"path": "/up", "deadline": 5, "initialDelay": 9}"#,
            ".initialDelay: 9 is out of range",
        ),
    ] {
        check_refused(&format!(r#"{{"healthchecks": {{"web": [{text}]}}}}"#), want);
    }
}

#[test]
fn a_strategy_is_read_as_the_api_has_it() {
    let strategy = |json: &str| parse(format!("{{\"deploy\": {json}}}").as_bytes());
    let rolling = strategy(r#"{ "strategy": { "kind": "rolling", "surge": "25%" } }"#).unwrap();
    assert_eq!(
        rolling.strategy.unwrap().to_string(),
        fairway_api::deployments::Strategy::Rolling {
            surge: "25%".parse().unwrap(),
            unavailable: "0".parse().unwrap(),
        }
        .to_string()
    );
    assert_eq!(strategy("{}").unwrap().strategy, None);
    for (json, says) in [
        (
            r#"{ "strategy": { "kind": "boldly" } }"#,
            "unknown variant `boldly`",
        ),
        (
            r#"{ "strategy": { "kind": "canary", "steps": [] } }"#,
            "deploy.strategy: a canary has 1 to 10 steps",
        ),
        (
            r#"{ "strategy": { "kind": "rolling", "surge": "0" } }"#,
            "deploy.strategy: surge and unavailable cannot both be 0",
        ),
    ] {
        let error = strategy(json).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
