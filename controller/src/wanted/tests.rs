//! The document as builders and registries get it, and what it means for rollbacks.

use std::{collections::BTreeSet, time::Duration};

use fairway_api::{
    ids::AppId,
    names::Digest,
    wanted::{Notice, Wanted},
};
use serde_json::{Value, json};

use crate::testing::{BUILDER, NODE, ROUTER, Rig, digest};

async fn wanted(rig: &Rig) -> Wanted {
    let reply = rig.get(BUILDER, "/internal/wanted").await;
    serde_json::from_value(reply.expect(200)).unwrap()
}

fn digests(bytes: &[u8]) -> BTreeSet<Digest> {
    bytes.iter().copied().map(digest).collect()
}

fn id(app: &Value) -> AppId {
    serde_json::from_value(app["id"].clone()).unwrap()
}

async fn roll_back(rig: &Rig, to: &str) -> crate::testing::Reply {
    let body = json!({ "release": to });
    rig.call(&rig.alice, "POST", "/apps/shop/releases", body)
        .await
}

#[tokio::test]
async fn old_images_are_given_up_and_not_rolled_back_to() {
    // Two images are kept in tests.
    let rig = Rig::new().await;
    let app = id(&rig.app("shop").await);
    rig.app("empty").await;
    for byte in 1..=2 {
        rig.release_image("shop", byte).await;
    }
    assert_eq!(wanted(&rig).await.apps[&app], digests(&[1, 2]));
    rig.release_image("shop", 3).await;
    // Nobody has been told yet that v1 is too old: it is still there to go back to.
    let shown = rig.get(&rig.alice, "/apps/shop/releases/1").await.json();
    assert_eq!(shown["eligible_for_rollback"], true);

    let document = wanted(&rig).await;
    assert_eq!(document.apps[&app], digests(&[2, 3]));
    assert_eq!(document.apps.len(), 2);
    assert!(document.destroyed.is_empty());
    let shown = rig.get(&rig.alice, "/apps/shop/releases/1").await.json();
    assert_eq!(shown["eligible_for_rollback"], false);
    let refused = roll_back(&rig, "v1").await.expect(422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("no longer kept"), "{message}");
    roll_back(&rig, "v2").await.expect(201);
    // On its way beside what is kept already.
    assert_eq!(wanted(&rig).await.apps[&app], digests(&[2, 3]));
}

#[tokio::test]
async fn what_was_given_up_stays_so_when_more_is_kept_later() {
    let mut rig = Rig::with(|config| config.images_kept = 1).await;
    let app = id(&rig.app("shop").await);
    for byte in 1..=2 {
        rig.release_image("shop", byte).await;
    }
    assert_eq!(wanted(&rig).await.apps[&app], digests(&[2]));
    // A start with the tests' setting, which keeps two.
    rig.restart().await;
    assert_eq!(wanted(&rig).await.apps[&app], digests(&[2]));
    roll_back(&rig, "v1").await.expect(422);
}

#[tokio::test]
async fn a_destroyed_app_is_named_and_noticed() {
    let rig = Rig::new().await;
    let app = id(&rig.app("shop").await);
    rig.release("shop").await;
    let notice = async |unlike: u64| {
        let path = format!("/internal/wanted/notice?unlike={unlike}");
        let reply = rig.get(NODE, &path).await.expect(200);
        serde_json::from_value::<Notice>(reply).unwrap().number
    };
    let before = notice(0).await;
    let (after, ()) = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::join!(notice(before), async {
            let path = "/apps/shop";
            let reply = rig.call(&rig.alice, "DELETE", path, Value::Null).await;
            reply.expect(200);
        })
    })
    .await
    .expect("the notice comes with the destruction");
    assert_ne!(after, before);
    let document = wanted(&rig).await;
    assert_eq!(document.destroyed, BTreeSet::from([app]));
    assert!(document.apps.is_empty());
}

#[tokio::test]
async fn only_parts_of_the_platform_are_told() {
    let rig = Rig::new().await;
    for path in ["/internal/wanted", "/internal/wanted/notice"] {
        for role in [BUILDER, NODE, ROUTER] {
            rig.get(role, path).await.expect(200);
        }
        rig.get(&rig.admin, path).await.expect(403);
        rig.get("", path).await.expect(401);
    }
}

#[tokio::test]
async fn an_app_shows_how_large_its_repository_is() {
    let rig = Rig::new().await;
    let app = id(&rig.app("shop").await);
    let size = async || rig.get(&rig.alice, "/apps/shop").await.json()["repo_size"].clone();
    assert_eq!(size().await, Value::Null);
    let body = json!({ "app": app, "bytes": 4096 });
    let path = "/internal/git/size";
    rig.call(NODE, "POST", path, body.clone()).await.expect(403);
    rig.call(BUILDER, "POST", path, body).await.expect(204);
    assert_eq!(size().await, 4096);
    let gone = json!({ "app": AppId::from_u128(1), "bytes": 1 });
    rig.call(BUILDER, "POST", path, gone).await.expect(404);
}
