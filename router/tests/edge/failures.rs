//! Requests that no pod can answer, and those that another pod or another try can.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::{
    controller::Controller,
    edge::{Edge, WAIT, route, shop},
    pods::{Pod, closed, read_head, scripted, write_answer},
    wire::{Wire, ask, get},
};
use fairway_api::ids::AppId;

#[tokio::test]
async fn each_reason_has_its_page_and_its_code() {
    let mut maintenance = route(AppId::from_u128(2), "away.localhost", "/", &[]);
    maintenance.service.maintenance = true;
    let edge = Edge::with(vec![
        shop(&[]),
        maintenance,
        route(
            AppId::from_u128(3),
            "refused.localhost",
            "/",
            &[(3, closed().await)],
        ),
    ])
    .await;
    for (host, status, code, text) in [
        ("unknown.localhost", 404, "no-route", "No app answers"),
        ("shop.localhost", 503, "no-pods", "not running"),
        ("away.localhost", 503, "maintenance", "Down for maintenance"),
        ("refused.localhost", 502, "refused", "failed to answer"),
    ] {
        let page = get(edge.address, host, "/").await;
        assert_eq!(
            (page.status, page.header("x-fairway-error")),
            (status, code)
        );
        assert!(
            page.body.contains(text) && page.body.contains(code),
            "{}",
            page.body
        );
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        let id = page.header("x-request-id");
        assert!(id.len() == 36 && page.body.contains(id), "{page:?}");
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nX-Request-Id: mine\r\n\r\n"
        );
        let reply = ask(edge.address, &request).await.unwrap();
        assert_eq!(reply.header("content-type"), "application/json");
        let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(
            (&json["id"], &json["request_id"]),
            (&code.into(), &"mine".into())
        );
        if status != 404 {
            let status = format!("status={status}");
            edge.controller
                .line(&["at=error", &format!("code={code}"), &status, "mine"])
                .await;
        }
    }
}

#[tokio::test]
async fn error_pages_keep_the_connection_and_know_head() {
    let edge = Edge::shop(&[]).await;
    let mut wire = Wire::connect(edge.address).await;
    for _ in 0..2 {
        wire.send("HEAD / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        assert_eq!(wire.head().await.unwrap().status, 503);
        wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        assert_eq!(wire.reply().await.unwrap().status, 503);
    }
}

#[tokio::test]
async fn a_router_without_a_table_says_that_it_starts() {
    let controller = Controller::away().await;
    let edge = Edge::start(controller, tempfile::tempdir().unwrap(), WAIT).await;
    let page = get(edge.address, "shop.localhost", "/").await;
    assert_eq!(
        (page.status, page.header("x-fairway-error")),
        (503, "no-table")
    );
}

#[tokio::test]
async fn a_request_before_the_first_table_waits_for_it() {
    let pod = Pod::start("pod").await;
    let mut edge = Edge::start(Controller::away().await, tempfile::tempdir().unwrap(), WAIT).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    edge.controller.come_back();
    edge.install(1, vec![shop(&[(1, pod.address)])]).await;
    assert_eq!(wire.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_refused_connection_goes_to_another_pod_whatever_the_method() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, closed().await), (2, pod.address), (3, closed().await)]).await;
    for _ in 0..20 {
        let request =
            "POST /echo HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 4\r\n\r\ndata";
        let reply = ask(edge.address, request).await.unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, "data"));
    }
}

#[tokio::test]
async fn a_pod_that_is_back_gets_requests_again() {
    let address = closed().await;
    let edge = Edge::shop(&[(1, address)]).await;
    assert_eq!(get(edge.address, "shop.localhost", "/").await.status, 502);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let serve = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        write_answer(&mut stream, "back").await;
    });
    // It is still passed over where there is a choice, but there is none.
    assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "back");
    serve.await.unwrap();
}

#[tokio::test]
async fn a_dead_kept_connection_costs_a_retry_and_no_request() {
    let (closing, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let requests = Arc::new(AtomicUsize::new(0));
    let script = {
        let (closing, closed, requests) = (closing.clone(), closed.clone(), requests.clone());
        move |number: usize, mut stream: tokio::net::TcpStream| {
            let (closing, closed) = (closing.clone(), closed.clone());
            let requests = requests.clone();
            async move {
                read_head(&mut stream).await;
                requests.fetch_add(1, SeqCst);
                write_answer(&mut stream, &format!("connection {number}")).await;
                if number == 0 {
                    // The next request is read and then dropped with the connection, as by a
                    // server that stops at that moment.
                    read_head(&mut stream).await;
                    closing.notified().await;
                    drop(stream);
                    closed.notify_one();
                } else {
                    std::future::pending::<()>().await;
                }
            }
        }
    };
    let (address, _pod) = scripted(script).await;
    let edge = Edge::shop(&[(1, address)]).await;
    // One client connection is one worker, so that the second request meets the kept connection.
    let mut wire = Wire::connect(edge.address).await;
    wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    assert_eq!(wire.reply().await.unwrap().body, "connection 0");
    wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    closing.notify_one();
    closed.notified().await;
    assert_eq!(wire.reply().await.unwrap().body, "connection 1");
    assert_eq!(requests.load(SeqCst), 2);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    for request in [
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 4\r\n\r\ndata",
        // On a new connection: whoever closes that does not want the request.
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
    ] {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let (address, _pod) = scripted(move |_, mut stream| {
            count.fetch_add(1, SeqCst);
            async move {
                read_head(&mut stream).await;
            }
        })
        .await;
        let edge = Edge::shop(&[(1, address)]).await;
        let reply = ask(edge.address, request).await.unwrap();
        assert_eq!(
            (reply.status, reply.header("x-fairway-error")),
            (502, "reset"),
            "{request}"
        );
        assert_eq!(connections.load(SeqCst), 1, "{request}");
        edge.controller
            .line(&["code=reset", "dyno=web.1", "status=502"])
            .await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_bad_response() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 999999 X\r\n\r\n",
        // A switch that nobody asked for.
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let (address, _pod) = scripted(move |_, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let edge = Edge::shop(&[(1, address)]).await;
        let reply = get(edge.address, "shop.localhost", "/").await;
        assert_eq!(
            (reply.status, reply.header("x-fairway-error")),
            (502, "bad-response"),
            "{answer}"
        );
    }
}
