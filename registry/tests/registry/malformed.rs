use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use fairway_registry::Credentials;

use crate::fixtures::{Fixture, digest};

/// Method, path with `DIGEST` for one that is unknown, status, code.
const MALFORMED: &[(&str, &str, u16, &str)] = &[
    ("GET", "/", 404, "NOT_FOUND"),
    ("GET", "/v1/search", 404, "NOT_FOUND"),
    ("GET", "/v2/a", 404, "NOT_FOUND"),
    ("POST", "/v2/", 405, "UNSUPPORTED"),
    ("PUT", "/v2/_catalog", 405, "UNSUPPORTED"),
    ("POST", "/v2/a/manifests/v1", 405, "UNSUPPORTED"),
    ("PATCH", "/v2/a/tags/list", 405, "UNSUPPORTED"),
    ("GET", "/v2/a/blobs/uploads/", 405, "UNSUPPORTED"),
    ("GET", "/v2/A/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a//b/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/../../etc/manifests/passwd", 400, "NAME_INVALID"),
    ("GET", "/v2/a/%2e%2e/b/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a/manifests/..%2f..%2fv1", 400, "TAG_INVALID"),
    ("GET", "/v2/a/manifests/sha256:zz", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/blobs/sha256:", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/blobs/..", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/referrers/x", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/blobs/uploads/x", 404, "BLOB_UPLOAD_UNKNOWN"),
    (
        "PUT",
        "/v2/a/blobs/uploads/67e55044-10b1-426f-9247-bb680e5fe0c8",
        400,
        "DIGEST_INVALID",
    ),
    (
        "POST",
        "/v2/a/blobs/uploads/?digest=x",
        400,
        "DIGEST_INVALID",
    ),
    (
        "POST",
        "/v2/a/blobs/uploads/?mount=x",
        400,
        "DIGEST_INVALID",
    ),
    (
        "POST",
        "/v2/a/blobs/uploads/?mount=DIGEST&from=../b",
        400,
        "NAME_INVALID",
    ),
    (
        "POST",
        "/v2/a/blobs/uploads/?digest=DIGEST&digest=DIGEST",
        400,
        "QUERY_INVALID",
    ),
    ("GET", "/v2/a/blobs/DIGEST", 404, "BLOB_UNKNOWN"),
    ("DELETE", "/v2/a/blobs/DIGEST", 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/a/manifests/v2", 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/a/manifests/DIGEST", 404, "MANIFEST_UNKNOWN"),
    ("DELETE", "/v2/a/manifests/DIGEST", 404, "MANIFEST_UNKNOWN"),
    (
        "DELETE",
        "/v2/unknown/manifests/v1",
        404,
        "MANIFEST_UNKNOWN",
    ),
];

#[tokio::test]
async fn malformed_requests() {
    let registry = Fixture::new();
    registry.image("a", "v1", b"layer").await;
    for (method, path, status, code) in MALFORMED {
        let (status, path) = (*status, path.replace("DIGEST", &digest(b"x")));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = registry.send(method.clone(), &path, Body::empty()).await;
        let got = (answer.status.as_u16(), answer.code());
        assert_eq!(got, (status, (*code).to_owned()), "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(
            answer.status == StatusCode::METHOD_NOT_ALLOWED,
            !answer.header("allow").is_empty()
        );
        let message = answer.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.len() > 20, "{message:?} says what to do");
    }
    assert_eq!(registry.files("uploads").len(), 0);
}

#[tokio::test]
async fn only_the_right_credentials_pass() {
    let registry = Fixture::with(|config| {
        config.access = Some(Credentials {
            username: "me".into(),
            password: "secret".into(),
        });
    });
    let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
    for (given, status) in [
        (None, 401),
        (Some(basic("me:wrong")), 401),
        (Some(basic("you:secret")), 401),
        (Some("Bearer secret".to_owned()), 401),
        (Some(basic("me:secret")), 200),
    ] {
        let headers: Vec<_> = given
            .iter()
            .map(|value| (header::AUTHORIZATION.as_str(), value.as_str()))
            .collect();
        let answer = registry
            .send_with(Method::GET, "/v2/", &headers, Body::empty())
            .await;
        assert_eq!(answer.status.as_u16(), status, "{given:?}");
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0"
        );
        if status == 401 {
            assert_eq!(answer.code(), "UNAUTHORIZED");
            assert!(
                answer
                    .header("www-authenticate")
                    .starts_with("Basic realm=\"")
            );
        }
    }
    // Nothing is told before, not even which paths there are.
    for path in ["/", "/v2/a/tags/list", "/v2/_catalog", "/v2/../x"] {
        assert_eq!(registry.get(path).await.code(), "UNAUTHORIZED", "{path}");
    }
    let upload = registry
        .send(Method::POST, "/v2/a/blobs/uploads/", "x")
        .await;
    assert_eq!(upload.code(), "UNAUTHORIZED");
    assert!(registry.files("uploads").is_empty());
}
