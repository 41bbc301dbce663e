use std::convert::Infallible;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;

use crate::fixtures::{Answer, Fixture, digest, pattern};

/// A body in pieces and without an announced length.
fn chunked(content: &[u8], piece: usize) -> Body {
    let pieces: Vec<Bytes> = content.chunks(piece).map(Bytes::copy_from_slice).collect();
    Body::from_stream(stream::iter(pieces).map(Ok::<_, Infallible>))
}

/// A body that breaks off after its content.
fn broken(content: &[u8]) -> Body {
    let pieces = [
        Ok(Bytes::copy_from_slice(content)),
        Err(std::io::Error::other("gone")),
    ];
    Body::from_stream(stream::iter(pieces))
}

async fn end(registry: &Fixture, upload: &str, content: &[u8], rest: Body) -> Answer {
    let path = format!("{upload}?digest={}", digest(content));
    registry.send(Method::PUT, &path, rest).await
}

async fn assert_blob(registry: &Fixture, name: &str, content: &[u8]) {
    let blob = registry
        .get(&format!("/v2/{name}/blobs/{}", digest(content)))
        .await;
    assert_eq!(blob.status, StatusCode::OK);
    assert!(blob.body == content, "the content differs");
    assert!(registry.files("uploads").is_empty(), "the upload is gone");
}

#[tokio::test]
async fn the_ways_to_push() {
    let content = pattern(2_500_000);
    for way in [
        "POST",
        "POST, PUT",
        "POST, PATCH, PUT",
        "POST, PATCH in pieces, PUT with the end",
    ] {
        let registry = Fixture::new();
        let answer = match way {
            "POST" => {
                let path = format!("/v2/a/blobs/uploads/?digest={}", digest(&content));
                registry
                    .send(Method::POST, &path, chunked(&content, 70_000))
                    .await
            }
            "POST, PUT" => {
                let upload = registry.start("a").await;
                end(&registry, &upload, &content, content.clone().into()).await
            }
            "POST, PATCH, PUT" => {
                let upload = registry.start("a").await;
                let answer = registry
                    .send(Method::PATCH, &upload, chunked(&content, 32_768))
                    .await;
                assert_eq!(answer.status, StatusCode::ACCEPTED);
                assert_eq!(answer.header("range"), "0-2499999");
                end(
                    &registry,
                    answer.header("location"),
                    &content,
                    Body::empty(),
                )
                .await
            }
            _ => {
                let upload = registry.start("a").await;
                for (range, bytes) in [
                    ("0-999999", 0..1_000_000),
                    ("1000000-1999999", 1_000_000..2_000_000),
                ] {
                    let headers = [("content-range", range)];
                    let chunk = content[bytes].to_vec();
                    let answer = registry
                        .send_with(Method::PATCH, &upload, &headers, chunk)
                        .await;
                    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
                }
                let headers = [("content-range", "2000000-2499999")];
                let path = format!("{upload}?digest={}", digest(&content));
                registry
                    .send_with(Method::PUT, &path, &headers, content[2_000_000..].to_vec())
                    .await
            }
        };
        assert_eq!(answer.status, StatusCode::CREATED, "{way}: {answer:?}");
        assert_eq!(
            answer.header("location"),
            format!("/v2/a/blobs/{}", digest(&content)),
            "{way}"
        );
        assert_blob(&registry, "a", &content).await;
    }
}

