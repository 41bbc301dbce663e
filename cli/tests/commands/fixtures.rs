//! What the fake API answers: one app, `shop`, with a bit of everything.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

const USER: &str = "00000000-0000-7000-8000-0000000000a1";
const APP: &str = "00000000-0000-7000-8000-0000000000b1";
const AT: &str = "2026-11-21T21:30:43Z";

fn uuid(number: u32) -> String {
    format!("00000000-0000-7000-8000-{number:012}")
}

fn user() -> Value {
    json!({ "id": USER, "email": "ada@example.com" })
}

fn app_ref() -> Value {
    json!({ "id": APP, "name": "shop" })
}

pub(crate) fn account() -> Value {
    json!({ "id": USER, "email": "ada@example.com", "role": "admin",
            "created_at": AT, "updated_at": AT })
}

pub(crate) fn token(secret: &str) -> Value {
    json!({ "id": uuid(1), "description": "app", "scope": ["global"], "user": user(),
            "access_token": { "id": uuid(2), "token": secret, "expires_in": null },
            "created_at": AT, "updated_at": AT })
}

pub(crate) fn listed_token(id: u32, description: &str) -> Value {
    let mut token = token("");
    token["id"] = uuid(id).into();
    token["description"] = description.into();
    token["access_token"] = Value::Null;
    token
}

pub(crate) fn app(name: &str, maintenance: bool) -> Value {
    let named = |name: &str| json!({ "id": uuid(3), "name": name });
    json!({
        "id": APP, "name": name, "owner": user(), "maintenance": maintenance,
        "deploy_branch": null,
        "git_url": format!("http://localhost:7000/{name}.git"),
        "git_ssh_url": format!("ssh://git@localhost:2222/{name}.git"),
        "web_url": format!("http://{name}.localhost:8080"),
        "region": named("local"), "stack": named("fairway-12"), "build_stack": named("fairway-12"),
        "repo_size": 5_000, "slug_size": 52_428_800,
        "buildpack_provided_description": "Python",
        "created_at": AT, "updated_at": AT, "released_at": AT, "archived_at": null,
    })
}

pub(crate) fn formation(web: u64, worker: u64) -> Value {
    let row = |number, kind: &str, command: &str, quantity: u64, size: &str| {
        json!({ "id": uuid(number), "app": app_ref(), "type": kind, "command": command,
                "quantity": quantity, "size": size, "created_at": AT, "updated_at": AT })
    };
    json!([
        row(10, "web", "gunicorn app:app", web, "standard-1x"),
        row(11, "worker", "python worker.py", worker, "standard-2x"),
    ])
}

pub(crate) fn autoscaling() -> Value {
    json!({
        "app": app_ref(), "type": "web",
        "policy": { "min": 2, "max": 10, "cpu": 70, "p95_ms": 300, "down_after_secs": 300 },
        "quantity": 4,
        "last": { "at": AT, "wanted": 4, "reason": "68 % CPU per pod, target 70 %" },
        "created_at": AT, "updated_at": AT,
    })
}

pub(crate) fn feature(enabled: bool) -> Value {
    json!({
        "id": uuid(80), "name": "http-session-affinity", "display_name": "Session affinity",
        "description": "Requests of one client go to the same web process.", "doc_url": "",
        "feedback_email": "", "state": "general", "enabled": enabled, "created_at": AT,
        "updated_at": AT,
    })
}

pub(crate) fn volume(name: &str, mounts: &Value) -> Value {
    json!({
        "id": uuid(90), "app": { "id": uuid(1), "name": "shop" }, "name": name,
        "source": { "kind": "local" }, "shared": false, "size_bytes": 10_u64 << 30,
        "used_bytes": 1_300_000_000, "node": "n1", "mounts": mounts, "pods": [], "work": null,
        "created_at": AT, "updated_at": AT,
    })
}

pub(crate) fn shared_volume() -> Value {
    let mut volume = volume(
        "files",
        &json!([
            { "process_type": "web", "path": "/files", "read_only": true },
            { "process_type": "worker", "path": "/files", "read_only": false },
        ]),
    );
    volume["source"] = json!({ "kind": "nfs", "share": "nas.example.com:/export" });
    for key in ["size_bytes", "used_bytes", "node"] {
        volume[key] = Value::Null;
    }
    volume
}

pub(crate) fn snapshots() -> Value {
    let snapshot = |n, state: &str, failure: Option<&str>| {
        json!({
            "id": uuid(n), "volume": "data", "state": state, "failure": failure,
            "bytes": (state == "complete").then_some(1_300_000_000), "created_at": AT,
        })
    };
    json!([
        snapshot(92, "complete", None),
        snapshot(91, "failed", Some("n1: the disk is full")),
    ])
}

pub(crate) fn config_file(name: &str) -> Value {
    json!({ "name": name, "path": format!("/run/secrets/{name}"), "is_set": true })
}

