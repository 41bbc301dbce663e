use std::{
    convert::Infallible,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use bytes::Bytes;
use fairway_registry::Registry;
use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::fixtures::{Fixture, config, digest};

const MAX: usize = 1_000;

fn unannounced(bytes: usize) -> Body {
    let pieces = vec![
        Bytes::from(vec![7; bytes / 2]),
        Bytes::from(vec![7; bytes - bytes / 2]),
    ];
    Body::from_stream(stream::iter(pieces).map(Ok::<_, Infallible>))
}

#[tokio::test]
async fn an_upload_over_the_limit_leaves_nothing() {
    let registry = Fixture::with(|config| config.upload_bytes_max = MAX as u64);
    let too_large = |answer: crate::fixtures::Answer| {
        let got = (answer.status, answer.code());
        assert_eq!(
            got,
            (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID".to_owned()),
            "{answer:?}"
        );
        assert!(registry.files("uploads").is_empty() && registry.files("blobs").is_empty());
    };
    let whole = format!("/v2/a/blobs/uploads/?digest={}", digest(&vec![7; MAX + 1]));
    too_large(registry.send(Method::POST, &whole, vec![7; MAX + 1]).await);
    too_large(
        registry
            .send(Method::POST, &whole, unannounced(MAX + 1))
            .await,
    );

    let upload = registry.start("a").await;
    too_large(
        registry
            .send(Method::PATCH, &upload, unannounced(MAX + 1))
            .await,
    );
    assert_eq!(registry.get(&upload).await.code(), "BLOB_UPLOAD_UNKNOWN");

    // Announced, and refused before a byte of it was read.
    let upload = registry.start("a").await;
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let headers = [("content-length", "10000000000")];
    too_large(
        registry
            .send_with(Method::PATCH, &upload, &headers, never)
            .await,
    );

    // The limit is for the whole blob, not for a request.
    let upload = registry.start("a").await;
    let answer = registry.send(Method::PATCH, &upload, vec![7; MAX]).await;
    assert_eq!(
        answer.status,
        StatusCode::ACCEPTED,
        "exactly the limit is fine"
    );
    let path = format!("{upload}?digest={}", digest(&vec![7; MAX + 1]));
    too_large(registry.send(Method::PUT, &path, vec![7; 1]).await);
}

#[tokio::test]
async fn the_reserve_of_the_disk_is_kept() {
    let registry = Fixture::with(|config| config.disk_reserve_bytes = u64::MAX / 2);
    let upload = registry.start("a").await;
    let answer = registry.send(Method::PATCH, &upload, "x").await;
    assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(answer.code(), "INSUFFICIENT_STORAGE");
    assert!(registry.files("uploads").is_empty());

    // What is not there yet cannot fill the disk either.
    let registry = Fixture::with(|config| config.upload_bytes_max = u64::MAX);
    let upload = registry.start("a").await;
    let headers = [("content-length", "9000000000000000000")];
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let answer = registry
        .send_with(Method::PATCH, &upload, &headers, never)
        .await;
    assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_let_go_and_may_come_back() {
    let registry = Fixture::new();
    let upload = registry.start("a").await;
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"abc"))]);
    let silent = Body::from_stream(body.chain(stream::pending()));
    let answer = registry.send(Method::PATCH, &upload, silent).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(registry.get(&upload).await.header("range"), "0-2");
}

/// A registry on a socket, and the token that stops it.
async fn listening(
    fixture: &Fixture,
    change: impl FnOnce(&mut fairway_registry::Config),
) -> (Registry, CancellationToken) {
    let mut config = config(&fixture.path().join("listening"));
    change(&mut config);
    (
        Registry::bind(config).await.expect("bind"),
        CancellationToken::new(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_gets_to_read_why() {
    let fixture = Fixture::new();
    let (registry, shutdown) =
        listening(&fixture, |config| config.upload_bytes_max = MAX as u64).await;
    let address = registry.local_addr();
    let running = tokio::spawn(registry.run(shutdown.clone()));

    // A client that sends everything before it looks.
    let body = vec![7; 20_000_000];
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        digest(&body),
        body.len()
    );
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client
        .write_all(&body)
        .await
        .expect("the connection is not reset");
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    // A client that asks first is told not to send at all.
    let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_gives_its_upload_back() {
    let fixture = Fixture::new();
    let (registry, shutdown) = listening(&fixture, |_| ()).await;
    let address = registry.local_addr();
    let over_router = Fixture::of(tempfile::TempDir::new().unwrap(), registry.router());
    let running = tokio::spawn(registry.run(shutdown.clone()));
    let upload = over_router.start("a").await;

    let mut client = TcpStream::connect(address).await.unwrap();
    let head = format!("PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    client.write_all(head.as_bytes()).await.unwrap();
    drop(client);
    // Asking does not take the upload, as writing would.
    let kept = async {
        while over_router.get(&upload).await.header("range") != "0-2" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), kept)
        .await
        .expect("what came is kept");
    let gave_it_back = async {
        loop {
            let answer = over_router.send(Method::PATCH, &upload, "").await;
            if answer.status != StatusCode::CONFLICT {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), gave_it_back).await;
    assert_eq!(
        answer.expect("it gives the upload back").header("range"),
        "0-2"
    );
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_uploads_are_swept() {
    let fixture = Fixture::new();
    let idle = Duration::from_secs(3600);
    let (registry, shutdown) = listening(&fixture, |config| config.upload_idle_max = idle).await;
    let dir = fixture.path().join("listening/uploads");
    for (name, age) in [("old", 2 * idle), ("young", idle / 2)] {
        let file = std::fs::File::create(dir.join(name)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
    // A process finds what an earlier one left when it starts.
    drop(registry);
    let (registry, _) = listening(&fixture, |config| config.upload_idle_max = idle).await;
    let running = tokio::spawn(registry.run(shutdown.clone()));
    let swept = async {
        while dir.join("old").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swept)
        .await
        .expect("it is swept");
    assert!(dir.join("young").exists());
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_process_per_directory_that_nobody_else_may_read() {
    let fixture = Fixture::new();
    let mode = std::fs::metadata(fixture.path().join("blobs"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let error = fairway_registry::router(&config(fixture.path())).expect_err("the second one");
    assert!(
        format!("{error:#}").contains("another registry works in this directory"),
        "{error:#}"
    );
}
