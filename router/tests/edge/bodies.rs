//! Bodies pass as streams in both directions, as fast as the slower side.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    edge::Edge,
    pods::{LARGE_BYTES, MADE_BYTES, Pod, read_head, scripted},
    wire::{Wire, curl},
};

/// More than all the buffers on the way together (sockets grow to some megabytes by themselves).
const BUFFERED_BYTES_MAX: usize = 24 * 1024 * 1024;

#[tokio::test]
async fn a_large_upload_and_download_arrive_whole() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(file.path(), &content).unwrap();
    let upload = format!("@{}", file.path().display());
    let back = tempfile::NamedTempFile::new().unwrap();
    let out = back.path().to_str().unwrap();
    for http in ["--http1.1", "--http2-prior-knowledge"] {
        curl(
            edge.port(),
            "/echo",
            &[http, "--data-binary", &upload, "-o", out],
        )
        .await;
        assert!(std::fs::read(back.path()).unwrap() == content, "{http}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_pod_back() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send("GET /large HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.unwrap().status, 200);
    // The pod goes on until every buffer is full, and then no further.
    let mut before = usize::MAX;
    while before != MADE_BYTES.load(SeqCst) {
        before = MADE_BYTES.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(
        before < BUFFERED_BYTES_MAX,
        "{before} bytes were made for a client that reads none"
    );
    // Reading lets it go on to the end.
    let rest = wire.rest().await;
    assert!(rest.len() > LARGE_BYTES, "{}", rest.len());
    edge.controller
        .line(&[
            "at=info",
            "path=\"/large\"",
            &format!("bytes={LARGE_BYTES}"),
        ])
        .await;
}

#[tokio::test]
async fn a_pod_that_does_not_read_holds_the_client_back() {
    let (address, _pod) = scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let edge = Edge::shop(&[(1, address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: {}\r\n\r\n",
        10 * BUFFERED_BYTES_MAX
    );
    wire.send(head).await;
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    let stream = wire.stream.get_mut();
    while timeout(Duration::from_millis(500), stream.write_all(&piece))
        .await
        .is_ok()
    {
        sent += piece.len();
        assert!(
            sent < BUFFERED_BYTES_MAX,
            "{sent} bytes were taken for a pod that reads none"
        );
    }
}

#[tokio::test]
async fn events_arrive_when_they_happen_and_the_pod_learns_of_the_leaving() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send("GET /events HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    assert_eq!(
        wire.head().await.unwrap().header("content-type"),
        "text/event-stream"
    );
    let mut lines = Vec::new();
    while !lines.iter().any(|line| line == "data: two") {
        lines.push(wire.line().await.unwrap());
    }
    drop(wire);
    edge.controller
        .line(&[
            "code=client-gone",
            "path=\"/events\"",
            "status=200",
            "bytes=22",
        ])
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_pod() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send("GET /held HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    pod.busy_with(1).await;
    drop(wire);
    pod.busy_with(0).await;
    edge.controller
        .line(&["code=client-gone", "path=\"/held\"", "status=499"])
        .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (address, _pod) = scripted(move |_, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let edge = Edge::shop(&[(1, address)]).await;
        let mut wire = Wire::connect(edge.address).await;
        wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        assert_eq!(wire.head().await.unwrap().status, 200);
        let rest = wire.rest().await;
        assert!(
            rest.contains("half") && !rest.ends_with("0\r\n\r\n"),
            "{rest:?}"
        );
        edge.controller
            .line(&["code=reset", "status=200", "bytes=4"])
            .await;
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_upload_has_ended() {
    let (address, _pod) = scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch";
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Read on, so that the answer is not lost to a reset.
        drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
    })
    .await;
    let edge = Edge::shop(&[(1, address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send("POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 1000000\r\n\r\nsome")
        .await;
    let reply = wire.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (413, "much"));
}

#[tokio::test]
async fn both_directions_stream_at_once() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send("POST /echo HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    wire.send("5\r\nfirst\r\n").await;
    assert_eq!(wire.head().await.unwrap().status, 200);
    let mut chunk = [0; 10];
    wire.stream.read_exact(&mut chunk).await.unwrap();
    assert_eq!(&chunk, b"5\r\nfirst\r\n");
    wire.send("6\r\nsecond\r\n0\r\n\r\n").await;
    let mut rest = [0; 16];
    wire.stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"6\r\nsecond\r\n0\r\n\r\n");
}
