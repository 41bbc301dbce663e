use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use fairway_registry::{Collect, Collected, Collector, Keep, Registry, Repository};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fixtures::{Fixture, INDEX, MANIFEST, config, digest, link};

const AGE_MIN: Duration = Duration::from_secs(3600);

/// A registry and its collector over the same directory.
async fn with_collector() -> (Fixture, Collector) {
    let dir = tempfile::TempDir::new().unwrap();
    let registry = Registry::bind(config(dir.path())).await.unwrap();
    let collector = registry.collector();
    (Fixture::of(dir, registry.router()), collector)
}

/// Makes everything that is there older than the least age.
fn age(registry: &Fixture) {
    for (path, _) in registry
        .files("blobs")
        .into_iter()
        .chain(registry.files("repositories"))
    {
        if !path.is_symlink() {
            // A collector that runs meanwhile may be faster.
            if let Ok(file) = File::open(path) {
                file.set_modified(SystemTime::now() - 2 * AGE_MIN).unwrap();
            }
        }
    }
}

/// The same is kept of every repository that these tests use.
fn everywhere(keep: &Keep) -> BTreeMap<Repository, Keep> {
    ["a", "other", "damaged", "whole", "app-0", "app-1", "app-2"]
        .map(|name| (name.parse().unwrap(), keep.clone()))
        .into()
}

async fn collect(collector: &Collector, keep: Keep) -> Collected {
    let what = Collect {
        keep: everywhere(&keep),
        age_min: AGE_MIN,
        dry_run: false,
    };
    collector.collect(what).await.expect("collect")
}

fn tagged_only() -> Keep {
    Keep::TaggedAnd(BTreeSet::new())
}

async fn shows(registry: &Fixture, path: &str) -> bool {
    registry
        .send(Method::HEAD, path, Body::empty())
        .await
        .status
        == StatusCode::OK
}

#[tokio::test]
async fn what_no_manifest_needs_goes() {
    let (registry, collector) = with_collector().await;
    let image = registry.image("a", "v1", b"layer").await;
    let loose = registry.blob("a", b"never used").await;
    let old = registry.image("a", "v2", b"old layer").await;
    registry.image("a", "v2", b"new layer").await;
    age(&registry);

    let dry = Collect {
        keep: everywhere(&tagged_only()),
        age_min: AGE_MIN,
        dry_run: true,
    };
    let before = registry.files(".");
    let would = collector.collect(dry).await.unwrap();
    assert_eq!(registry.files("."), before, "a dry run changes nothing");

    let collected = collect(&collector, tagged_only()).await;
    assert_eq!(collected, would, "a dry run tells the truth");
    let name: Repository = "a".parse().unwrap();
    assert_eq!(collected.manifests, [(name.clone(), old.parse().unwrap())]);
    let blobs: BTreeSet<String> = collected.blobs.iter().map(|(_, d)| d.to_string()).collect();
    assert_eq!(blobs, BTreeSet::from([loose.clone(), digest(b"old layer")]));
    assert_eq!(collected.contents.len(), 3);
    assert!(collected.bytes > (b"never used".len() + b"old layer".len()) as u64);

    assert!(!shows(&registry, &format!("/v2/a/blobs/{loose}")).await);
    assert!(!shows(&registry, &format!("/v2/a/manifests/{old}")).await);
    assert!(shows(&registry, &format!("/v2/a/manifests/{image}")).await);
    assert!(shows(&registry, "/v2/a/manifests/v2").await);
    assert!(shows(&registry, &format!("/v2/a/blobs/{}", digest(b"new layer"))).await);
    let again = collect(&collector, tagged_only()).await;
    assert_eq!(again, Collected::default(), "a second pass finds nothing");
}

#[tokio::test]
async fn what_is_in_use_stays() {
    let (registry, collector) = with_collector().await;
    let release = registry.image("a", "latest", b"release 1").await;
    registry.image("a", "latest", b"release 2").await;
    for keep in [
        Keep::EveryManifest,
        Keep::TaggedAnd(BTreeSet::from([release.parse().unwrap()])),
    ] {
        age(&registry);
        assert_eq!(collect(&collector, keep).await, Collected::default());
        assert!(shows(&registry, &format!("/v2/a/blobs/{}", digest(b"release 1"))).await);
    }
}

