//! The API as far as `app` can tell: real HTTP and WebSocket on a port of its own, fixed answers,
//! and a list of what was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use base64::Engine;
use serde_json::{Value, json};

use crate::fixtures as fix;

/// The token that the fake takes.
pub(crate) const TOKEN: &str = "token-of-ada";
/// The password that the fake takes.
pub(crate) const PASSWORD: &str = "correct horse";

/// A running fake. It ends with the test.
pub(crate) struct FakeApi {
    address: SocketAddr,
    seen: Seen,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone, Default)]
struct Seen(Arc<(Mutex<Calls>, Condvar)>);

#[derive(Default)]
struct Calls {
    asked: Vec<String>,
    /// The body of the last answer to a call that was not a stream.
    answered: Value,
}

impl Seen {
    fn push(&self, line: String) {
        self.0.0.lock().unwrap().asked.push(line);
        self.0.1.notify_all();
    }
}

/// How long a test waits for a call before it fails.
const CALL_WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Fake {
    base: String,
    seen: Seen,
}

impl FakeApi {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let fake = Fake {
            base: format!("http://{address}"),
            seen: seen.clone(),
        };
        let router = Router::new()
            .route("/attach/{script}", any(attach))
            .fallback(answer)
            .with_state(fake);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            seen,
            _runtime: runtime,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked since the last time, one call per line.
    pub(crate) fn take_seen(&self) -> String {
        std::mem::take(&mut self.seen.0.0.lock().unwrap().asked).join("\n")
    }

    /// The body of the last answer.
    pub(crate) fn last_answer(&self) -> Value {
        self.seen.0.0.lock().unwrap().answered.clone()
    }

    /// Waits until something with this text was asked.
    pub(crate) fn wait_for(&self, text: &str) {
        let (seen, changed) = &*self.seen.0;
        let missing = |seen: &mut Calls| !seen.asked.iter().any(|line| line.contains(text));
        let waited = changed.wait_timeout_while(seen.lock().unwrap(), CALL_WAIT_MAX, missing);
        assert!(!waited.unwrap().1.timed_out(), "{text} was never asked");
    }
}

async fn answer(
    State(fake): State<Fake>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path();
    let body = String::from_utf8_lossy(&body).into_owned();
    let told = if matches!(body.as_str(), "" | "null") {
        String::new()
    } else {
        format!(" {body}")
    };
    fake.seen.push(format!("{method} {uri}{told}"));
    if let Some(name) = path.strip_prefix("/streams/") {
        return stream(name, &headers);
    }
    let authorization = headers
        .get("authorization")
        .map_or("", |value| value.to_str().unwrap());
    if path == "/oauth/authorizations" && !authorization.starts_with("Bearer ") {
        let login = format!("ada@example.com:{PASSWORD}");
        let login = base64::engine::general_purpose::STANDARD.encode(login);
        return if authorization == format!("Basic {login}") {
            (StatusCode::CREATED, Json(fix::token(TOKEN))).into_response()
        } else {
            refuse(401, "unauthorized", "Email or password is wrong.", None)
        };
    }
    if authorization != format!("Bearer {TOKEN}") {
        return refuse(401, "unauthorized", "The token is not valid.", None);
    }
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match resource(&method, &segments, &body, &fake.base) {
        Some(value) => {
            fake.seen.0.0.lock().unwrap().answered = value.clone();
            Json(value).into_response()
        }
        None => refuse(
            404,
            "not_found",
            &format!("There is no {}.", segments.join(" ")),
            Some("app apps lists your apps."),
        ),
    }
}

