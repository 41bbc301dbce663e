//! A registry with one image: a static busybox and its links.

use std::{fs, net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::Engine as _;
use fairway_api::{
    images::{ImageRef, RegistryAccess},
    secret::Secret,
};
use sha2::{Digest as _, Sha256};
use tokio_util::task::AbortOnDropHandle;

const USER: &str = "node";
const PASSWORD: &str = "correct horse";
const REPOSITORY: &str = "apps/shop";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const APPLETS: [&str; 22] = [
    "cat", "echo", "grep", "head", "hostname", "httpd", "id", "kill", "ls", "mkdir", "nc",
    "nslookup", "rm", "sed", "sh", "sleep", "stat", "stty", "tail", "tr", "ulimit", "wget",
];

struct Image {
    /// Digest and bytes: manifest, config, layer.
    blobs: [(String, Vec<u8>); 3],
}

pub(crate) struct Registry {
    pub(crate) host: String,
    /// What plans give to the agent.
    pub(crate) password: String,
    image: Arc<Image>,
    _server: AbortOnDropHandle<()>,
}

impl Registry {
    /// `unique` makes the image one of its own, so that removing it disturbs no other test.
    pub(crate) async fn start(unique: &str) -> Self {
        Self::start_at([127, 0, 0, 1].into(), unique).await
    }

    pub(crate) async fn start_at(address: Ipv4Addr, unique: &str) -> Self {
        Self::serve(address, Image::make(unique, "")).await
    }

    /// With an image that has another user; it knows one called `app`.
    pub(crate) async fn start_as(unique: &str, user: &str) -> Self {
        Self::serve([127, 0, 0, 1].into(), Image::make(unique, user)).await
    }

    async fn serve(address: Ipv4Addr, image: Image) -> Self {
        let image = Arc::new(image);
        let router = Router::new()
            .route("/v2/", get(hello))
            .route("/v2/apps/shop/{kind}/{digest}", get(blob))
            .with_state(image.clone());
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            host,
            password: PASSWORD.into(),
            image,
            _server: AbortOnDropHandle::new(server),
        }
    }

    pub(crate) fn image(&self) -> ImageRef {
        ImageRef {
            registry: self.host.clone(),
            repository: REPOSITORY.into(),
            digest: self.image.blobs[0].0.parse().unwrap(),
        }
    }

    pub(crate) fn access(&self) -> RegistryAccess {
        RegistryAccess {
            host: self.host.clone(),
            username: USER.into(),
            password: Secret::new(&*self.password),
            plain_http: true,
        }
    }
}

impl Image {
    fn make(unique: &str, user: &str) -> Self {
        let layer = layer();
        let layer_digest = digest(&layer);
        let config = serde_json::to_vec(&serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Env": ["PATH=/bin"], "Labels": { "test": unique }, "User": user },
            "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
            "history": [{ "created": "2026-01-01T00:00:00Z" }],
        }))
        .unwrap();
        let config_digest = digest(&config);
        let manifest = serde_json::to_vec(&serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(), "digest": config_digest,
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                "size": layer.len(), "digest": layer_digest,
            }],
        }))
        .unwrap();
        let blobs = [
            (digest(&manifest), manifest),
            (config_digest, config),
            (layer_digest, layer),
        ];
        Self { blobs }
    }
}

fn layer() -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| fs::read(path).ok());
    let busybox = busybox.expect("these tests need busybox: apt-get install busybox-static");
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        if kind == tar::EntryType::Symlink {
            header.set_link_name("busybox").unwrap();
        }
        header.set_size(data.len() as u64);
        tar.append_data(&mut header, path, data).unwrap();
    };
    for directory in ["bin/", "etc/", "tmp/", "www/"] {
        add(directory, tar::EntryType::Directory, b"");
    }
    add("bin/busybox", tar::EntryType::Regular, &busybox);
    let users = b"root:x:0:0::/:/bin/sh\napp:x:1234:1235::/:/bin/sh\n";
    add("etc/passwd", tar::EntryType::Regular, users);
    add("www/index.html", tar::EntryType::Regular, b"hello\n");
    for applet in APPLETS {
        add(&format!("bin/{applet}"), tar::EntryType::Symlink, b"");
    }
    tar.into_inner().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn refuse(headers: &HeaderMap) -> Option<Response> {
    let wanted = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if given == Some(&format!("Basic {wanted}")) {
        return None;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"test\"")];
    Some((StatusCode::UNAUTHORIZED, challenge).into_response())
}

async fn hello(headers: HeaderMap) -> Response {
    refuse(&headers).unwrap_or_else(|| StatusCode::OK.into_response())
}

async fn blob(
    State(image): State<Arc<Image>>,
    Path((kind, wanted)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refuse(&headers) {
        return refused;
    }
    let Some((digest, bytes)) = image.blobs.iter().find(|(digest, _)| *digest == wanted) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mime = if kind == "manifests" {
        MANIFEST
    } else {
        "application/octet-stream"
    };
    let headers = [
        ("content-type", mime),
        ("docker-content-digest", digest.as_str()),
    ];
    (headers, bytes.clone()).into_response()
}
