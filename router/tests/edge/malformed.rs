//! Requests that break the rules, and requests that two parsers could read in two ways.

use crate::{
    edge::Edge,
    pods::Pod,
    wire::{Wire, get},
};

/// What must be refused, with the status, and never reach a pod.
const CASES: &[(&str, &str, u16)] = &[
    ("no host", "GET / HTTP/1.1\r\n\r\n", 400),
    (
        "two hosts",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nHost: shop.localhost\r\n\r\n",
        400,
    ),
    (
        "two different hosts",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nHost: evil\r\n\r\n",
        400,
    ),
    (
        "a list of hosts",
        "GET / HTTP/1.1\r\nHost: shop.localhost, evil\r\n\r\n",
        400,
    ),
    (
        "a host with a path",
        "GET / HTTP/1.1\r\nHost: shop.localhost/x\r\n\r\n",
        400,
    ),
    (
        "a host with a user",
        "GET / HTTP/1.1\r\nHost: evil@shop.localhost\r\n\r\n",
        400,
    ),
    (
        "a host with a blank",
        "GET / HTTP/1.1\r\nHost: shop.localhost evil\r\n\r\n",
        400,
    ),
    (
        "an odd port",
        "GET / HTTP/1.1\r\nHost: shop.localhost:80x\r\n\r\n",
        400,
    ),
    (
        "another host in the line",
        "GET http://evil/ HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
        400,
    ),
    (
        "connect",
        "CONNECT shop.localhost:80 HTTP/1.1\r\nHost: shop.localhost:80\r\n\r\n",
        400,
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        400,
    ),
    (
        "a list of lengths",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 3, 4\r\n\r\nabcd",
        400,
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: +3\r\n\r\nabc",
        400,
    ),
    (
        "a length that is none",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: x\r\n\r\n",
        400,
    ),
    (
        "an unknown coding",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        400,
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        400,
    ),
    (
        "a coding in disguise",
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
        400,
    ),
    (
        "a coding in version 1.0",
        "POST / HTTP/1.0\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "a blank before the colon",
        "GET / HTTP/1.1\r\nHost : shop.localhost\r\n\r\n",
        400,
    ),
    (
        "a folded line",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX-A: b\r\n c\r\n\r\n",
        400,
    ),
    (
        "a name with a blank",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX A: b\r\n\r\n",
        400,
    ),
    (
        "a line without a colon",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nnonsense\r\n\r\n",
        400,
    ),
    (
        "a zero byte",
        "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX-A: b\0c\r\n\r\n",
        400,
    ),
    ("no version", "GET /\r\n\r\n", 400),
    (
        "a version of the future",
        "GET / HTTP/3.0\r\nHost: shop.localhost\r\n\r\n",
        400,
    ),
    ("not HTTP", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
];

/// The same for what is only too much.
fn too_much() -> Vec<(&'static str, String, u16)> {
    let with = |fields: &str| format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\n{fields}\r\n");
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let (long, path) = ("y".repeat(100_000), "a".repeat(70_000));
    vec![
        ("too many headers", with(&many), 431),
        ("a header too long", with(&format!("X-A: {long}\r\n")), 431),
        (
            "an address too long",
            format!("GET /{path} HTTP/1.1\r\nHost: shop.localhost\r\n\r\n"),
            431,
        ),
    ]
}

#[tokio::test]
async fn what_is_not_valid_is_refused_and_reaches_no_pod() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let cases = CASES
        .iter()
        .map(|(what, request, status)| (*what, (*request).to_owned(), *status));
    for (what, request, status) in cases.chain(too_much()) {
        let mut wire = Wire::connect(edge.address).await;
        wire.send(&request).await;
        let reply = wire
            .head()
            .await
            .unwrap_or_else(|| panic!("no answer to {what}"));
        assert_eq!(reply.status, status, "{what}: {reply:?}");
    }
    assert_eq!(pod.seen(), 0, "a pod was asked");
    assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "pod");
}

#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    // To a parser that believes the length, the rest is a second request.
    let rest = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";
    let request = format!(
        "POST /head HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: {}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{rest}",
        rest.len()
    );
    let mut wire = Wire::connect(edge.address).await;
    wire.send(request).await;
    let all = wire.rest().await;
    // Either answer is right: refused, or forwarded with the chunks only.
    assert!(
        all.starts_with("HTTP/1.1 400") || !all.contains("content-length: 5"),
        "{all}"
    );
    assert!(!all.contains("/smuggled"), "{all}");
    assert!(pod.seen() <= 1);
}

#[tokio::test]
async fn a_body_that_breaks_the_rules_is_not_passed_as_whole() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send(
        "POST /sink HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
         4\r\ndata\r\nnonsense\r\n",
    )
    .await;
    let reply = wire.reply().await.unwrap();
    assert_eq!(
        (reply.status, reply.header("x-fairway-error")),
        (400, "bad-request")
    );
    edge.controller
        .line(&["code=bad-request", "path=\"/sink\"", "status=400"])
        .await;
}

#[tokio::test]
async fn a_slow_preface_is_no_reason_to_fail() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    // "P" may become POST or the preface of HTTP/2.
    for byte in "POST /echo HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 1\r\n\r\nx".bytes()
    {
        wire.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(wire.reply().await.unwrap().body, "x");
}