fn refuse(status: u16, id: &str, message: &str, hint: Option<&str>) -> Response {
    let body = json!({ "id": id, "message": message, "hint": hint });
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

fn resource(method: &Method, path: &[&str], body: &Value, base: &str) -> Option<Value> {
    Some(match (method.as_str(), path) {
        ("GET", ["account"]) => fix::account(),
        ("POST", ["users"]) => fix::account(),
        ("PATCH", ["account"]) => fix::account(),
        ("GET", ["oauth", "authorizations"]) => json!([fix::listed_token(70, "CI")]),
        ("POST", ["oauth", "authorizations"]) => fix::token("fw_fresh"),
        ("DELETE", ["oauth", "authorizations", id]) if *id != "~" => json!({}),
        ("GET", ["dyno-sizes"]) => serde_json::to_value(fairway_api::sizes::all()).unwrap(),
        ("GET", ["account", "keys"]) => json!([fix::key(60, "ada@laptop"), fix::key(61, "work")]),
        ("POST", ["account", "keys"]) => fix::key(60, "ada@laptop"),
        ("DELETE", ["account", "keys", _] | ["oauth", "authorizations", "~"]) => json!({}),
        ("GET", ["apps"]) => json!([fix::app("shop", false), fix::app("blog", false)]),
        ("POST", ["apps"]) => fix::app(body["name"].as_str().unwrap_or("calm-river-4821"), false),
        ("GET" | "DELETE", ["apps", name @ ("shop" | "blog")]) => fix::app(name, false),
        ("PATCH", ["apps", "shop"]) => {
            let name = body["name"].as_str().unwrap_or("shop");
            fix::app(name, body["maintenance"] == json!(true))
        }
        (_, ["apps", "shop", rest @ ..]) => return of_shop(method, rest, body, base),
        _ => return None,
    })
}

fn of_shop(method: &Method, path: &[&str], body: &Value, base: &str) -> Option<Value> {
    Some(match (method.as_str(), path) {
        ("GET", ["builds"]) => fix::builds(base),
        ("GET" | "DELETE", ["builds", id]) => fix::build(id, base),
        ("GET", ["releases"]) => fix::releases(),
        ("GET", ["releases", "8"] | ["releases", "v8"]) => fix::release(8, "succeeded", true),
        ("GET", ["releases", "9"] | ["releases", "v9"]) => fix::release(9, "failed", false),
        ("GET", ["releases", "v7"]) => fix::release(7, "succeeded", true),
        // Going back to v6 will fail, all else will work.
        ("POST", ["releases"]) if body["release"] == json!("v6") => {
            fix::release(9, "pending", false)
        }
        ("POST", ["releases"]) => fix::release(8, "pending", false),
        ("GET", ["formation"]) => fix::formation(3, 1),
        ("PATCH", ["formation"]) => {
            let quantity = |kind: &str, usual: u64| {
                let updates = body["updates"].as_array().unwrap();
                let update = updates.iter().find(|update| update["type"] == json!(kind));
                update.map_or(usual, |update| match update["quantity"].as_str() {
                    Some(step) => usual.saturating_add_signed(step.parse().unwrap()),
                    None => update["quantity"].as_u64().unwrap_or(usual),
                })
            };
            fix::formation(quantity("web", 3), quantity("worker", 1))
        }
        ("GET", ["dynos"]) => fix::dynos(),
        ("GET", ["dynos", "run.4821"]) => fix::dyno("run.4821", None),
        ("GET", ["dynos", "run.99"]) => {
            let mut ended = fix::dyno("run.99", None);
            ended["exit_code"] = json!(9);
            ended
        }
        ("POST", ["dynos"]) => started(body, base),
        ("POST", ["dynos", pod @ ("web.1" | "worker.2"), "sessions"]) => session(pod, body, base),
        ("DELETE", ["dynos"] | ["dynos", _]) | ("POST", ["dynos", _, "actions", "stop"]) => {
            json!({})
        }
        ("GET" | "PATCH", ["config-vars"]) => {
            json!({ "GREETING": "hello world", "KEY": "-----BEGIN\nabc\n", "LIMIT": "10" })
        }
        ("GET", ["domains"]) => json!([
            fix::domain("shop.localhost", "heroku"),
            fix::domain("www.example.com", "custom")
        ]),
        ("POST", ["domains"]) => fix::domain(body["hostname"].as_str().unwrap(), "custom"),
        ("DELETE", ["domains", hostname]) => fix::domain(hostname, "custom"),
        ("GET", ["network"]) => json!([
            fix::network_rule(60, "blog", "shop", Some(5432)),
            fix::network_rule(61, "shop", "blog", None),
        ]),
        ("POST", ["network"]) => {
            let port = body["port"].as_u64();
            fix::network_rule(62, body["from"].as_str().unwrap(), "shop", port)
        }
        ("DELETE", ["network", _]) => fix::network_rule(60, "blog", "shop", Some(5432)),
        ("GET", ["external-names"]) => json!([
            fix::external_name("cache", &json!({ "addresses": ["10.1.2.3", "10.1.2.4"] })),
            fix::external_name("db", &json!({ "hostname": "db.example.com" })),
        ]),
        ("PUT", ["external-names", name]) => fix::external_name(name, body),
        ("DELETE", ["external-names", name]) => {
            fix::external_name(name, &json!({ "hostname": "db.example.com" }))
        }
        ("GET", ["events"]) => fix::events(),
        ("GET", ["events", "stream"]) => fix::events()[0].clone(),
        ("POST", ["log-sessions"]) => json!({
            "id": "00000000-0000-7000-8000-000000000070",
            "logplex_url": format!("{base}/streams/log"),
            "created_at": "2026-11-21T21:30:43Z", "updated_at": "2026-11-21T21:30:43Z",
        }),
        _ => return scaling_of_shop(method, path, body),
    })
}

fn scaling_of_shop(method: &Method, path: &[&str], body: &Value) -> Option<Value> {
    Some(match (method.as_str(), path) {
        ("GET", ["autoscale"]) => json!([fix::autoscaling()]),
        ("PUT", ["autoscale", _]) => {
            let mut row = fix::autoscaling();
            row["policy"] = body.clone();
            row
        }
        ("DELETE", ["autoscale", _]) => fix::autoscaling(),
        ("GET", ["placement"]) => json!([
            fix::placement(
                "web",
                &json!({ "require": ["disk=ssd"] }),
                "app",
                Some("n1: is small")
            ),
            fix::placement("worker", &json!({}), "default", None),
        ]),
        ("PUT", ["placement", kind]) => fix::placement(kind, body, "app", Some("n1: is small")),
        ("DELETE", ["placement", kind]) => fix::placement(kind, &json!({}), "release", None),
        ("GET", ["metrics"]) => fix::metrics(),
        ("GET", ["features"]) => json!([fix::feature(false)]),
        ("PATCH", ["features", _]) => fix::feature(body["enabled"] == json!(true)),
        _ => return volumes_of_shop(method, path, body),
    })
}

fn volumes_of_shop(method: &Method, path: &[&str], body: &Value) -> Option<Value> {
    Some(match (method.as_str(), path) {
        ("GET", ["volumes"]) => json!([
            fix::volume(
                "data",
                &json!([{ "process_type": "worker", "path": "/data", "read_only": false }])
            ),
            fix::shared_volume(),
        ]),
        ("POST", ["volumes"]) => {
            let volume = fix::volume(body["name"].as_str().unwrap(), &body["mounts"]);
            json!({ "volume": volume, "release": 9 })
        }
        ("GET" | "DELETE", ["volumes", name]) => fix::volume(name, &json!([])),
        (_, ["volumes", name, "mounts", _]) => {
            json!({ "volume": fix::volume(name, &json!([])), "release": 9 })
        }
        ("POST", ["volumes", _, "actions", "snapshot"]) | ("DELETE", ["volume-snapshots", _]) => {
            fix::snapshots()[0].take()
        }
        ("POST", ["volumes", name, "actions", _]) => fix::volume(name, &json!([])),
        ("GET", ["volume-snapshots"]) => fix::snapshots(),
        ("GET", ["config-files"]) => json!([fix::config_file("KEY")]),
        ("PUT" | "DELETE", ["config-files", name]) => {
            json!({ "file": fix::config_file(name), "release": 9 })
        }
        _ => return jobs_of_shop(method, path, body),
    })
}

fn jobs_of_shop(method: &Method, path: &[&str], body: &Value) -> Option<Value> {
    Some(match (method.as_str(), path) {
        ("GET", ["jobs"]) => json!([fix::job(false)]),
        ("GET", ["jobs", "nightly"]) => fix::job(false),
        ("PATCH", ["jobs", "nightly"]) => fix::job(body["suspended"] == json!(true)),
        ("POST", ["jobs", "nightly", "runs"]) => fix::run("nightly.4821", "running", None),
        ("GET", ["runs"]) => fix::runs(),
        // Looked at once, it has ended.
        ("GET", ["runs", _]) => fix::run("nightly.10002", "failed", Some(3)),
        ("POST", ["runs"]) => fix::run("import.4821", "running", None),
        ("POST", ["runs", name, "actions", "stop"]) => fix::run(name, "cancelled", None),
        _ => return None,
    })
}

/// A one-off pod whose command is the name of the script that its terminal follows.
fn started(body: &Value, base: &str) -> Value {
    let script = body["command"].as_str().unwrap().replace(' ', "-");
    let name = if script == "lost-but-ended" {
        "run.99"
    } else {
        "run.4821"
    };
    let terminal = if body["force_no_tty"] == json!(true) {
        "pipe"
    } else {
        "terminal"
    };
    let url = format!("{}/attach/{script}.{terminal}", base.replace("http", "ws"));
    let mut dyno = fix::dyno(name, (body["attach"] == json!(true)).then_some(&url));
    dyno["command"] = body["command"].clone();
    dyno
}

/// A session whose kind, or command, is the name of the script that the pod's end follows.
fn session(pod: &str, body: &Value, base: &str) -> Value {
    let words = body["command"].as_array();
    let command = words.filter(|words| !words.is_empty()).map(|words| {
        let words = words.iter().map(|word| word.as_str().unwrap());
        words.collect::<Vec<_>>().join("-")
    });
    let script = command.unwrap_or_else(|| body["kind"].as_str().unwrap().into());
    let url = format!("{}/attach/{script}.pipe?sig=x", base.replace("http", "ws"));
    json!({
        "id": "00000000-0000-7000-8000-000000000080",
        "dyno": { "id": "00000000-0000-7000-8000-000000000081", "name": pod },
        "url": url, "expires_at": "2026-11-21T21:30:43Z",
    })
}

fn stream(name: &str, headers: &HeaderMap) -> Response {
    // A stream URL is a capability: our token has no business there.
    assert!(
        !headers.contains_key("authorization"),
        "the token went to a stream"
    );
    match name {
        "log" => fix::LOG.into_response(),
        fix::BUILD_BAD => "-----> Python\n !     pip failed\n".into_response(),
        _ => "-----> Python\n-----> Released v7\n".into_response(),
    }
}

async fn attach(
    State(fake): State<Fake>,
    axum::extract::Path(script): axum::extract::Path<String>,
    uri: Uri,
    upgrade: WebSocketUpgrade,
) -> Response {
    let port = uri.query().is_some_and(|query| query.contains("port="));
    let script = if port { "connection".into() } else { script };
    upgrade.on_upgrade(move |mut socket| async move {
        drop(play(&mut socket, &script, &fake.seen).await);
        // The other end closes: closing with its input unread would make the kernel throw away
        // what is on the way to it.
        while let Some(Ok(_)) = socket.recv().await {}
    })
}

fn output(text: &[u8]) -> Message {
    Message::Binary([b"\x01", text].concat().into())
}

fn exit(code: i64) -> Message {
    Message::Text(json!({ "kind": "exit", "code": code }).to_string().into())
}

/// The pod's end of a terminal.
async fn play(socket: &mut WebSocket, script: &str, seen: &Seen) -> Result<(), axum::Error> {
    match script {
        "exit-7.pipe" => {
            socket.send(output(b"to stdout\n")).await?;
            socket
                .send(Message::Binary(b"\x02to stderr\n".to_vec().into()))
                .await?;
            socket.send(exit(7)).await
        }
        // Sends everything back while it arrives, as cat does.
        "cat.pipe" => loop {
            match socket.recv().await {
                Some(Ok(Message::Binary(bytes))) => socket.send(output(&bytes[1..])).await?,
                Some(Ok(Message::Text(text))) if text.contains("end-of-input") => {
                    return socket.send(exit(0)).await;
                }
                _ => return Ok(()),
            }
        },
        // Takes the size of the terminal, waits for a key and says which.
        "keys.terminal" => loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => seen.push(format!("terminal {text}")),
                Some(Ok(Message::Binary(bytes))) => {
                    socket
                        .send(output(format!("got {:?}\r\n", &bytes[1..]).as_bytes()))
                        .await?;
                    return socket.send(exit(3)).await;
                }
                _ => return Ok(()),
            }
        },
        "connection" | "forward.pipe" | "copy-from.pipe" | "copy-to.pipe" => {
            play_session(socket, script, seen).await
        }
        "fails.pipe" => {
            let text = json!({ "kind": "failed", "reason": "no node has room for it" });
            socket.send(Message::Text(text.to_string().into())).await
        }
        "stranger.pipe" => {
            socket
                .send(Message::Text("{\"kind\":\"other\"}".into()))
                .await
        }
        // The connection ends without a word: lost.pipe, lost-but-ended.pipe.
        _ => {
            socket.send(output(b"half a li")).await?;
            socket.send(Message::Close(None)).await
        }
    }
}