#[tokio::test]
async fn chunks_out_of_order_change_nothing() {
    let registry = Fixture::new();
    let upload = registry.start("a").await;
    registry
        .send_with(Method::PATCH, &upload, &[("content-range", "0-3")], "abcd")
        .await;
    for (range, body, status, code) in [
        (
            "5-8",
            "fghi",
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
        ),
        (
            "0-3",
            "abcd",
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
        ),
        (
            "3-4",
            "de",
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
        ),
        (
            "bytes 4-7/8",
            "efgh",
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
        ),
        (
            "7-4",
            "efgh",
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
        ),
        ("4-7", "efg", StatusCode::BAD_REQUEST, "SIZE_INVALID"),
        ("4-7", "efghi", StatusCode::BAD_REQUEST, "SIZE_INVALID"),
    ] {
        for announced in [true, false] {
            let mut headers = vec![("content-range", range)];
            let length = body.len().to_string();
            if announced {
                headers.push(("content-length", &length));
            }
            let body = chunked(body.as_bytes(), 2);
            let answer = registry
                .send_with(Method::PATCH, &upload, &headers, body)
                .await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (status, code),
                "{range}"
            );
            if status == StatusCode::RANGE_NOT_SATISFIABLE {
                assert_eq!(answer.header("range"), "0-3", "where to go on");
            }
        }
    }
    let status = registry.get(&upload).await;
    assert_eq!(
        (status.status, status.header("range")),
        (StatusCode::NO_CONTENT, "0-3")
    );
    let answer = end(&registry, &upload, b"abcdefgh", "efgh".into()).await;
    assert_eq!(
        answer.status,
        StatusCode::CREATED,
        "the hash is still right: {answer:?}"
    );
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_ended_also_after_a_restart() {
    let content = pattern(1_500_000);
    let registry = Fixture::new();
    let upload = registry.start("a").await;
    let answer = registry
        .send(Method::PATCH, &upload, broken(&content[..1_200_000]))
        .await;
    assert_eq!(answer.code(), "BLOB_UPLOAD_INVALID");
    let registry = registry.reopened();
    let status = registry.get(&upload).await;
    assert_eq!(
        (status.status, status.header("range")),
        (StatusCode::NO_CONTENT, "0-1199999")
    );
    let headers = [("content-range", "1200000-1499999")];
    let rest = content[1_200_000..].to_vec();
    let answer = registry
        .send_with(Method::PATCH, &upload, &headers, rest)
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let answer = end(&registry, &upload, &content, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_blob(&registry, "a", &content).await;
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let registry = Fixture::new();
    let upload = registry.start("a").await;
    let wrong = end(&registry, &upload, b"expected", "received".into()).await;
    assert_eq!(
        (wrong.status, wrong.code().as_str()),
        (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
    );
    assert!(
        String::from_utf8_lossy(&wrong.body).contains(&digest(b"received")),
        "says what came"
    );
    assert_eq!(registry.get(&upload).await.code(), "BLOB_UPLOAD_UNKNOWN");

    let path = format!("/v2/a/blobs/uploads/?digest={}", digest(b"expected"));
    assert_eq!(
        registry.send(Method::POST, &path, "received").await.code(),
        "DIGEST_INVALID"
    );
    assert!(registry.files("uploads").is_empty() && registry.files("blobs").is_empty());
}

#[tokio::test]
async fn a_missing_or_malformed_digest_keeps_the_upload() {
    let registry = Fixture::new();
    let upload = registry.start("a").await;
    registry.send(Method::PATCH, &upload, "abc").await;
    for query in ["", "?digest=", "?digest=abc", "?digest=sha512:00"] {
        let answer = registry
            .send(Method::PUT, &format!("{upload}{query}"), "")
            .await;
        assert_eq!(answer.code(), "DIGEST_INVALID", "{query}");
    }
    assert_eq!(
        end(&registry, &upload, b"abc", Body::empty()).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn cancelling() {
    let registry = Fixture::new();
    let upload = registry.start("a").await;
    registry.send(Method::PATCH, &upload, "abc").await;
    let cancelled = registry.send(Method::DELETE, &upload, Body::empty()).await;
    assert_eq!(cancelled.status, StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let answer = registry.send(method, &upload, Body::empty()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN")
        );
    }
    assert!(registry.files("uploads").is_empty());
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let registry = Fixture::new();
    let upload = registry.start("mine").await;
    let elsewhere = upload.replace("/v2/mine/", "/v2/other/");
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let answer = registry.send(method, &elsewhere, "x").await;
        assert_eq!(answer.code(), "BLOB_UPLOAD_UNKNOWN");
    }
    assert_eq!(registry.get(&upload).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn one_request_at_a_time_writes() {
    let registry = Fixture::new();
    let upload = registry.start("a").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(1);
    let stream = stream_of(receiver);
    let (started, wait) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let stream = stream.inspect(move |_| _ = started.take().map(|s| s.send(())));
    let first = registry.send(Method::PATCH, &upload, Body::from_stream(stream));
    let second = async {
        sender.send(Ok(Bytes::from_static(b"abc"))).await.unwrap();
        wait.await.unwrap();
        let busy = registry.send(Method::PATCH, &upload, "x").await;
        assert_eq!(
            (busy.status, busy.header("retry-after")),
            (StatusCode::CONFLICT, "1")
        );
        drop(sender);
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(
        end(&registry, &upload, b"abc", Body::empty()).await.status,
        StatusCode::CREATED
    );
}

fn stream_of<T>(receiver: tokio::sync::mpsc::Receiver<T>) -> impl futures_util::Stream<Item = T> {
    stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_push_the_same_blob() {
    let registry = std::sync::Arc::new(Fixture::new());
    let content = std::sync::Arc::new(pattern(4_000_000));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let (registry, content) = (registry.clone(), content.clone());
        clients.spawn(async move {
            let name = format!("client/{}", client % 4);
            let upload = registry.start(&name).await;
            registry
                .send(Method::PATCH, &upload, chunked(&content, 100_000))
                .await;
            let answer = end(&registry, &upload, &content, Body::empty()).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every client succeeds");
    }
    assert_eq!(registry.files("blobs").len(), 1);
    for name in ["client/0", "client/1", "client/2", "client/3"] {
        assert_blob(&registry, name, &content).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_it_is_cut_the_digest_holds(
        cuts in prop::collection::vec(0usize..3_000_000, 0..5),
        restart in any::<bool>(),
    ) {
        let content = pattern(3_000_000);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut registry = Fixture::new();
            let upload = registry.start("a").await;
            let mut ends = cuts.clone();
            ends.sort_unstable();
            let mut start = 0;
            for end in ends {
                let answer = registry.send(Method::PATCH, &upload, content[start..end].to_vec()).await;
                assert_eq!(answer.status, StatusCode::ACCEPTED);
                start = end;
                if restart {
                    registry = registry.reopened();
                }
            }
            let answer = end(&registry, &upload, &content, content[start..].to_vec().into()).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
            assert_blob(&registry, "a", &content).await;
        });
    }
}
