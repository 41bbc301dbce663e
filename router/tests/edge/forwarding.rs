//! What reaches the pod and what comes back.

use crate::{
    edge::{Edge, route, shop},
    pods::Pod,
    wire::{Wire, ask, curl, get},
};
use fairway_api::ids::AppId;

#[tokio::test]
async fn hosts_and_paths_choose_the_app() {
    let (root, api, other) = (
        Pod::start("root").await,
        Pod::start("api").await,
        Pod::start("other").await,
    );
    let edge = Edge::with(vec![
        shop(&[(1, root.address)]),
        route(
            AppId::from_u128(2),
            "shop.localhost",
            "/echo",
            &[(2, api.address)],
        ),
        route(
            AppId::from_u128(3),
            "other.example.com",
            "/",
            &[(3, other.address)],
        ),
    ])
    .await;
    for (host, body) in [
        ("shop.localhost", "root"),
        ("SHOP.localhost.", "root"),
        ("shop.localhost:8080", "root"),
        ("other.example.com", "other"),
    ] {
        assert_eq!(get(edge.address, host, "/").await.body, body, "{host}");
    }
    assert_eq!(
        get(edge.address, "shop.localhost", "/echo").await.status,
        200
    );
    assert_eq!((root.seen(), api.seen(), other.seen()), (3, 1, 1));
    assert_eq!(
        get(edge.address, "unknown.localhost", "/").await.status,
        404
    );
}

#[tokio::test]
async fn the_pod_learns_of_the_client() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let port = edge.port();
    let seen = ask(
        edge.address,
        "GET /head?a=b&c HTTP/1.1\r\nHost: Shop.localhost:80\r\nX-Forwarded-For: 9.9.9.9\r\n\
         X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
         Forwarded: for=1;host=evil\r\nX-Request-Id: abc-1\r\nVia: 1.1 cdn\r\n\
         Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\n\
         Proxy-Authorization: Basic eA==\r\nUpgrade: h2c\r\nX-Kept: yes\r\n\r\n",
    )
    .await
    .unwrap();
    let expect = format!(
        "GET /head?a=b&c\nhost: Shop.localhost:80\nte: trailers\nvia: 1.1 cdn\nvia: 1.1 fairway\n\
         x-forwarded-for: 9.9.9.9, 8.8.8.8, 127.0.0.1\nx-forwarded-host: Shop.localhost:80\n\
         x-forwarded-port: {port}\nx-forwarded-proto: http\nx-kept: yes\nx-request-id: abc-1\n[]"
    );
    assert_eq!(seen.body, expect);
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_many_pods() {
    let (one, two) = (Pod::start("one").await, Pod::start("two").await);
    let edge = Edge::shop(&[(1, one.address), (2, two.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    for _ in 0..100 {
        wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        assert_eq!(wire.reply().await.unwrap().status, 200);
    }
    assert_eq!(one.seen() + two.seen(), 100);
    assert!(
        one.seen() > 10 && two.seen() > 10,
        "{} and {}",
        one.seen(),
        two.seen()
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    let requests: String = (0..5)
        .map(|n| {
            format!("POST /echo HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 1\r\n\r\n{n}")
        })
        .collect();
    wire.send(requests).await;
    for n in 0..5 {
        assert_eq!(wire.reply().await.unwrap().body, n.to_string());
    }
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_and_a_close() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send("GET /trailers HTTP/1.0\r\nHost: shop.localhost\r\n\r\n")
        .await;
    let head = wire.head().await.unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, ""));
    assert_eq!(wire.rest().await, "body");
    // Without a host there is no app, and that is no fault in this version.
    let reply = ask(edge.address, "GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(
        (reply.status, reply.header("x-fairway-error")),
        (404, "no-route")
    );
}

#[tokio::test]
async fn head_and_not_modified_leave_the_connection_usable() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    for _ in 0..3 {
        wire.send("HEAD / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        let head = wire.head().await.unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, "3"));
        wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        assert_eq!(wire.reply().await.unwrap().body, "pod");
    }
    edge.controller
        .line(&["method=HEAD", "at=info", "status=200", "bytes=0"])
        .await;
}

#[tokio::test]
async fn hop_by_hop_headers_of_answers_stay_here() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let reply = get(edge.address, "shop.localhost", "/hops").await;
    for gone in ["connection", "x-private", "keep-alive", "upgrade"] {
        assert_eq!(reply.header(gone), "", "{gone} in {reply:?}");
    }
    assert_eq!((reply.header("x-public"), reply.body.as_str()), ("2", "ok"));
}

#[tokio::test]
async fn curl_by_http_1_and_by_http_2_prior_knowledge() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let version = ["-w", " %{http_version}"];
    assert_eq!(curl(edge.port(), "/", &version).await, "pod 1.1");
    let h2 = ["-w", " %{http_version}", "--http2-prior-knowledge"];
    assert_eq!(curl(edge.port(), "/", &h2).await, "pod 2");
    let seen = curl(
        edge.port(),
        "/head",
        &["--http2-prior-knowledge", "-H", "cookie: a=1"],
    )
    .await;
    let host = format!("host: shop.localhost:{}", edge.port());
    assert!(
        seen.contains(&host) && seen.contains("via: 2 fairway"),
        "{seen}"
    );
    // curl would like to switch to h2c; the router goes on in HTTP/1.1.
    assert_eq!(
        curl(edge.port(), "/", &["-w", " %{http_version}", "--http2"]).await,
        "pod 1.1"
    );
}

#[tokio::test]
async fn expect_100_continue_is_answered() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send(
        "POST /head HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 4\r\n\
         Expect: 100-continue\r\n\r\n",
    )
    .await;
    assert_eq!(wire.head().await.unwrap().status, 100);
    wire.send("data").await;
    let reply = wire.reply().await.unwrap();
    assert!(
        reply.body.ends_with("[data]") && !reply.body.contains("expect"),
        "{}",
        reply.body
    );
}

#[tokio::test]
async fn a_body_without_a_length_reaches_the_pod_whatever_the_method() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    for method in ["GET", "POST", "DELETE"] {
        let request = format!(
            "{method} /head HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\ndata\r\n0\r\n\r\n"
        );
        let reply = ask(edge.address, &request).await.unwrap();
        assert!(reply.body.ends_with("[data]"), "{method}: {}", reply.body);
    }
}

#[tokio::test]
async fn trailers_pass_to_those_who_take_them() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send(
        "GET /trailers HTTP/1.1\r\nHost: shop.localhost\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n",
    )
    .await;
    let all = wire.rest().await;
    assert!(all.ends_with("0\r\ngrpc-status: 0\r\n\r\n"), "{all}");
}

#[tokio::test]
async fn absolute_form_is_taken_and_becomes_a_path() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let request = "GET http://shop.localhost/head?x HTTP/1.1\r\nHost: SHOP.localhost\r\n\r\n";
    let reply = ask(edge.address, request).await.unwrap();
    assert!(reply.body.starts_with("GET /head?x\n"), "{}", reply.body);
    let request = "GET http://shop.localhost HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";
    assert_eq!(ask(edge.address, request).await.unwrap().body, "pod");
}
