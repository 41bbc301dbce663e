//! Streams behind signed URLs: logs, build output, terminals over real sockets.

use std::time::Duration;

use axum::body::Body;
use fairway_api::{
    build_orders::BuildResult,
    ids::{AppId, AttachId},
    logs::{LogLine, LogSource},
};
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tower::ServiceExt;

use crate::{
    attach::End,
    http::streams,
    testing::{BUILDER, NODE, Rig},
};

/// Long enough for anything here, short enough for a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn path(url: &str) -> &str {
    url.strip_prefix("http://fairway.test:7000").unwrap()
}

/// A stream that is still open: its next bytes as text.
struct Open(Body);

impl Open {
    async fn get(rig: &Rig, url: &str) -> Self {
        let request = axum::http::Request::builder()
            .uri(path(url))
            .body(Body::empty())
            .unwrap();
        let response = rig.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Self(response.into_body())
    }

    async fn next(&mut self) -> Option<String> {
        let frame = tokio::time::timeout(PATIENCE, self.0.frame())
            .await
            .expect("it hangs")?;
        let bytes = frame.unwrap().into_data().unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }
}

fn line(app: &Value, process: &str, source: LogSource, text: &str) -> LogLine {
    LogLine {
        app: app["id"].as_str().unwrap().parse::<AppId>().unwrap(),
        at: chrono::DateTime::UNIX_EPOCH,
        source,
        process: process.into(),
        pod: None,
        text: text.into(),
    }
}

async fn session(rig: &Rig, body: Value) -> String {
    let reply = rig
        .call(&rig.alice, "POST", "/apps/shop/log-sessions", body)
        .await;
    reply.expect(201)["logplex_url"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_log_session_shows_the_past_and_what_comes() {
    let rig = Rig::new().await;
    let app = rig.app("shop").await;
    let logs = &rig.state().logs;
    let lines = vec![
        line(&app, "web.1", LogSource::App, "one"),
        line(&app, "worker.1", LogSource::App, "two"),
        line(&app, "router", LogSource::Fairway, "three"),
    ];
    logs.append(lines).await;
    let texts = |text: String| -> Vec<String> {
        text.lines()
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect()
    };
    let table = [
        (json!({}), vec!["one", "two", "three"]),
        (json!({ "lines": 2 }), vec!["two", "three"]),
        (json!({ "lines": 0 }), vec![]),
        (json!({ "dyno": "web.1" }), vec!["one"]),
        (json!({ "dyno": "web" }), vec!["one"]),
        (json!({ "type": "worker" }), vec!["two"]),
        (json!({ "dyno": "web.2" }), vec![]),
        (json!({ "source": "heroku" }), vec!["three"]),
        (json!({ "source": "app", "lines": 1 }), vec!["two"]),
    ];
    for (body, expected) in table {
        let reply = rig.get("", path(&session(&rig, body.clone()).await)).await;
        assert_eq!(texts(reply.text), expected, "{body}");
    }

    let url = session(&rig, json!({ "tail": true, "dyno": "web", "lines": 1 })).await;
    let mut tail = Open::get(&rig, &url).await;
    assert_eq!(texts(tail.next().await.unwrap()), ["one"]);
    logs.append(vec![line(&app, "worker.1", LogSource::App, "hidden")])
        .await;
    logs.append(vec![line(&app, "web.2", LogSource::App, "four")])
        .await;
    assert_eq!(texts(tail.next().await.unwrap()), ["four"]);
    // The tail ends with the app.
    rig.call(&rig.alice, "DELETE", "/apps/shop", Value::Null)
        .await
        .expect(200);
    assert_eq!(tail.next().await, None);
}

#[tokio::test]
async fn a_log_session_is_a_stream_of_events_for_who_asks_for_it() {
    let rig = Rig::new().await;
    let app = rig.app("shop").await;
    let one = line(&app, "web.1", LogSource::App, "one");
    rig.state().logs.append(vec![one]).await;
    let url = session(&rig, json!({})).await;
    let events = |header: (&'static str, &'static str)| {
        let request = axum::http::Request::builder()
            .uri(path(&url))
            .header("accept", "text/event-stream")
            .header(header.0, header.1);
        rig.send(request.body(Body::empty()).unwrap())
    };
    let first = events(("cache-control", "no-cache")).await;
    assert_eq!(first.headers["content-type"], "text/event-stream");
    assert_eq!(
        first.text,
        "id: 1\ndata: 1970-01-01T00:00:00.000000+00:00 app[web.1]: one\n\n"
    );
    let back = events(("last-event-id", "1")).await;
    assert_eq!(back.text, "", "what it has seen does not come again");
}

#[tokio::test]
async fn a_signature_opens_its_own_stream_only() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let url = session(&rig, json!({})).await;
    let (place, sig) = path(&url).split_once('?').unwrap();
    let other = place.replace(&place[place.len() - 4..], "0000");
    let build = rig.queue("shop").await;
    for place in [other, format!("/streams/builds/{}", build.id)] {
        rig.get("", &format!("{place}?{sig}")).await.expect(403);
    }
    let id = AttachId::generate();
    let url = streams::attach_url(rig.state(), id).unwrap();
    assert!(
        url.starts_with("ws://fairway.test:7000/streams/attach/"),
        "{url}"
    );
}

#[tokio::test]
async fn build_output_is_followed_until_the_push_ends() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.queue("shop").await;
    let order = rig.claim().await;
    let build = rig
        .get(&rig.alice, &format!("/apps/shop/builds/{}", order.id))
        .await
        .expect(200);
    let url = build["output_stream_url"].as_str().unwrap();
    let say = |text: &'static str| {
        let request = axum::http::Request::builder()
            .method("POST")
            .uri(format!("/internal/builds/{}/output", order.id))
            .header("authorization", format!("Bearer {BUILDER}"));
        rig.send(request.body(Body::from(text)).unwrap())
    };
    let mut follower = Open::get(&rig, url).await;
    say("-----> Building\n").await.expect(200);
    assert_eq!(follower.next().await.unwrap(), "-----> Building\n");
    say("       done\n").await.expect(200);
    assert_eq!(follower.next().await.unwrap(), "       done\n");
    let failed = BuildResult::Failed {
        reason: "it broke".into(),
    };
    rig.finish(&order, &failed).await.expect(204);
    assert_eq!(follower.next().await, None);

    // Whoever comes later reads it from the file, from where they like.
    assert_eq!(
        rig.get("", path(url)).await.text,
        "-----> Building\n       done\n"
    );
    let rest = rig
        .get(
            BUILDER,
            &format!("/internal/builds/{}/output?offset=16", order.id),
        )
        .await;
    assert_eq!(rest.text, "       done\n");
    // A builder that talks on is told that it is over, and is not heard.
    assert_eq!(
        say("more\n").await.expect(200),
        json!({ "cancelled": true })
    );
    assert_eq!(
        rig.get("", path(url)).await.text,
        "-----> Building\n       done\n"
    );
}