pub(crate) fn metrics() -> Value {
    let pod = |name: &str, cpu: Option<f64>| {
        json!({
            "name": name, "cpu_percent": cpu, "memory_bytes": cpu.map(|_| 50 << 20),
            "memory_percent": cpu.map(|_| 9.77),
        })
    };
    json!([
        {
            "type": "web", "quantity": 2, "up": 1, "cpu_percent": 42.5, "memory_percent": 9.77,
            "rps": 180.25, "errors": 0.2, "p95_ms": 71.4, "open": 3.0,
            "pods": [pod("web.1", Some(42.5)), pod("web.2", None)],
            "history": [{ "rps": 1.5, "p95_ms": 20.0 }],
        },
        {
            "type": "worker", "quantity": 0, "up": 0, "cpu_percent": null, "memory_percent": null,
            "rps": null, "errors": null, "p95_ms": null, "open": null, "pods": [], "history": [],
        },
    ])
}

fn ago(seconds: i64) -> DateTime<Utc> {
    Utc::now() - chrono::Duration::seconds(seconds)
}

pub(crate) fn dyno(name: &str, attach_url: Option<&str>) -> Value {
    let (kind, _) = name.split_once('.').unwrap_or((name, ""));
    json!({
        "id": uuid(20), "app": app_ref(), "name": name, "type": kind,
        "command": "gunicorn app:app", "size": "standard-1x", "state": "up",
        "release": { "id": uuid(30), "version": 7 }, "attach_url": attach_url, "reason": null,
        "restarts": 0, "exit_code": null, "superseded": false, "node": "node-1",
        // In the middle of an hour, so that the age is the same for any speed of the test.
        "created_at": AT, "updated_at": ago(90 * 60),
    })
}

pub(crate) fn dynos() -> Value {
    let mut crashed = dyno("worker.1", None);
    crashed["state"] = json!("crashed");
    crashed["restarts"] = json!(3);
    crashed["reason"] = json!("exit code 1, next try in 20 s");
    let mut old = dyno("web.1", None);
    old["superseded"] = json!(true);
    old["state"] = json!("stopping");
    old["release"]["version"] = json!(6);
    let mut ended = dyno("run.4821", None);
    ended["state"] = json!("down");
    ended["exit_code"] = json!(7);
    json!([dyno("web.1", None), old, crashed, ended])
}

pub(crate) fn run(name: &str, state: &str, exit_code: Option<i64>) -> Value {
    let job = name.starts_with("nightly").then_some("nightly");
    let reason = exit_code
        .filter(|code| *code != 0)
        .map(|code| format!("exited with code {code}"));
    json!({
        "id": uuid(80), "app": app_ref(), "name": name, "job": job, "command": "bin/report",
        "state": state, "reason": reason, "exit_code": exit_code,
        "release": { "id": uuid(30), "version": 8 }, "size": "standard-1x",
        "completions": 1, "parallelism": 1, "retries": 2, "timeout": 3_600, "succeeded": 0,
        "active": 0, "failed": 3, "scheduled_at": job.map(|_| AT), "skipped": 4,
        "actor": if job.is_some() { "platform" } else { "ada@example.com" },
        "created_at": AT, "ended_at": "2026-11-21T21:32:48Z",
    })
}

pub(crate) fn runs() -> Value {
    json!([
        run("nightly.10002", "failed", Some(3)),
        run("run.4821", "cancelled", None),
        run("nightly.10001", "succeeded", Some(0)),
    ])
}

pub(crate) fn job(suspended: bool) -> Value {
    json!({
        "name": "nightly", "app": app_ref(), "command": "bin/report", "schedule": "30 2 * * *",
        "time_zone": "Europe/Berlin", "size": "standard-1x", "concurrency": "forbid",
        "missed": "run-once", "retries": 2, "timeout": 3_600, "suspended": suspended,
        "next_run_at": (!suspended).then_some("2026-11-22T01:30:00Z"),
        "last_run": run("nightly.10002", "failed", Some(3)),
    })
}

pub(crate) fn release(version: u64, status: &str, current: bool) -> Value {
    let failed = status == "failed";
    json!({
        "id": uuid(30), "app": app_ref(), "version": version,
        "description": format!("Deploy 1a2b3c4{version}"), "status": status, "current": current,
        "eligible_for_rollback": status == "succeeded",
        "user": user(), "addon_plan_names": [], "slug": null, "output_stream_url": null,
        "image": format!("sha256:{}", "ab".repeat(32)), "commit": "1a2b3c4d".repeat(5),
        "config_version": 2,
        "process_types": { "web": "gunicorn app:app", "worker": "python worker.py" },
        "failure": failed.then_some("web.1 did not open its port in 60 s"),
        "created_at": AT, "updated_at": AT,
    })
}

pub(crate) fn releases() -> Value {
    let mut first = release(1, "succeeded", false);
    first["image"] = Value::Null;
    first["eligible_for_rollback"] = json!(false);
    let mut expired = release(4, "succeeded", false);
    expired["eligible_for_rollback"] = json!(false);
    json!([
        release(7, "succeeded", true),
        release(6, "failed", false),
        release(5, "succeeded", false),
        expired,
        first
    ])
}

