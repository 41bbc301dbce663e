use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fixtures::{Fixture, INDEX, MANIFEST, digest, link};

#[tokio::test]
async fn a_manifest_is_found_by_tag_and_digest() {
    let registry = Fixture::new();
    let manifest = registry.manifest("apps/shop", b"layer").await;
    let put = registry.put_manifest("apps/shop", "v1", &manifest).await;
    let expected = digest(manifest.to_string().as_bytes());
    assert_eq!(put.status, StatusCode::CREATED);
    assert_eq!(put.header("docker-content-digest"), expected);
    assert_eq!(
        put.header("location"),
        format!("/v2/apps/shop/manifests/{expected}")
    );
    for reference in ["v1", &expected] {
        let path = format!("/v2/apps/shop/manifests/{reference}");
        let got = registry.get(&path).await;
        assert_eq!(got.status, StatusCode::OK);
        assert_eq!(got.body, manifest.to_string());
        assert_eq!(got.header("content-type"), MANIFEST);
        assert_eq!(got.header("docker-content-digest"), expected);
        let head = registry.send(Method::HEAD, &path, Body::empty()).await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(
            head.header("content-length"),
            manifest.to_string().len().to_string()
        );
    }
    let registry = registry.reopened();
    assert_eq!(
        registry.get("/v2/apps/shop/manifests/v1").await.status,
        StatusCode::OK
    );
    let other = registry
        .get(&format!("/v2/other/manifests/{expected}"))
        .await;
    assert_eq!(
        (other.status, other.code().as_str()),
        (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")
    );
}

#[tokio::test]
async fn a_tag_moves_in_one_step() {
    let registry = Fixture::new();
    let first = registry.image("a", "latest", b"one").await;
    let second = registry.image("a", "latest", b"two").await;
    assert_ne!(first, second);
    let latest = registry.get("/v2/a/manifests/latest").await;
    assert_eq!(latest.header("docker-content-digest"), second);
    assert_eq!(
        registry
            .get(&format!("/v2/a/manifests/{first}"))
            .await
            .status,
        StatusCode::OK
    );
    assert!(registry.files("tmp").is_empty());
}

#[tokio::test]
async fn what_a_manifest_refers_to_must_be_there() {
    let registry = Fixture::new();
    let good = registry.manifest("a", b"layer").await;
    let missing = link("application/octet-stream", b"missing");
    let mut no_config = good.clone();
    no_config["config"] = missing.clone();
    let mut no_layer = good.clone();
    no_layer["layers"][0] = missing.clone();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [missing]});
    for bad in [&no_config, &no_layer, &index] {
        let answer = registry.put_manifest("a", "v1", bad).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        assert_eq!(answer.code(), "MANIFEST_BLOB_UNKNOWN");
        assert!(String::from_utf8_lossy(&answer.body).contains(&digest(b"missing")));
    }
    // What another repository has does not count.
    let answer = registry.put_manifest("b", "v1", &good).await;
    assert_eq!(answer.code(), "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(
        registry.get("/v2/a/manifests/v1").await.code(),
        "MANIFEST_UNKNOWN"
    );
    assert_eq!(
        registry.files("blobs").len(),
        2,
        "no refused manifest was stored"
    );

    let mut wrong_size = good.clone();
    wrong_size["layers"][0]["size"] = 6.into();
    assert_eq!(
        registry.put_manifest("a", "v1", &wrong_size).await.code(),
        "MANIFEST_INVALID"
    );
}

#[tokio::test]
async fn lists_of_manifests() {
    let registry = Fixture::new();
    let image = registry.manifest("a", b"layer").await;
    let pushed = registry
        .image("a", &digest(image.to_string().as_bytes()), b"layer")
        .await;
    let mut entry = link(MANIFEST, image.to_string().as_bytes());
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    assert_eq!(entry["digest"], pushed);
    let cache = link("application/vnd.oci.image.layer.v1.tar", b"layer");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry, cache]});
    assert_eq!(
        registry.put_manifest("a", "multi", &index).await.status,
        StatusCode::CREATED
    );
    let got = registry.get("/v2/a/manifests/multi").await;
    assert_eq!((got.header("content-type"), got.json()), (INDEX, index));
}