/// The pod's end of a session that is no command.
async fn play_session(
    socket: &mut WebSocket,
    script: &str,
    seen: &Seen,
) -> Result<(), axum::Error> {
    match script {
        // A connection that says everything twice, and half-closes when it has heard all.
        "connection" => loop {
            match socket.recv().await {
                Some(Ok(Message::Binary(bytes))) => {
                    socket.send(output(&bytes[1..].repeat(2))).await?;
                }
                Some(Ok(Message::Text(text))) if text.contains("end-of-input") => {
                    let end = json!({ "kind": "end-of-output" });
                    socket.send(Message::Text(end.to_string().into())).await?;
                    seen.push("a connection was closed".into());
                    return Ok(());
                }
                _ => return Ok(()),
            }
        },
        // Ends after three connections.
        "forward.pipe" => {
            let closed = || {
                let seen = seen.0.0.lock().unwrap();
                let lines = seen.asked.iter();
                lines
                    .filter(|line| *line == "a connection was closed")
                    .count()
            };
            while closed() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let text = json!({ "kind": "failed", "reason": "web.1 was killed by SIGKILL" });
            socket.send(Message::Text(text.to_string().into())).await
        }
        // A folder `x` with a file, a program and a link that leads out.
        "copy-from.pipe" => {
            for piece in fix::archive().chunks(700) {
                socket.send(output(piece)).await?;
            }
            socket.send(exit(0)).await
        }
        // Takes an archive for a name that is not there yet, and tells what is in it.
        _ => {
            socket.send(output(b"n\n")).await?;
            let mut archive = vec![];
            loop {
                match socket.recv().await {
                    Some(Ok(Message::Binary(bytes))) => archive.extend_from_slice(&bytes[1..]),
                    Some(Ok(Message::Text(_))) => break,
                    _ => return Ok(()),
                }
            }
            seen.push(fix::contents(&archive));
            socket.send(exit(0)).await
        }
    }
}