pub(crate) const BUILD_GOOD: &str = "0193a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b";
pub(crate) const BUILD_BAD: &str = "0193a1b2-0000-7e4f-8a5b-6c7d8e9f0a1b";

pub(crate) const BUILD_RUNNING: &str = "0193a1b2-ffff-7e4f-8a5b-6c7d8e9f0a1b";

pub(crate) fn build(id: &str, base: &str) -> Value {
    let (status, phase, failure) = match id {
        BUILD_BAD => ("failed", "failed", Some("pip ended with exit code 1")),
        BUILD_RUNNING => ("pending", "running", None),
        _ => ("succeeded", "succeeded", None),
    };
    json!({
        "id": id, "app": app_ref(), "status": status, "phase": phase, "failure": failure,
        "source_blob": { "checksum": null, "url": "git push of main",
                         "version": "1a2b3c4d".repeat(5), "version_description": "Add a cart" },
        "user": user(), "release": { "id": uuid(30) },
        "buildpacks": [{ "name": "fairway/python", "url": "fairway/python@0.1.0" }],
        "output_stream_url": format!("{base}/streams/{id}"), "stack": "fairway-12",
        "created_at": AT, "updated_at": AT,
    })
}

pub(crate) fn builds(base: &str) -> Value {
    json!([build(BUILD_GOOD, base), build(BUILD_BAD, base)])
}

pub(crate) fn domain(hostname: &str, kind: &str) -> Value {
    let custom = kind == "custom";
    json!({ "id": uuid(40), "app": app_ref(), "hostname": hostname, "kind": kind,
            "cname": custom.then_some("shop.localhost"), "status": "succeeded",
            "acm_status": null, "acm_status_reason": null, "created_at": AT, "updated_at": AT })
}

pub(crate) fn network_rule(number: u32, from: &str, to: &str, port: Option<u64>) -> Value {
    let app = |name: &str| json!({ "id": uuid(2), "name": name });
    json!({ "id": uuid(number), "from": app(from), "to": app(to), "port": port,
            "created_at": AT })
}

/// `target` has a hostname or addresses, as the request for it.
pub(crate) fn external_name(name: &str, target: &Value) -> Value {
    let mut shown = json!({ "name": name, "dns": format!("{name}.shop.internal"),
                            "created_at": AT });
    match target["hostname"].as_str() {
        Some(hostname) => shown["hostname"] = hostname.into(),
        None => shown["addresses"] = target["addresses"].clone(),
    }
    shown
}

pub(crate) fn key(number: u32, comment: &str) -> Value {
    json!({ "id": uuid(number), "fingerprint": format!("SHA256:fingerprint{number}/+"),
            "public_key": format!("ssh-ed25519 AAAA{number} {comment}"), "comment": comment,
            "email": "ada@example.com", "created_at": AT, "updated_at": AT })
}

pub(crate) fn placement(
    process_type: &str,
    placement: &Value,
    source: &str,
    nowhere: Option<&str>,
) -> Value {
    json!({ "app": app_ref(), "type": process_type, "placement": placement, "source": source,
            "nowhere": nowhere })
}

pub(crate) fn events() -> Value {
    json!([
        { "id": uuid(50), "position": 9, "app": app_ref(), "actor": "platform",
          "kind": "pod.crashed", "message": "worker.1 ran out of memory and was killed",
          "pod": "worker.1", "code": "R15", "count": 3, "created_at": AT,
          "cause": { "type": "out-of-memory", "container": "main", "limit_bytes": 536_870_912 },
          "updated_at": "2026-11-21T21:40:43Z" },
        { "id": uuid(51), "position": 7, "app": app_ref(), "actor": "ada@example.com",
          "kind": "release.created", "message": "v7: Deploy 1a2b3c47", "count": 1,
          "created_at": AT, "updated_at": AT },
    ])
}

pub(crate) const LOG: &str = "\
2026-11-21T21:30:43.123456+00:00 app[web.1]: listening on 5000
2026-11-21T21:30:44.000000+00:00 fairway[router]: GET / 200 3ms
2026-11-21T21:30:45.000000+00:00 app[worker.1]: \u{1b}[2Jcleared?
";

/// A folder `x` with a file, a program and a link that leads out.
pub(crate) fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    let mut add = |name: &str, kind, mode, content: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            builder.append_data(&mut header, name, content).unwrap();
        } else {
            builder.append_link(&mut header, name, link).unwrap();
        }
    };
    add("x", tar::EntryType::Directory, 0o755, b"", "");
    add("x/file", tar::EntryType::Regular, 0o640, b"\0data\n", "");
    add("x/run", tar::EntryType::Regular, 0o755, b"#!/bin/sh\n", "");
    add("x/out", tar::EntryType::Symlink, 0o777, b"", "/etc/passwd");
    builder.into_inner().unwrap()
}

/// What an archive has: names, modes and sizes.
pub(crate) fn contents(archive: &[u8]) -> String {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mode = entry.header().mode().unwrap() & 0o777;
        format!("{name} {mode:o} {}", entry.size())
    });
    entries.collect::<Vec<_>>().join(", ")
}