#[tokio::test]
async fn what_is_refused() {
    let registry = Fixture::new();
    let good = registry.manifest("a", b"layer").await.to_string();
    let put = |reference: &str, media_type: &'static str, body: String| {
        let path = format!("/v2/a/manifests/{reference}");
        let registry = &registry;
        async move {
            let headers = [("content-type", media_type)];
            registry.send_with(Method::PUT, &path, &headers, body).await
        }
    };
    let other = digest(b"other");
    for (reference, media_type, body, status, code) in [
        (
            other.as_str(),
            MANIFEST,
            good.clone(),
            400,
            "DIGEST_INVALID",
        ),
        ("v1", INDEX, good.clone(), 400, "MANIFEST_INVALID"),
        ("v1", "text/html", good.clone(), 400, "MANIFEST_INVALID"),
        ("v1", MANIFEST, String::new(), 400, "MANIFEST_INVALID"),
        ("v1", MANIFEST, "{}".into(), 400, "MANIFEST_INVALID"),
        (
            "v1",
            MANIFEST,
            good[..good.len() - 1].into(),
            400,
            "MANIFEST_INVALID",
        ),
        (
            "v1",
            MANIFEST,
            format!("{good}{good}"),
            400,
            "MANIFEST_INVALID",
        ),
        ("v1", MANIFEST, "[".repeat(100_000), 400, "MANIFEST_INVALID"),
        (
            "v1",
            MANIFEST,
            good.clone() + &" ".repeat(4 << 20),
            413,
            "SIZE_INVALID",
        ),
    ] {
        let answer = put(reference, media_type, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{answer:?}"
        );
    }
    let largest = good.clone() + &" ".repeat((4 << 20) - good.len());
    assert_eq!(
        put("large", MANIFEST, largest).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        registry.get("/v2/a/tags/list").await.json()["tags"],
        json!(["large"])
    );
}

#[tokio::test]
async fn deleting_a_tag_keeps_the_manifest_and_not_the_reverse() {
    let registry = Fixture::new();
    let digest = registry.image("a", "v1", b"one").await;
    registry.image("a", "also-v1", b"one").await;
    registry.image("a", "v2", b"two").await;

    let path = "/v2/a/manifests/v1";
    assert_eq!(
        registry.send(Method::DELETE, path, "").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(registry.get(path).await.code(), "MANIFEST_UNKNOWN");
    assert_eq!(
        registry.send(Method::DELETE, path, "").await.status,
        StatusCode::NOT_FOUND
    );

    let path = format!("/v2/a/manifests/{digest}");
    assert_eq!(registry.get(&path).await.status, StatusCode::OK);
    assert_eq!(
        registry.send(Method::DELETE, &path, "").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(registry.get(&path).await.code(), "MANIFEST_UNKNOWN");
    assert_eq!(
        registry.get("/v2/a/tags/list").await.json()["tags"],
        json!(["v2"])
    );
    assert_eq!(
        registry.send(Method::DELETE, &path, "").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_never_points_to_nothing() {
    let registry = Arc::new(Fixture::new());
    let manifest = registry.manifest("a", b"layer").await;
    let path = format!(
        "/v2/a/manifests/{}",
        digest(manifest.to_string().as_bytes())
    );
    for _ in 0..40 {
        let pushed = CancellationToken::new();
        let mut removing = JoinSet::new();
        for _ in 0..3 {
            let (registry, path, pushed) = (Arc::clone(&registry), path.clone(), pushed.clone());
            removing.spawn(async move {
                while !pushed.is_cancelled() {
                    registry.send(Method::DELETE, &path, "").await;
                }
            });
        }
        let put = registry.put_manifest("a", "v1", &manifest).await;
        pushed.cancel();
        removing.join_all().await;
        assert_eq!(put.status, StatusCode::CREATED);
        let tagged = registry.get("/v2/a/manifests/v1").await.status;
        let tags = registry.get("/v2/a/tags/list").await;
        let listed = tags.status == StatusCode::OK && tags.json()["tags"] == json!(["v1"]);
        assert_eq!(listed, tagged == StatusCode::OK);
    }
}

#[tokio::test]
async fn referrers() {
    let registry = Fixture::new();
    let image = registry.manifest("a", b"layer").await;
    let subject = link(MANIFEST, image.to_string().as_bytes());
    let subject_digest = subject["digest"].as_str().unwrap().to_owned();
    let path = format!("/v2/a/referrers/{subject_digest}");
    let empty = registry.get(&path).await;
    assert_eq!(
        (empty.status, empty.header("content-type")),
        (StatusCode::OK, INDEX)
    );
    assert_eq!(empty.json()["manifests"], json!([]));

    // A referrer may come before its subject.
    let mut referrers = Vec::new();
    for kind in ["application/x-sbom", "application/x-signature"] {
        let mut referrer = registry.manifest("a", kind.as_bytes()).await;
        referrer["subject"] = subject.clone();
        referrer["artifactType"] = kind.into();
        let digest = digest(referrer.to_string().as_bytes());
        let put = registry.put_manifest("a", &digest, &referrer).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
        assert_eq!(put.header("oci-subject"), subject_digest);
        referrers.push(digest);
    }
    registry.put_manifest("a", "v1", &image).await;
    assert_eq!(
        registry.get(&path).await.json()["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let filtered = registry
        .get(&format!("{path}?artifactType=application/x-sbom"))
        .await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    let entries = filtered.json()["manifests"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["digest"], referrers[0]);
    assert_eq!(entries[0]["artifactType"], "application/x-sbom");

    registry
        .send(
            Method::DELETE,
            &format!("/v2/a/manifests/{}", referrers[0]),
            "",
        )
        .await;
    let left = registry.get(&path).await.json();
    assert_eq!(left["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(left["manifests"][0]["digest"], referrers[1]);
}