/// The API on a real socket, for WebSockets.
pub(super) async fn serve(rig: &Rig) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = rig.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("ws://{address}")
}

pub(super) type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

pub(super) async fn dial(url: String, token: Option<&str>) -> Socket {
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
    }
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

async fn dial_end(rig: &Rig, base: &str, id: AttachId, end: End) -> Socket {
    match end {
        End::User => {
            let url = streams::attach_url(rig.state(), id).unwrap();
            dial(url.replace("ws://fairway.test:7000", base), None).await
        }
        End::Pod => dial(format!("{base}/internal/attach/{id}"), Some(NODE)).await,
    }
}

pub(super) async fn next(socket: &mut Socket) -> Option<Message> {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .expect("it hangs")?
            .ok()?;
        match message {
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return None,
            message => return Some(message),
        }
    }
}

#[tokio::test]
async fn a_terminal_and_a_pod_are_joined_whoever_comes_first() {
    let rig = Rig::new().await;
    let base = serve(&rig).await;
    for (first, second) in [(End::User, End::Pod), (End::Pod, End::User)] {
        let id = AttachId::generate();
        let mut a = dial_end(&rig, &base, id, first).await;
        // Sent before the other end is there: it must not be lost.
        a.send(Message::text("early")).await.unwrap();
        let mut b = dial_end(&rig, &base, id, second).await;
        assert_eq!(
            next(&mut b).await,
            Some(Message::text("early")),
            "{first:?} first"
        );
        let bytes = vec![1_u8; 200_000];
        b.send(Message::binary(bytes.clone())).await.unwrap();
        assert_eq!(next(&mut a).await, Some(Message::binary(bytes)));
        // What an end says last arrives before the terminal closes.
        b.send(Message::text("exit")).await.unwrap();
        b.close(None).await.unwrap();
        assert_eq!(next(&mut a).await, Some(Message::text("exit")));
        assert_eq!(next(&mut a).await, None);
    }
}

#[tokio::test]
async fn a_terminal_whose_pod_fails_is_told_why() {
    let rig = Rig::new().await;
    let base = serve(&rig).await;
    let id = AttachId::generate();
    let mut user = dial_end(&rig, &base, id, End::User).await;
    // A second one of the same end finds its place taken, so the first has its place by now.
    let mut twin = dial_end(&rig, &base, id, End::User).await;
    let refusal = next(&mut twin).await.unwrap().to_string();
    assert!(refusal.contains("taken"), "{refusal}");
    rig.state().attach.fail(id, "the image is gone");
    let told: Value =
        serde_json::from_str(next(&mut user).await.unwrap().to_text().unwrap()).unwrap();
    assert_eq!(
        told,
        json!({ "kind": "failed", "reason": "the image is gone" })
    );
    assert_eq!(next(&mut user).await, None);
}

