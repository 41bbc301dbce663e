use chrono::DateTime;
use serde_json::json;

use super::{CAUSE_TYPES, Cause, Event, EventFilter, NodeReason, PreemptedBy};
use crate::{
    checks::CheckKind,
    ids::{EventId, PodId},
};

fn node() -> crate::names::NodeName {
    "n1".parse().unwrap()
}

/// One of each type, in the order of [`CAUSE_TYPES`].
fn causes() -> Vec<Cause> {
    let reason = || "why".to_owned();
    vec![
        Cause::OutOfMemory {
            container: "main".into(),
            limit_bytes: Some(512 << 20),
        },
        Cause::Signal {
            number: 11,
            name: Some("SIGSEGV".into()),
        },
        Cause::Exit { code: 3 },
        Cause::Stopped { why: reason() },
        Cause::CheckFailed {
            check: CheckKind::Startup,
            asked: "GET / on port 8080".into(),
            why: "answered 500".into(),
            response: None,
        },
        Cause::ImagePullFailed { reason: reason() },
        Cause::StartFailed { reason: reason() },
        Cause::BackOff {
            restarts: 7,
            until: DateTime::UNIX_EPOCH,
        },
        Cause::Unplaced {
            reasons: NodeReason::of_lines("n1: is cordoned\n9 machines: are lost\nno room"),
        },
        Cause::Evicted {
            node: node(),
            why: reason(),
        },
        Cause::Preempted {
            node: node(),
            by: PreemptedBy {
                id: PodId::from_u128(1),
                name: "web.1".into(),
                app: None,
            },
        },
        Cause::LostMachine { node: node() },
        Cause::Drained { node: node() },
        Cause::Rebalanced { node: node() },
    ]
}

#[test]
fn each_cause_has_its_type_on_the_wire_and_comes_back() {
    let names: Vec<_> = causes().iter().map(Cause::type_name).collect();
    assert_eq!(names, CAUSE_TYPES);
    for cause in causes() {
        let wire = serde_json::to_value(&cause).unwrap();
        assert_eq!(wire["type"], cause.type_name());
        assert_eq!(serde_json::from_value::<Cause>(wire).unwrap(), cause);
    }
    insta::assert_json_snapshot!("causes", causes());
}

#[test]
fn one_reason_per_machine() {
    let reasons = NodeReason::of_lines("n1: is cordoned\n9 machines: are lost\nno room");
    let shown: Vec<_> = reasons
        .iter()
        .map(|it| (it.node.as_deref(), it.reason.as_str()))
        .collect();
    let expected = [
        (Some("n1"), "is cordoned"),
        (Some("9 machines"), "are lost"),
        (None, "no room"),
    ];
    assert_eq!(shown, expected);
    assert!(NodeReason::of_lines("").is_empty());
}

#[test]
fn what_repeats_shares_a_fingerprint_whatever_differs_each_time() {
    let back_off = |restarts, secs| Cause::BackOff {
        restarts,
        until: DateTime::from_timestamp(secs, 0).unwrap(),
    };
    assert_eq!(back_off(1, 5).fingerprint(), back_off(9, 7).fingerprint());
    let exit = |code| Cause::Exit { code }.fingerprint();
    assert_ne!(exit(1), exit(2));
    let mut all: Vec<_> = causes().iter().map(Cause::fingerprint).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), CAUSE_TYPES.len(), "no two types share one");
}

#[test]
fn an_event_of_an_older_controller_is_read() {
    let old = json!({
        "id": EventId::from_u128(1), "app": null, "actor": "platform", "kind": "node.joined",
        "message": "n1 joined", "created_at": "2026-01-01T00:00:00Z",
    });
    let event: Event = serde_json::from_value(old).unwrap();
    assert_eq!((event.count, event.position), (1, 0));
    assert_eq!(event.cause, None);
}

#[test]
fn a_filter_shows_by_cause_kind_pod_and_process_type() {
    let event = Event {
        id: EventId::from_u128(1),
        position: 1,
        app: None,
        actor: "platform".into(),
        kind: "pod.crashed".into(),
        message: "web.1 exited with code 3".into(),
        pod: Some("web.1".into()),
        cause: Some(Cause::Exit { code: 3 }),
        code: None,
        count: 1,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    };
    let table = [
        (None, None, true),
        (Some(""), Some(""), true),
        (Some("exit"), None, true),
        (Some("signal,exit"), None, true),
        (Some("pod.crashed"), None, true),
        (Some("signal"), None, false),
        (Some("pod"), None, false),
        (None, Some("web"), true),
        (None, Some("web.1"), true),
        (None, Some("web.10"), false),
        (None, Some("we"), false),
        (Some("exit"), Some("worker"), false),
    ];
    for (types, process, expected) in table {
        let filter = EventFilter {
            types: types.map(Into::into),
            process: process.map(Into::into),
        };
        assert_eq!(filter.check(), Ok(()));
        assert_eq!(filter.shows(&event), expected, "{filter:?}");
    }
}

#[test]
fn a_filter_has_only_characters_that_names_have() {
    for text in ["we%", "a b", "web_1", "'"] {
        let process = EventFilter {
            process: Some(text.into()),
            ..EventFilter::default()
        };
        let types = EventFilter {
            types: Some(text.into()),
            ..EventFilter::default()
        };
        assert!(process.check().is_err() && types.check().is_err(), "{text}");
    }
    let long = EventFilter {
        types: Some("a".repeat(300)),
        ..EventFilter::default()
    };
    assert!(long.check().is_err());
}
