//! Requests that break the rules, and requests that two parsers could read in two ways.

use crate::{
    edge::Edge,
    pods::Pod,
    wire::{Wire, get},
};

/// What must be refused, with the status, and never reach a pod.
fn cases() -> Vec<(&'static str, String, u16)> {
    let post =
        |fields: &str| format!("POST /echo HTTP/1.1\r\nHost: shop.localhost\r\n{fields}\r\n");
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    vec![
        ("no host", get(""), 400),
        (
            "two hosts",
            get("Host: shop.localhost\r\nHost: shop.localhost\r\n"),
            400,
        ),
        (
            "two different hosts",
            get("Host: shop.localhost\r\nHost: evil\r\n"),
            400,
        ),
        (
            "a list of hosts",
            get("Host: shop.localhost, evil\r\n"),
            400,
        ),
        ("a host with a path", get("Host: shop.localhost/x\r\n"), 400),
        (
            "a host with a user",
            get("Host: evil@shop.localhost\r\n"),
            400,
        ),
        (
            "a host with a blank",
            get("Host: shop.localhost evil\r\n"),
            400,
        ),
        ("an odd port", get("Host: shop.localhost:80x\r\n"), 400),
        (
            "a line that disagrees with the host",
            "GET http://evil/ HTTP/1.1\r\nHost: shop.localhost\r\n\r\n".into(),
            400,
        ),
        (
            "connect",
            "CONNECT shop.localhost:80 HTTP/1.1\r\nHost: shop.localhost:80\r\n\r\n".into(),
            400,
        ),
        (
            "two lengths",
            post("Content-Length: 3\r\nContent-Length: 4\r\n") + "abcd",
            400,
        ),
        (
            "a list of lengths",
            post("Content-Length: 3, 4\r\n") + "abcd",
            400,
        ),
        (
            "a signed length",
            post("Content-Length: +3\r\n") + "abc",
            400,
        ),
        ("a length that is none", post("Content-Length: x\r\n"), 400),
        (
            "an unknown coding",
            post("Transfer-Encoding: gzip\r\n"),
            400,
        ),
        (
            "chunked not last",
            post("Transfer-Encoding: chunked, gzip\r\n"),
            400,
        ),
        (
            "a coding in disguise",
            post("Transfer-Encoding: xchunked\r\n"),
            400,
        ),
        (
            "a blank before the colon",
            get("Host : shop.localhost\r\n"),
            400,
        ),
        (
            "a folded line",
            get("Host: shop.localhost\r\nX-A: b\r\n c\r\n"),
            400,
        ),
        (
            "a name with a blank",
            get("Host: shop.localhost\r\nX A: b\r\n"),
            400,
        ),
        (
            "a line without a colon",
            get("Host: shop.localhost\r\nnonsense\r\n"),
            400,
        ),
        (
            "a zero byte",
            get("Host: shop.localhost\r\nX-A: b\0c\r\n"),
            400,
        ),
        ("no version", "GET /\r\n\r\n".into(), 400),
        (
            "a version of the future",
            "GET / HTTP/3.0\r\nHost: shop.localhost\r\n\r\n".into(),
            400,
        ),
        (
            "not HTTP",
            "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".into(),
            400,
        ),
        (
            "a coding in version 1.0",
            {
                "POST /echo HTTP/1.0\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\n"
                    .into()
            },
            400,
        ),
        (
            "too many headers",
            get(&format!("Host: shop.localhost\r\n{many}")),
            431,
        ),
        (
            "a header too long",
            {
                let long = "y".repeat(100_000);
                get(&format!("Host: shop.localhost\r\nX-A: {long}\r\n"))
            },
            431,
        ),
        (
            "an address too long",
            {
                format!(
                    "GET /{} HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
                    "a".repeat(70_000)
                )
            },
            431,
        ),
    ]
}

#[tokio::test]
async fn what_is_not_valid_is_refused_and_reaches_no_pod() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    for (what, request, status) in cases() {
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
    // An error or a closed connection, but no success.
    if let Some(reply) = wire.head().await {
        assert!(reply.status >= 400, "{reply:?}");
    }
    edge.controller.line(&["at=error", "path=\"/sink\""]).await;
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