#[tokio::test]
async fn an_end_that_leaves_gives_its_place_up() {
    let rig = Rig::new().await;
    let base = serve(&rig).await;
    let id = AttachId::generate();
    let mut user = dial_end(&rig, &base, id, End::User).await;
    user.close(None).await.unwrap();
    while user.next().await.is_some() {}
    // Its place is free for another try, which then meets the pod.
    let mut user = loop {
        let mut again = dial_end(&rig, &base, id, End::User).await;
        again.send(Message::text("hello")).await.unwrap();
        match tokio::time::timeout(Duration::from_millis(100), again.next()).await {
            Err(_) | Ok(Some(Ok(Message::Ping(_)))) => break again,
            Ok(_) => {}
        }
    };
    let mut pod = dial_end(&rig, &base, id, End::Pod).await;
    assert_eq!(next(&mut pod).await, Some(Message::text("hello")));
    user.close(None).await.unwrap();
    assert_eq!(next(&mut pod).await, None);
}

#[tokio::test]
async fn a_build_tells_its_start_and_its_failure_in_the_apps_log() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let url = session(&rig, json!({ "tail": true })).await;
    let mut tail = Open::get(&rig, &url).await;
    rig.queue("shop").await;
    let order = rig.claim().await;
    let failed = BuildResult::Failed {
        reason: "the buildpack exited with code 1\nand more".into(),
    };
    rig.finish(&order, &failed).await.expect(204);
    let end = "Build of 1a2b3c4d failed: the buildpack exited with code 1\n";
    let mut text = String::new();
    while !text.ends_with(end) {
        text += &tail.next().await.expect("the log goes on");
    }
    let start = "fairway[api]: Build of 1a2b3c4d started by alice@example.com\n";
    assert!(text.contains(start), "{text}");
}

#[tokio::test]
async fn what_waits_ends_with_the_process() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let build = rig.queue("shop").await;
    let url = session(&rig, json!({ "tail": true })).await;
    let mut tail = Open::get(&rig, &url).await;
    rig.claim().await;
    let verdict = format!("/internal/builds/{}/verdict", build.id);
    let none = json!({ "builder": "one", "in_hand": [build.id] });
    let ((), verdict, claim, plan) = tokio::join!(
        async {
            rig.state().closing.cancel();
            // What was said of the build before.
            while tail.next().await.is_some() {}
        },
        rig.get(BUILDER, &verdict),
        rig.call(BUILDER, "POST", "/internal/builds/claim", none),
        rig.get(NODE, "/internal/nodes/one/plan"),
    );
    for reply in [verdict, claim, plan] {
        reply.expect(204);
    }
}

#[tokio::test]
async fn events_are_listed_by_filter_and_followed_from_a_position() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let scale = |quantity: u32| json!({ "updates": [{ "type": "web", "quantity": quantity }] });
    rig.release("shop").await;
    let newest = rig.get(&rig.alice, "/apps/shop/events").await.expect(200)[0].clone();
    let after = newest["position"].as_u64().unwrap();
    let follow = async |path: String, token: &str, accept: &str| {
        let request = axum::http::Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("accept", accept);
        let request = request.body(Body::empty()).unwrap();
        let response = rig.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Open(response.into_body())
    };
    let path = |query: &str| format!("/apps/shop/events/stream{query}");
    let mut all = follow(path(""), &rig.alice, "*/*").await;
    let mut scaled = follow(path("?type=formation.scaled"), &rig.alice, "*/*").await;
    let mut events = follow(path(""), &rig.alice, "text/event-stream").await;
    let mut everybody = follow("/events/stream".into(), &rig.admin, "*/*").await;
    rig.call(
        &rig.alice,
        "PATCH",
        "/apps/shop",
        json!({ "maintenance": true }),
    )
    .await
    .expect(200);
    rig.call(&rig.alice, "PATCH", "/apps/shop/formation", scale(3))
        .await
        .expect(200);
    let kind = |line: Option<String>| {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        event["kind"].as_str().unwrap().to_owned()
    };
    let first = kind(all.next().await);
    assert_eq!(kind(all.next().await), "formation.scaled");
    assert_eq!(kind(scaled.next().await), "formation.scaled");
    assert_eq!(kind(everybody.next().await), first);
    let event = events.next().await.unwrap();
    assert!(
        event.starts_with(&format!("id: {}\ndata: {{", after + 1)),
        "{event}"
    );
    // Whoever was away hears what came meanwhile.
    let mut late = follow(path(&format!("?after={}", after + 1)), &rig.alice, "*/*").await;
    assert_eq!(kind(late.next().await), "formation.scaled");
    let filtered = rig
        .get(&rig.alice, "/apps/shop/events?type=formation.scaled")
        .await;
    assert_eq!(filtered.expect(200).as_array().unwrap().len(), 1);
    let all_apps = rig.get(&rig.admin, "/events").await.expect(200);
    assert_eq!(all_apps[0]["kind"], "formation.scaled");
    let wrong = rig
        .get(&rig.alice, "/apps/shop/events?process=we%25b")
        .await;
    assert!(
        wrong.expect(422)["hint"]
            .as_str()
            .unwrap()
            .contains("out-of-memory")
    );
    // It ends with the app, and not with that of others.
    rig.call(&rig.alice, "DELETE", "/apps/shop", Value::Null)
        .await
        .expect(200);
    assert_eq!(kind(all.next().await), "app.destroyed");
    assert_eq!(all.next().await, None);
    assert_eq!(scaled.next().await, None);
}
