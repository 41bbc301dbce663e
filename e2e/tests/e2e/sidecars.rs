//! Pods with several containers: one push with a proxy in front of the app and an adapter that
//! shares a file with it.

use anyhow::ensure;
use fairway_e2e::Platform;

use crate::{OnShared, push, sample};

pub(crate) const TESTS: &[(&str, OnShared)] = &[
    ("sidecars_serve_beside_the_app", serve_beside_the_app),
    (
        "sidecars_that_cannot_be_are_refused",
        that_cannot_be_are_refused,
    ),
];

/// As in docs/sidecars.md: nginx of the stack image takes the requests, and shows what the adapter
/// wrote.
const APP_JSON: &str = r#"{
  "sidecars": [
    { "name": "proxy", "types": ["web"], "command": "exec nginx -c /app/nginx.conf",
      "port": 9000, "requests": true, "after": ["main"], "memory": 64, "shared": ["notes"] },
    { "name": "adapter", "types": ["web"], "memory": 32, "env": { "NOTE": "from the adapter" },
      "command": "echo $NOTE >/notes/note; exec sleep 1000000", "shared": ["notes"],
      "healthchecks": [{ "command": "test -s /notes/note" }] }
  ],
  "shared": [{ "name": "notes", "path": "/notes", "size": 4 }]
}
"#;
const NGINX_CONF: &str = "\
daemon off;
worker_processes 1;
error_log stderr;
pid /tmp/nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  server {
    listen 9000;
    location /notes/ { root /; }
    location / { proxy_pass http://127.0.0.1:8080; }
  }
}
";

fn serve_beside_the_app(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("pair")?;
    sample::docker_app(&repository, "the app itself")?;
    repository.write("app.json", APP_JSON)?;
    repository.write("nginx.conf", NGINX_CONF)?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    ensure!(platform.get("pair", "/")? == (200, "the app itself".into()));
    let (status, note) = platform.get("pair", "/notes/note")?;
    ensure!(
        (status, note.trim()) == (200, "from the adapter"),
        "{status} {note}"
    );

    let pods = platform.app_ok(&["ps", "-a", "pair"])?;
    ensure!(
        pods.contains("web.1/proxy") && pods.contains("web.1/adapter"),
        "{pods}"
    );
    let command = "ps:exec -a pair -c adapter -- cat /notes/note";
    let read = platform.app_ok(&command.split(' ').collect::<Vec<_>>())?;
    ensure!(read.trim() == "from the adapter", "{read}");
    push::wait("the adapter's own log", || {
        let log = platform.app_ok(&["logs", "-a", "pair", "-p", "web.1/adapter"])?;
        Ok(log.contains("fairway[web.1/adapter]: State changed from starting to up"))
    })?;

    // The proxy ends: it alone comes back, and the record names it.
    let stop = "ps:exec -a pair -c proxy -- nginx -c /app/nginx.conf -s stop";
    platform.app_ok(&stop.split(' ').collect::<Vec<_>>())?;
    push::wait("the event of the proxy's end", || {
        let events = platform.app_ok(&["events", "-a", "pair"])?;
        Ok(events.contains("web.1/proxy exited with code 0"))
    })?;
    push::wait("the app behind its proxy", || {
        let json = platform.app_ok(&["ps", "-a", "pair", "--json"])?;
        let pods: serde_json::Value = serde_json::from_str(&json)?;
        let containers = pods[0]["containers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let restarts = |name: &str| {
            let of = containers.iter().find(|it| it["name"] == name);
            of.map(|it| it["restarts"].clone())
        };
        let alone = (restarts("proxy"), restarts("main")) == (Some(1.into()), Some(0.into()));
        Ok(alone && platform.get("pair", "/")?.0 == 200)
    })?;

    // A one-off pod has none of web's, and a rollback brings those of its release back.
    repository.write("app.json", "{}")?;
    repository.commit("without")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    ensure!(platform.get("pair", "/notes/note")? == (200, "the app itself".into()));
    platform.app_ok(&["rollback", "-a", "pair"])?;
    push::wait("the proxy of the release before", || {
        Ok(platform.get("pair", "/notes/note")?.1.trim() == "from the adapter")
    })?;
    platform.app_ok(&["destroy", "--confirm", "pair", "-a", "pair"])?;
    Ok(())
}

fn that_cannot_be_are_refused(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("circle")?;
    sample::docker_app(&repository, "never")?;
    for (app_json, expect) in [
        (
            r#"{"sidecars": [{"name": "a", "types": ["web"], "command": "x", "after": ["b"]},
                             {"name": "b", "types": ["web"], "command": "x", "after": ["a"]}]}"#,
            "app.json sidecars[0]: a -> b -> a wait for each other in a circle",
        ),
        (
            r#"{"sidecars": [{"name": "a", "types": ["clock"], "command": "x"}]}"#,
            "app.json sidecars[0].types: the app has no process type clock; it has web",
        ),
        (
            "{\"sidecars\": [\n{\"name\": \"a\", \"types\": [\"web\"], \"cmd\": \"x\"}]}",
            "app.json line 2, column",
        ),
        (
            r#"{"sidecars": [{"name": "a", "types": ["web"], "image": "127.0.0.1:9/none:1"}]}"#,
            "cannot pull the sidecar image 127.0.0.1:9/none:1",
        ),
    ] {
        repository.write("app.json", app_json)?;
        repository.commit(expect)?;
        let pushed = repository.push(&["fairway", "main"])?;
        let declined = !pushed.ok && pushed.output.contains("pre-receive hook declined");
        ensure!(
            declined && pushed.output.contains(expect),
            "{}",
            pushed.output
        );
    }
    platform.app_ok(&["destroy", "--confirm", "circle", "-a", "circle"])?;
    Ok(())
}
