use serde_json::json;

use super::{Autoscale, InvalidAutoscale as Invalid};

fn web() -> Autoscale {
    Autoscale {
        min: 1,
        max: 5,
        cpu: Some(70),
        memory: None,
        rps: None,
        p95_ms: None,
        concurrency: None,
        queue: None,
        windows: vec![],
        down_after_secs: 300,
    }
}

fn queue() -> serde_json::Value {
    json!({ "url": "http://web.a.internal:8080/queue", "target": 10 })
}

fn window(min: u32, max: u32) -> serde_json::Value {
    json!({ "days": "mon-fri", "from": "08:00", "to": "18:00", "min": min, "max": max })
}

/// `{"min": 1, "max": 5, "cpu": 70}` with some keys changed; null takes one out.
fn check(process_type: &str, change: &serde_json::Value) -> Option<Invalid> {
    let mut value = serde_json::to_value(web()).unwrap();
    for (key, changed) in change.as_object().unwrap() {
        value[key] = changed.clone();
    }
    let autoscale: Autoscale = serde_json::from_value(value).unwrap();
    autoscale.check(&process_type.parse().unwrap()).err()
}

#[test]
fn contradictions_are_refused_each_by_its_rule() {
    let target = |what, value, most| Some(Invalid::Target { what, value, most });
    let never_woken = Some(Invalid::NeverWoken("worker".parse().unwrap()));
    let above = Some(Invalid::MinAboveMax { min: 6, max: 5 });
    for (process_type, change, expect) in [
        ("web", json!({}), None),
        ("web", json!({ "min": 0 }), None),
        ("worker", json!({}), None),
        ("release", json!({}), Some(Invalid::ReleasePhase)),
        ("web", json!({ "min": 6 }), above),
        ("web", json!({ "min": 0, "max": 0 }), Some(Invalid::Max(0))),
        ("web", json!({ "max": 1_001 }), Some(Invalid::Max(1_001))),
        ("web", json!({ "cpu": null }), Some(Invalid::NoTarget)),
        (
            "web",
            json!({ "cpu": null, "min": 0 }),
            Some(Invalid::NoTarget),
        ),
        // One pod or none needs no target but requests.
        ("web", json!({ "cpu": null, "min": 0, "max": 1 }), None),
        ("web", json!({ "cpu": 0 }), target("cpu", 0, 100)),
        ("web", json!({ "memory": 101 }), target("memory", 101, 100)),
        (
            "worker",
            json!({ "rps": 9 }),
            Some(Invalid::NoRequests { what: "rps" }),
        ),
        ("worker", json!({ "min": 0 }), never_woken.clone()),
        ("worker", json!({ "min": 0, "queue": queue() }), None),
        (
            "worker",
            json!({ "queue": { "url": "ftp://q.example.com/", "target": 5 } }),
            Some(Invalid::Queue(super::InvalidQueue::Scheme)),
        ),
        ("worker", json!({ "cpu": null, "queue": queue() }), None),
        (
            "worker",
            json!({ "cpu": null, "windows": [window(3, 4)] }),
            None,
        ),
        ("worker", json!({ "windows": [window(0, 4)] }), never_woken),
        (
            "web",
            json!({ "windows": [window(6, 5)] }),
            Some(Invalid::WindowBounds("mon-fri 08:00-18:00 UTC".into())),
        ),
        (
            "web",
            json!({ "windows": [{ "from": "08:00", "to": "18:00" }] }),
            Some(Invalid::EmptyWindow("daily 08:00-18:00 UTC".into())),
        ),
        (
            "web",
            json!({ "windows": vec![window(3, 4); 17] }),
            Some(Invalid::Windows(17)),
        ),
        (
            "web",
            json!({ "down_after_secs": 0 }),
            Some(Invalid::DownAfter(0)),
        ),
    ] {
        assert_eq!(
            check(process_type, &change),
            expect,
            "{process_type}: {change}"
        );
    }
}

#[test]
fn what_is_not_said_has_a_default_and_what_is_unknown_is_an_error() {
    let read: Autoscale = serde_json::from_str(r#"{"min":1,"max":5,"cpu":70}"#).unwrap();
    assert_eq!(read, web());
    serde_json::from_str::<Autoscale>(r#"{"min":1,"max":5,"cpus":70}"#).unwrap_err();
}