#[tokio::test]
async fn a_kept_list_keeps_its_entries_and_a_subject_its_referrers() {
    let (registry, collector) = with_collector().await;
    let entry = registry.manifest("a", b"entry").await.to_string();
    registry
        .image("a", &digest(entry.as_bytes()), b"entry")
        .await;
    registry.blob("a", b"cache").await;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [link(MANIFEST, entry.as_bytes()), link("x/cache", b"cache")],
    });
    let put = registry.put_manifest("a", "multi", &index).await;
    let mut about = registry.manifest("a", b"signature").await;
    about["subject"] = link(INDEX, index.to_string().as_bytes());
    let signature = digest(about.to_string().as_bytes());
    registry.put_manifest("a", &signature, &about).await;
    age(&registry);
    assert_eq!(
        collect(&collector, tagged_only()).await,
        Collected::default()
    );

    // Without its tag the list goes, and all that hung on it.
    registry
        .send(Method::DELETE, "/v2/a/manifests/multi", "")
        .await;
    age(&registry);
    let collected = collect(&collector, tagged_only()).await;
    assert_eq!(collected.manifests.len(), 3);
    let list = put.header("docker-content-digest");
    let referrers = registry
        .get(&format!("/v2/a/referrers/{list}"))
        .await
        .json();
    assert_eq!(referrers["manifests"], json!([]));
    assert!(registry.files("blobs").is_empty() && registry.files("repositories").is_empty());
    let dirs = std::fs::read_dir(registry.path().join("repositories"))
        .unwrap()
        .count();
    assert_eq!(dirs, 0, "empty directories go too");
    registry.image("a", "v1", b"entry").await;
    assert!(
        shows(&registry, "/v2/a/manifests/v1").await,
        "and it can be pushed again"
    );
}

#[tokio::test]
async fn what_a_push_relies_on_becomes_young() {
    let (registry, collector) = with_collector().await;
    registry.image("other", "v1", b"elsewhere").await;
    let looked_at = registry.blob("a", b"looked at").await;
    let pushed_again = registry.blob("a", b"pushed again").await;
    let forgotten = registry.blob("a", b"forgotten").await;
    age(&registry);
    assert!(shows(&registry, &format!("/v2/a/blobs/{looked_at}")).await);
    registry.blob("a", b"pushed again").await;
    let mounted = digest(b"elsewhere");
    let path = format!("/v2/a/blobs/uploads/?mount={mounted}&from=other");
    assert_eq!(
        registry.send(Method::POST, &path, "").await.status,
        StatusCode::CREATED
    );
    // The repository that it was mounted from loses it meanwhile.
    registry
        .send(Method::DELETE, "/v2/other/manifests/v1", "")
        .await;

    let collected = collect(&collector, tagged_only()).await;
    assert!(
        collected
            .contents
            .iter()
            .any(|d| d.to_string() == forgotten)
    );
    for kept in [looked_at, pushed_again, mounted] {
        let blob = registry.get(&format!("/v2/a/blobs/{kept}")).await;
        assert_eq!(blob.status, StatusCode::OK, "{kept}");
    }
}

