//! A registry without a listener, and small images to put into it.

use std::path::{Path, PathBuf};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use bytes::Bytes;
use fairway_registry::Config;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry in a directory of its own.
pub(crate) struct Fixture {
    dir: TempDir,
    pub(crate) router: Router,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The code of the first error; empty if there is none.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body in JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a header in ASCII"))
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut config = config(dir.path());
        change(&mut config);
        let router = fairway_registry::router(&config).expect("open a registry");
        Self { dir, router }
    }

    /// A router that somebody else opened over a directory.
    pub(crate) fn of(dir: TempDir, router: Router) -> Self {
        Self { dir, router }
    }

    /// The same directory in a new process, as it were.
    pub(crate) fn reopened(self) -> Self {
        let Self { dir, router } = self;
        drop(router);
        let router = fairway_registry::router(&config(dir.path())).expect("open it again");
        Self { dir, router }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Answer {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.send_with(method, path, &[], body).await
    }

    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(body.into()).expect("a request"))
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Body::empty()).await
    }

    /// Starts an upload and gives its address.
    pub(crate) async fn start(&self, name: &str) -> String {
        let answer = self
            .send(
                Method::POST,
                &format!("/v2/{name}/blobs/uploads/"),
                Body::empty(),
            )
            .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.header("location").to_owned()
    }

    /// Pushes a blob in one request and gives its digest.
    pub(crate) async fn blob(&self, name: &str, content: &[u8]) -> String {
        let digest = digest(content);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = self.send(Method::POST, &path, content.to_vec()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        digest
    }

    /// Pushes a manifest as it is.
    pub(crate) async fn put_manifest(&self, name: &str, reference: &str, value: &Value) -> Answer {
        let media_type = value["mediaType"].as_str().unwrap_or(MANIFEST).to_owned();
        let path = format!("/v2/{name}/manifests/{reference}");
        let headers = [(header::CONTENT_TYPE.as_str(), media_type.as_str())];
        self.send_with(Method::PUT, &path, &headers, value.to_string())
            .await
    }

    /// Pushes an image with one layer and gives the digest of its manifest.
    pub(crate) async fn image(&self, name: &str, reference: &str, layer: &[u8]) -> String {
        let manifest = self.manifest(name, layer).await;
        let answer = self.put_manifest(name, reference, &manifest).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.header("docker-content-digest").to_owned()
    }

    /// Pushes the blobs of an image with one layer and gives the manifest.
    pub(crate) async fn manifest(&self, name: &str, layer: &[u8]) -> Value {
        let config = json!({"architecture": "amd64", "os": "linux"}).to_string();
        self.blob(name, config.as_bytes()).await;
        self.blob(name, layer).await;
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": link("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            "layers": [link("application/vnd.oci.image.layer.v1.tar", layer)],
        })
    }

    /// Files below a directory of the store, with their sizes, sorted.
    pub(crate) fn files(&self, dir: &str) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        let mut open = vec![self.path().join(dir)];
        while let Some(dir) = open.pop() {
            // What goes while we look, to a collector that works beside us, is not there.
            let Ok(entries) = std::fs::read_dir(dir) else {
                continue;
            };
            for entry in entries.filter_map(Result::ok) {
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                if metadata.is_dir() {
                    open.push(entry.path());
                } else {
                    files.push((entry.path(), metadata.len()));
                }
            }
        }
        files.sort();
        files
    }
}

/// Settings for a test: any free port, and no reserve, so that a nearly full disk is no failure.
pub(crate) fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir, ([127, 0, 0, 1], 0).into());
    config.disk_reserve_bytes = 0;
    config
}

pub(crate) fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

pub(crate) fn link(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

/// Bytes that differ from place to place, so that a shifted or repeated part is noticed.
pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    (0u64..)
        .flat_map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
        .take(bytes)
        .collect()
}
