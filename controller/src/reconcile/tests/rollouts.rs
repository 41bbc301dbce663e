//! Deployments by strategy, and what people ask of them.

use fairway_api::{
    build_orders::PushVerdict,
    routes::{Canary, CanaryTally, LATENCY_BUCKETS, Tally},
};
use serde_json::json;

use super::platform::{Platform, names};

/// What the router counted on both sides.
fn tally(canary: &Canary, errors: u64) -> CanaryTally {
    let side = |errors| {
        let mut latencies = [0; LATENCY_BUCKETS];
        latencies[3] = 100;
        Tally {
            requests: 100,
            errors,
            latencies,
        }
    };
    CanaryTally {
        step: canary.step,
        stable: side(0),
        canary: side(errors),
    }
}

/// A live app whose second push is a canary with its first requests.
async fn with_canary() -> (Platform, fairway_api::ids::BuildId, Canary) {
    let mut platform = Platform::with_live_app("shop").await;
    let steps = json!([{ "percent": 5, "secs": 3600 }, { "percent": 50, "secs": 3600 }]);
    let canary = json!({ "kind": "canary", "steps": steps, "bake_secs": 3600 });
    platform.strategy("shop", canary).await;
    let build = platform.push("shop").await;
    let both = ["web.1 v1", "web.1 v2"];
    platform.orders(|plan| names(plan) == both).await;
    platform.say("web.1 v2", "ready").await;
    let canary = platform.canary(true).await.unwrap();
    assert_eq!((canary.percent, canary.step), (5, 0));
    assert_eq!(canary.endpoints[0].pod, platform.pod("web.1 v2"));
    assert_eq!(platform.routed("shop.apps.test").await, ["10.9.0.1"]);
    (platform, build, canary)
}

#[tokio::test]
async fn a_canary_that_does_worse_is_taken_back_and_its_push_fails() {
    let (mut platform, build, canary) = with_canary().await;
    platform
        .canaries
        .insert(canary.deployment, tally(&canary, 40));
    platform.acknowledge().await;
    let PushVerdict::Failed { reason } = platform.verdict(build).await else {
        panic!("it was released");
    };
    assert!(
        reason.contains("40.0% of its 100 requests failed"),
        "{reason}"
    );
    platform.canary(false).await;
    assert_eq!(platform.routed("shop.apps.test").await, ["10.9.0.1"]);
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    let output = platform.output(build).await;
    assert!(
        output.contains("-----> Canary: 5% of the requests go to v2 for"),
        "{output}"
    );
    let newest = platform.deployment("shop", "failed").await;
    assert_eq!(newest["actions"], json!([]));
    assert_eq!(newest["strategy"]["kind"], "canary");
    let events = platform.get("/apps/shop/events").await.to_string();
    assert!(events.contains("5% of the requests go to v2"), "{events}");
}

#[tokio::test]
async fn a_promoted_canary_is_reverted_to_pods_that_are_still_up() {
    let (mut platform, build, canary) = with_canary().await;
    platform
        .canaries
        .insert(canary.deployment, tally(&canary, 0));
    // A controller that dies in the middle goes on from there.
    platform.crash_and_start().await;
    platform.acknowledge().await;
    let asked = platform.ask("shop", "promote").await.expect(200);
    assert_eq!(asked["wish"]["kind"], "promote");
    let (old, fresh) = (platform.pod("web.1 v1"), platform.pod("web.1 v2"));
    platform
        .table(|endpoints| endpoints.len() == 1 && endpoints[0].pod == fresh)
        .await;
    // The push ends when the release is live, and does not wait for the bake.
    let verdict = platform.verdict(build).await;
    assert!(matches!(verdict, PushVerdict::Released { version: 2, .. }));
    let baking = platform.deployment("shop", "baking").await;
    assert_eq!(baking["actions"], json!(["abort"]));
    assert_eq!(names(platform.newest_plan()), ["web.1 v1", "web.1 v2"]);

    let body = json!({ "release": "v1" });
    let alice = &platform.rig.alice;
    let release = platform
        .rig
        .call(alice, "POST", "/apps/shop/releases", body)
        .await;
    assert_eq!(
        release.expect(201)["version"],
        1,
        "no new release is needed"
    );
    let table = platform.table(|endpoints| endpoints[0].pod == old).await;
    assert_eq!(table[0].address.to_string(), "10.9.0.1:8080");
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    platform.deployment("shop", "reverted").await;
    let current = platform.get("/apps/shop/releases/current").await;
    assert_eq!(current["version"], 1);
}

#[tokio::test]
async fn a_pause_holds_until_it_is_resumed() {
    let (platform, _, _) = with_canary().await;
    platform.ask("shop", "resume").await.expect(409);
    platform.ask("shop", "sing").await.expect(404);
    platform.ask("shop", "pause").await.expect(200);
    let paused = platform.deployment("shop", "paused").await;
    assert_eq!(paused["actions"], json!(["abort", "promote", "resume"]));
    let mallory = &platform.rig.bob;
    let path = "/apps/shop/deployments/current/actions/abort";
    platform
        .rig
        .call(mallory, "POST", path, json!({}))
        .await
        .expect(404);
    platform.ask("shop", "resume").await.expect(200);
    platform.deployment("shop", "canary").await;
    platform.ask("shop", "abort").await.expect(200);
    let failed = platform.deployment("shop", "failed").await;
    let detail = failed["detail"].as_str().unwrap();
    assert!(detail.contains("aborted by alice"), "{detail}");
    platform.ask("shop", "abort").await.expect(404);
}

#[tokio::test]
async fn a_rolling_deployment_replaces_one_pod_after_the_other() {
    let mut platform = Platform::with_live_app("shop").await;
    platform.scale("shop", "web", 2).await;
    platform.orders(|plan| plan.pods.len() == 2).await;
    platform.say("web.2", "ready").await;
    platform.table(|endpoints| endpoints.len() == 2).await;
    platform
        .strategy("shop", json!({ "kind": "rolling" }))
        .await;
    let build = platform.push("shop").await;
    platform
        .orders(|plan| names(plan) == ["web.1 v1", "web.1 v2", "web.2 v1"])
        .await;
    platform.say("web.1 v2", "ready").await;
    let old = platform.pod("web.1 v1");
    platform
        .table(|endpoints| endpoints.len() == 2 && endpoints.iter().all(|it| it.pod != old))
        .await;
    platform
        .orders(|plan| names(plan) == ["web.1 v2", "web.2 v1", "web.2 v2"])
        .await;
    platform.say("web.2 v2", "ready").await;
    let left = platform.pod("web.2 v1");
    platform
        .table(|endpoints| endpoints.len() == 2 && endpoints.iter().all(|it| it.pod != left))
        .await;
    let verdict = platform.verdict(build).await;
    assert!(matches!(verdict, PushVerdict::Released { version: 2, .. }));
    let output = platform.output(build).await;
    assert!(output.contains("       1 of 2 pods replaced\n"), "{output}");
}