#[tokio::test]
async fn a_damaged_manifest_stops_only_its_repository() {
    let (registry, collector) = with_collector().await;
    let damaged = registry.image("damaged", "v1", b"of unknown use").await;
    registry.blob("damaged", b"loose, or not").await;
    let loose = registry.blob("whole", b"loose").await;
    let file = registry
        .path()
        .join("blobs")
        .join(damaged.trim_start_matches("sha256:"));
    std::fs::write(file, "{").unwrap();
    age(&registry);
    let collected = collect(&collector, tagged_only()).await;
    assert_eq!(collected.contents, [loose.parse().unwrap()]);
    assert_eq!(collected.blobs.len(), 1);
    let got = registry.get("/v2/damaged/manifests/v1").await;
    assert_eq!(
        (got.status, got.code().as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN")
    );
}

#[tokio::test]
async fn a_repository_that_is_given_up_goes_whole_and_alone() {
    let (registry, collector) = with_collector().await;
    let gone = registry.image("a", "latest", b"shared").await;
    registry.image("a", "latest", b"its own").await;
    registry.blob("a", b"of a push under way").await;
    let about = {
        let mut about = registry.manifest("a", b"signature").await;
        let subject = registry.manifest("a", b"its own").await;
        about["subject"] = link(MANIFEST, subject.to_string().as_bytes());
        about
    };
    registry
        .put_manifest("a", &digest(about.to_string().as_bytes()), &about)
        .await;
    let kept = registry.image("other", "v1", b"shared").await;
    let what = |dry_run| Collect {
        keep: [("a".parse().unwrap(), Keep::Nothing)].into(),
        age_min: AGE_MIN,
        dry_run,
    };
    let before = registry.files(".");
    let would = collector.collect(what(true)).await.unwrap();
    assert_eq!(registry.files("."), before, "a dry run changes nothing");

    // Young as it is, nothing of it is shown any more; its contents have to be a little older.
    let collected = collector.collect(what(false)).await.unwrap();
    assert_eq!(collected.manifests, would.manifests);
    assert_eq!(collected.blobs, would.blobs);
    assert!(collected.contents.is_empty());
    assert!(!shows(&registry, "/v2/a/manifests/latest").await);
    assert!(!shows(&registry, &format!("/v2/a/manifests/{gone}")).await);
    assert!(!registry.path().join("repositories/a").exists());
    age(&registry);
    let collected = collector.collect(what(false)).await.unwrap();
    assert!(collected.manifests.is_empty() && collected.contents.len() >= 3);
    assert!(shows(&registry, &format!("/v2/other/manifests/{kept}")).await);
    let layer = format!("/v2/other/blobs/{}", digest(b"shared"));
    assert_eq!(registry.get(&layer).await.status, StatusCode::OK);

    registry.image("a", "latest", b"its own").await;
    assert!(
        shows(&registry, "/v2/a/manifests/latest").await,
        "it can be pushed again"
    );
}

#[tokio::test]
async fn a_repository_that_is_not_named_keeps_every_manifest() {
    let (registry, collector) = with_collector().await;
    let old = registry.image("stack", "latest", b"old").await;
    registry.image("stack", "latest", b"new").await;
    age(&registry);
    assert_eq!(
        collect(&collector, Keep::Nothing).await,
        Collected::default()
    );
    assert!(shows(&registry, &format!("/v2/stack/manifests/{old}")).await);
}

/// Clients push, over and over, what a collector that never rests has just found old.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushing_and_collecting_at_once() {
    const ROUNDS: usize = 20;
    let (registry, collector) = with_collector().await;
    let registry = Arc::new(registry);
    let done = CancellationToken::new();
    let collecting = tokio::spawn({
        let done = done.clone();
        async move {
            let mut contents = 0;
            while !done.is_cancelled() {
                contents += collect(&collector, tagged_only()).await.contents.len();
            }
            contents
        }
    });
    for round in 0..ROUNDS {
        // Between two rounds nobody pushes: no push takes as long as the least age.
        age(&registry);
        let mut clients = JoinSet::new();
        for client in 0..3 {
            let registry = Arc::clone(&registry);
            clients.spawn(async move {
                let name = format!("app-{client}");
                let layer = format!("layer {}", (round + client) % 4);
                registry.image(&name, "v1", layer.as_bytes()).await;
                let blob = format!("/v2/{name}/blobs/{}", digest(layer.as_bytes()));
                assert_eq!(registry.get(&blob).await.body, layer, "round {round}");
                let path = format!("/v2/{name}/manifests/v1");
                assert!(shows(&registry, &path).await);
                registry.send(Method::DELETE, &path, "").await;
            });
        }
        while let Some(client) = clients.join_next().await {
            client.expect("no push loses what it relies on");
        }
    }
    done.cancel();
    assert!(
        collecting.await.unwrap() > 0,
        "something was collected meanwhile"
    );
}
