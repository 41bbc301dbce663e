//! A real process, killed in the middle of pushes: what is visible afterwards is whole.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fairway_registry::Registry;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::fixtures::{MANIFEST, config, digest, link, pattern};

/// Set in a process that is to be a registry rather than a test; the value is its directory.
const CHILD: &str = "FAIRWAY_REGISTRY_TEST_CHILD";

/// Not a test of its own: what [`Process::start`] runs. Without the variable it does nothing.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let registry = Registry::bind(config(Path::new(&dir))).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "\nlistening {}", registry.local_addr()).unwrap();
        out.flush().unwrap();
        registry.run(CancellationToken::new()).await.unwrap();
    });
}

/// A registry in a process of its own, killed when dropped.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let address = out
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening ").map(str::to_owned))
            .expect("the child says its address");
        Self {
            child,
            base: format!("http://{address}"),
        }
    }
}

impl Drop for Process {
    /// SIGKILL: nothing of the process runs after this.
    fn drop(&mut self) {
        self.child.kill().expect("kill the child");
        self.child.wait().expect("wait for the child");
    }
}

fn client() -> Client {
    // Another test may have been first.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    Client::builder()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// Everything that must hold in a directory at any time.
fn assert_whole(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("blobs")).unwrap() {
        let entry = entry.unwrap();
        let content = std::fs::read(entry.path()).unwrap();
        let name = format!("sha256:{}", entry.file_name().to_str().unwrap());
        assert_eq!(digest(&content), name, "a blob is not what it is called");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_layer() {
    let dir = TempDir::new().unwrap();
    let client = client();
    let content = pattern(8_000_000);
    let process = Process::start(dir.path());
    let start = client
        .post(format!("{}/v2/a/blobs/uploads/", process.base))
        .send()
        .await
        .unwrap();
    let upload = start.headers()["location"].to_str().unwrap().to_owned();

    // A client that sends the first half and then thinks.
    let mut socket = TcpStream::connect(process.base.trim_start_matches("http://"))
        .await
        .unwrap();
    let head = format!("PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&content[..4_000_000]).await.unwrap();
    let address = format!("{}{upload}", process.base);
    let received = received_at_least(&client, &address, 2_000_000);
    tokio::time::timeout(Duration::from_secs(20), received)
        .await
        .expect("it arrives");
    drop(process);
    assert_whole(dir.path());

    let process = Process::start(dir.path());
    let base = &process.base;
    let head = client
        .head(format!("{base}/v2/a/blobs/{}", digest(&content)))
        .send()
        .await
        .unwrap();
    assert_eq!(
        head.status(),
        StatusCode::NOT_FOUND,
        "half a layer is not shown"
    );
    let start = received_at_least(&client, &format!("{base}{upload}"), 2_000_000).await;
    let rest = content[start..].to_vec();
    let put = client
        .put(format!("{base}{upload}?digest={}", digest(&content)))
        .header("content-range", format!("{start}-{}", content.len() - 1))
        .body(rest)
        .send()
        .await
        .unwrap();
    assert_eq!(
        put.status(),
        StatusCode::CREATED,
        "{}",
        put.text().await.unwrap()
    );
    let got = client
        .get(format!("{base}/v2/a/blobs/{}", digest(&content)))
        .send()
        .await
        .unwrap();
    assert!(got.bytes().await.unwrap() == content);
}

/// Waits until an upload has so many bytes, and says how many.
async fn received_at_least(client: &Client, upload: &str, bytes: usize) -> usize {
    loop {
        let status = client.get(upload).send().await.unwrap();
        let range = status.headers()["range"].to_str().unwrap().to_owned();
        let received: usize = range.strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
        if received >= bytes {
            return received;
        }
        tokio::task::yield_now().await;
    }
}

/// Pushes an image with two layers under a tag; gives the manifest once the registry confirmed it.
async fn push(client: &Client, base: &str, tag: usize) -> Result<Value, reqwest::Error> {
    let config = json!({"tag": tag}).to_string().into_bytes();
    let mut layer = pattern(400_000);
    layer.extend(tag.to_le_bytes());
    let shared = pattern(200_000);
    for content in [&config, &layer, &shared] {
        let start = client
            .post(format!("{base}/v2/app/blobs/uploads/"))
            .send()
            .await?;
        let upload = start.headers()["location"].to_str().unwrap().to_owned();
        client
            .patch(format!("{base}{upload}"))
            .body(content.clone())
            .send()
            .await?;
        let put = client
            .put(format!("{base}{upload}?digest={}", digest(content)))
            .send()
            .await?;
        assert_eq!(put.status(), StatusCode::CREATED);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": link("application/vnd.oci.image.config.v1+json", &config),
        "layers": [link("x/layer", &shared), link("x/layer", &layer)],
    });
    let put = client
        .put(format!("{base}/v2/app/manifests/v{tag}"))
        .header("content-type", MANIFEST)
        .body(manifest.to_string())
        .send()
        .await?;
    assert_eq!(put.status(), StatusCode::CREATED);
    Ok(manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_while_clients_push() {
    const ROUNDS: usize = 5;
    const CLIENTS: usize = 4;
    let dir = TempDir::new().unwrap();
    let confirmed = Arc::new(Mutex::new(Vec::new()));
    let next_tag = Arc::new(AtomicUsize::new(0));
    for round in 0..ROUNDS {
        let process = Process::start(dir.path());
        let progress = Arc::new(Notify::new());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (base, confirmed) = (process.base.clone(), confirmed.clone());
            let (next_tag, progress) = (next_tag.clone(), progress.clone());
            clients.spawn(async move {
                let client = client();
                loop {
                    let tag = next_tag.fetch_add(1, Ordering::Relaxed);
                    let Ok(manifest) = push(&client, &base, tag).await else {
                        return;
                    };
                    confirmed.lock().unwrap().push((tag, manifest));
                    progress.notify_one();
                }
            });
        }
        // While one has just ended, the others are somewhere in the middle.
        for _ in 0..=round {
            progress.notified().await;
        }
        drop(process);
        while let Some(ended) = clients.join_next().await {
            ended.expect("a client fails only when its registry dies");
        }
        assert_whole(dir.path());
    }
    let confirmed = confirmed.lock().unwrap().clone();
    assert!(confirmed.len() >= ROUNDS);
    everything_is_there(dir.path(), &confirmed).await;
}

/// Every confirmed tag is there, and every tag that is there is a whole image.
async fn everything_is_there(dir: &Path, confirmed: &[(usize, Value)]) {
    let process = Process::start(dir);
    let (client, base) = (client(), &process.base);
    let list = client
        .get(format!("{base}/v2/app/tags/list"))
        .send()
        .await
        .unwrap();
    let list: Value = list.json().await.unwrap();
    let tags: Vec<&str> = list["tags"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (tag, _) in confirmed {
        assert!(
            tags.contains(&format!("v{tag}").as_str()),
            "v{tag} was confirmed and is lost"
        );
    }
    for tag in tags {
        let got = client
            .get(format!("{base}/v2/app/manifests/{tag}"))
            .send()
            .await
            .unwrap();
        assert_eq!(got.status(), StatusCode::OK, "{tag}");
        let manifest: Value = got.json().await.unwrap();
        if let Some((_, pushed)) = confirmed.iter().find(|(t, _)| format!("v{t}") == tag) {
            assert_eq!(&manifest, pushed);
        }
        let layers = manifest["layers"].as_array().unwrap().iter();
        for link in layers.chain([&manifest["config"]]) {
            let blob = link["digest"].as_str().unwrap();
            let head = client
                .head(format!("{base}/v2/app/blobs/{blob}"))
                .send()
                .await
                .unwrap();
            assert_eq!(head.status(), StatusCode::OK, "{tag} lacks {blob}");
        }
    }
    assert!(
        std::fs::read_dir(dir.join("tmp")).unwrap().next().is_none(),
        "nothing is left over"
    );
}
