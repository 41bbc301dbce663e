//! The clients that people use, on a socket and with a password.

use std::{path::Path, process::Output};

use bytes::Bytes;
use fairway_registry::{Credentials, Registry};
use futures_util::{StreamExt as _, stream};
use oci_distribution::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{process::Command, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::fixtures::{MANIFEST, config, digest, link, pattern};

const USERNAME: &str = "builder";
const PASSWORD: &str = "correct horse: battery";

/// A registry that listens, in a directory of its own.
struct Listening {
    dir: TempDir,
    host: String,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Listening {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = config(&dir.path().join("data"));
        config.access = Some(Credentials {
            username: USERNAME.into(),
            password: PASSWORD.into(),
        });
        let registry = Registry::bind(config).await.unwrap();
        let host = registry.local_addr().to_string();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(registry.run(shutdown.clone()));
        Self {
            dir,
            host,
            shutdown,
            running,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// Runs a program; what it says is in the failure.
async fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .await
        .expect("the program is installed (bin/test sees to it)");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn skopeo(words: &[&str]) -> Command {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy").args(words);
    command
}

/// Docker with a configuration of its own, so that the tests need no login and leave none.
struct Docker {
    config: TempDir,
    images: Vec<String>,
}

impl Docker {
    fn new(host: &str) -> Self {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let auth = BASE64_STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
        let config = TempDir::new().unwrap();
        let value = json!({"auths": {host: {"auth": auth}}});
        std::fs::write(config.path().join("config.json"), value.to_string()).unwrap();
        Self {
            config,
            images: Vec::new(),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--config").arg(self.config.path()).args(words);
        command
    }

    async fn id(&self, image: &str) -> String {
        let output = run(&mut self.command(&["image", "inspect", "-f", "{{.Id}}", image])).await;
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("docker");
        command.args(["image", "rm", "-f"]).args(&self.images);
        drop(
            command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status(),
        );
    }
}

/// A tar with one file, as an image's only layer.
async fn tar(dir: &Path) -> String {
    std::fs::write(dir.join("content"), pattern(3_000_000)).unwrap();
    let path = dir.join("layer.tar").to_str().unwrap().to_owned();
    let dir = dir.to_str().unwrap();
    run(Command::new("tar").args(["-cf", &path, "-C", dir, "content"])).await;
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn docker() {
    let registry = Listening::start().await;
    let image = format!("{}/apps/shop:v1", registry.host);
    let mut docker = Docker::new(&registry.host);
    docker.images.push(image.clone());
    let tar = tar(registry.dir.path()).await;
    run(&mut docker.command(&["import", &tar, &image])).await;
    let id = docker.id(&image).await;
    run(&mut docker.command(&["push", &image])).await;
    run(&mut docker.command(&["image", "rm", &image])).await;
    run(&mut docker.command(&["pull", &image])).await;
    assert_eq!(
        docker.id(&image).await,
        id,
        "the image came back as it went"
    );
    drop(docker);
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_there_and_back() {
    let registry = Listening::start().await;
    let dir = registry.dir.path();
    let creds = format!("{USERNAME}:{PASSWORD}");
    let repository = format!("docker://{}/apps/shop", registry.host);
    let image = format!("{repository}:v1");
    let archive = format!("docker-archive:{}", archive(dir).await);
    let layout = |name: &str| format!("oci:{}:v1", dir.join(name).display());

    let push = [
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        &creds,
        &archive,
        &image,
    ];
    run(&mut skopeo(&push)).await;
    let pull = [
        "copy",
        "--src-tls-verify=false",
        "--src-creds",
        &creds,
        &image,
        &layout("pulled"),
    ];
    run(&mut skopeo(&pull)).await;
    // The same layers under another name: skopeo finds and mounts them.
    let other = format!("docker://{}/apps/other:v1", registry.host);
    let again = [
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        &creds,
        &layout("pulled"),
        &other,
    ];
    run(&mut skopeo(&again)).await;
    let tags = [
        "list-tags",
        "--tls-verify=false",
        "--creds",
        &creds,
        &repository,
    ];
    let tags = run(&mut skopeo(&tags)).await;
    assert!(String::from_utf8_lossy(&tags.stdout).contains("\"v1\""));

    let inspect = ["inspect", "--tls-verify=false", "--creds", &creds, &image];
    run(&mut skopeo(&inspect)).await;
    run(&mut skopeo(&[
        "delete",
        "--tls-verify=false",
        "--creds",
        &creds,
        &image,
    ]))
    .await;
    let gone = skopeo(&inspect).output().await.unwrap();
    assert!(!gone.status.success());
    let wrong = [
        "inspect",
        "--tls-verify=false",
        "--creds",
        "builder:wrong",
        &other,
    ];
    let wrong = skopeo(&wrong).output().await.unwrap();
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        !wrong.status.success() && text.contains("unauthorized"),
        "{text}"
    );
    registry.stop().await;
}

/// An image as `docker save` writes it.
async fn archive(dir: &Path) -> String {
    let layer = std::fs::read(tar(dir).await).unwrap();
    let diff_id = digest(&layer);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let manifest = json!([{"Config": "config.json", "RepoTags": [], "Layers": ["layer.tar"]}]);
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let path = dir.join("image.tar").to_str().unwrap().to_owned();
    let members = ["manifest.json", "config.json", "layer.tar"];
    run(Command::new("tar")
        .arg("-cf")
        .arg(&path)
        .arg("-C")
        .arg(dir)
        .args(members))
    .await;
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_builders_client() {
    let registry = Listening::start().await;
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let settings = ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    };
    let client = Client::new(settings);
    let auth = RegistryAuth::Basic(USERNAME.into(), PASSWORD.into());
    let image: Reference = format!("{}/apps/shop:v1", registry.host).parse().unwrap();
    client
        .auth(&image, &auth, RegistryOperation::Push)
        .await
        .unwrap();

    // More than two of the client's chunks.
    let layer = Bytes::from(pattern(9_000_000));
    let layer_digest = digest(&layer);
    assert!(!client.blob_exists(&image, &layer_digest).await.unwrap());
    let pieces: Vec<Bytes> = layer.chunks(300_000).map(Bytes::copy_from_slice).collect();
    let pieces = stream::iter(pieces).map(Ok::<_, OciDistributionError>);
    client
        .push_blob_stream(&image, pieces, &layer_digest, Some(layer.len() as u64))
        .await
        .expect("push a layer as a stream");
    assert!(client.blob_exists(&image, &layer_digest).await.unwrap());
    let settings = Bytes::from_static(b"{}");
    client
        .push_blob(&image, settings.clone(), &digest(&settings))
        .await
        .expect("push the config");

    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": link("application/vnd.oci.image.config.v1+json", &settings),
        "layers": [link("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string();
    let media_type = MANIFEST.parse().unwrap();
    client
        .push_manifest_raw(&image, manifest.clone(), media_type)
        .await
        .expect("push a manifest");

    let (pulled, _) = client
        .pull_manifest_raw(&image, &auth, &[MANIFEST])
        .await
        .unwrap();
    assert_eq!(pulled, manifest);
    let mut content = Vec::new();
    client
        .pull_blob(&image, layer_digest.as_str(), &mut content)
        .await
        .expect("pull the layer");
    assert!(content == layer);

    let other: Reference = format!("{}/apps/other:v1", registry.host).parse().unwrap();
    client
        .mount_blob(&other, &image, &layer_digest)
        .await
        .expect("mount the layer");
    assert!(client.blob_exists(&other, &layer_digest).await.unwrap());
    registry.stop().await;
}
