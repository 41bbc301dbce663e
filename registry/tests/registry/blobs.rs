use axum::{
    body::Body,
    http::{Method, StatusCode},
};

use crate::fixtures::{Fixture, digest, pattern};

#[tokio::test]
async fn a_blob_comes_back_as_it_went() {
    let registry = Fixture::new();
    for bytes in [0, 1, 256 * 1024, 256 * 1024 + 1, 3_000_000] {
        let content = pattern(bytes);
        let digest = registry.blob("apps/shop", &content).await;
        let path = format!("/v2/apps/shop/blobs/{digest}");

        let got = registry.get(&path).await;
        assert_eq!(got.status, StatusCode::OK);
        assert!(got.body == content, "{bytes} bytes differ");
        assert_eq!(got.header("docker-content-digest"), digest);
        assert_eq!(got.header("content-length"), bytes.to_string());
        assert_eq!(
            got.header("docker-distribution-api-version"),
            "registry/2.0"
        );

        let head = registry.send(Method::HEAD, &path, Body::empty()).await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.header("content-length"), bytes.to_string());
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn ranges_of_a_blob() {
    let registry = Fixture::new();
    let content = pattern(700_000);
    let path = format!("/v2/a/blobs/{}", registry.blob("a", &content).await);
    for (range, bytes) in [
        ("bytes=0-0", 0..1),
        ("bytes=0-699999", 0..700_000),
        ("bytes=100-299999", 100..300_000),
        ("bytes=262144-", 262_144..700_000),
        ("bytes=-5", 699_995..700_000),
        ("bytes=699999-800000", 699_999..700_000),
    ] {
        let part = registry
            .send_with(Method::GET, &path, &[("range", range)], Body::empty())
            .await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert!(part.body == content[bytes.clone()], "{range}");
        assert_eq!(part.header("content-length"), bytes.len().to_string());
        let expected = format!("bytes {}-{}/700000", bytes.start, bytes.end - 1);
        assert_eq!(part.header("content-range"), expected);
    }
    for range in ["bytes=5-3", "bytes=0-1,5-6", "pages=1-2"] {
        let whole = registry
            .send_with(Method::GET, &path, &[("range", range)], Body::empty())
            .await;
        assert_eq!(whole.status, StatusCode::OK, "{range}");
        assert_eq!(whole.body.len(), content.len());
    }
    let beyond = [("range", "bytes=700000-")];
    let beyond = registry
        .send_with(Method::GET, &path, &beyond, Body::empty())
        .await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), "bytes */700000");

    // A client that holds a part of something else gets all of this.
    let other = [("range", "bytes=5-"), ("if-range", "\"sha256:other\"")];
    let other = registry
        .send_with(Method::GET, &path, &other, Body::empty())
        .await;
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn a_repository_shows_only_what_it_was_given() {
    let registry = Fixture::new();
    let digest = registry.blob("mine", b"secret").await;
    assert_eq!(
        registry
            .get(&format!("/v2/mine/blobs/{digest}"))
            .await
            .status,
        StatusCode::OK
    );
    for other in ["other", "mine/too", "min"] {
        let answer = registry.get(&format!("/v2/{other}/blobs/{digest}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::NOT_FOUND, "BLOB_UNKNOWN")
        );
    }
}

#[tokio::test]
async fn mounting() {
    let registry = Fixture::new();
    let known = registry.blob("from/here", b"layer").await;
    let unknown = digest(b"never pushed");
    for (target, query, mounted) in [
        ("a", format!("mount={known}&from=from/here"), true),
        ("b", format!("mount={known}&from=from%2Fhere"), true),
        ("c", format!("mount={known}"), true),
        ("d", format!("mount={known}&from=elsewhere"), false),
        ("e", format!("mount={unknown}&from=from/here"), false),
        ("f", format!("mount={unknown}"), false),
    ] {
        let path = format!("/v2/{target}/blobs/uploads/?{query}");
        let answer = registry.send(Method::POST, &path, Body::empty()).await;
        let blob = registry.get(&format!("/v2/{target}/blobs/{known}")).await;
        if mounted {
            assert_eq!(answer.status, StatusCode::CREATED, "{query}");
            assert_eq!(
                answer.header("location"),
                format!("/v2/{target}/blobs/{known}")
            );
            assert_eq!(blob.body, "layer");
        } else {
            // An upload was started instead, as the specification says.
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{query}");
            assert!(answer.header("location").contains("/blobs/uploads/"));
            assert_eq!(blob.status, StatusCode::NOT_FOUND);
        }
    }
    assert_eq!(
        registry.files("blobs").len(),
        1,
        "the content is there once"
    );
}

#[tokio::test]
async fn deleting_concerns_one_repository() {
    let registry = Fixture::new();
    let digest = registry.blob("a", b"layer").await;
    registry.blob("b", b"layer").await;
    let path = format!("/v2/a/blobs/{digest}");
    let deleted = registry.send(Method::DELETE, &path, Body::empty()).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    assert_eq!(registry.get(&path).await.code(), "BLOB_UNKNOWN");
    assert_eq!(
        registry.get(&format!("/v2/b/blobs/{digest}")).await.body,
        "layer"
    );
    let again = registry.send(Method::DELETE, &path, Body::empty()).await;
    assert_eq!(
        (again.status, again.code().as_str()),
        (StatusCode::NOT_FOUND, "BLOB_UNKNOWN")
    );
    registry.blob("a", b"layer").await;
    assert_eq!(
        registry.get(&path).await.body,
        "layer",
        "it can be pushed again"
    );
}
