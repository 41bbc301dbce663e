//! What the route table says beyond endpoints: apps that sleep, and session affinity.

use fairway_api::routes::Endpoint;
use serde_json::json;

use super::platform::Platform;
use crate::testing::ROUTER;

#[tokio::test]
async fn an_app_that_sleeps_is_woken_by_the_notice_of_a_router() {
    let mut platform = Platform::with_live_app("shop").await;
    let alice = platform.rig.alice.clone();
    let policy = json!({ "min": 0, "max": 3, "concurrency": 5 });
    platform
        .rig
        .call(&alice, "PUT", "/apps/shop/autoscale/web", policy)
        .await
        .expect(200);
    let app = platform.get("/apps/shop").await["id"].clone();
    let notice = json!({ "apps": [app] });
    let wake = "/internal/routers/one/wake";
    // An app that has pods is left alone.
    platform
        .rig
        .call(ROUTER, "POST", wake, notice.clone())
        .await
        .expect(200);
    platform.scale("shop", "web", 0).await;
    platform.table(|endpoints| endpoints.is_empty()).await;
    assert!(platform.is_on_demand());
    platform.orders(|plan| plan.pods.is_empty()).await;
    platform
        .rig
        .call(ROUTER, "POST", wake, notice.clone())
        .await
        .expect(200);
    platform
        .rig
        .call(ROUTER, "POST", wake, notice)
        .await
        .expect(200);
    platform.orders(|plan| plan.pods.len() == 1).await;
    platform.say("web.1", "ready").await;
    platform.table(|endpoints| endpoints.len() == 1).await;
    let events = platform.get("/apps/shop/events").await;
    let woken: Vec<_> = (events.as_array().unwrap().iter())
        .filter(|event| event["kind"] == "formation.autoscaled")
        .map(|event| event["message"].clone())
        .collect();
    assert_eq!(woken, ["autoscaler: web 0 -> 1: a request waits"]);
}

#[tokio::test]
async fn with_session_affinity_each_pod_has_a_word_that_stays_and_tells_nothing() {
    let mut platform = Platform::with_live_app("shop").await;
    let alice = platform.rig.alice.clone();
    let path = "/apps/shop/features/http-session-affinity";
    let words = |endpoints: &[Endpoint]| -> Vec<Option<String>> {
        endpoints.iter().map(|it| it.affinity.clone()).collect()
    };
    let switch = async |platform: &Platform, enabled: bool| {
        let body = json!({ "enabled": enabled });
        let reply = platform.rig.call(&alice, "PATCH", path, body).await;
        assert_eq!(reply.expect(200)["enabled"], enabled);
    };
    switch(&platform, true).await;
    let first = platform
        .table(|all| all.iter().all(|it| it.affinity.is_some()))
        .await;
    platform.scale("shop", "web", 2).await;
    platform.orders(|plan| plan.pods.len() == 2).await;
    platform.say("web.2", "ready").await;
    let both = words(&platform.table(|all| all.len() == 2).await);
    assert!(
        both.contains(&words(&first)[0]) && both[0] != both[1],
        "{both:?}"
    );
    let word = both[0].clone().unwrap();
    assert!(
        word.len() == 32 && !word.contains(&first[0].pod.to_string()[..8]),
        "{word}"
    );
    switch(&platform, false).await;
    platform
        .table(|all| all.iter().all(|it| it.affinity.is_none()))
        .await;
    // Switched on again, cookies of before still count.
    switch(&platform, true).await;
    let again = platform
        .table(|all| all.iter().all(|it| it.affinity.is_some()))
        .await;
    assert_eq!(words(&again), both);
    let unknown = json!({ "enabled": true });
    let reply = platform
        .rig
        .call(&alice, "PATCH", "/apps/shop/features/x", unknown)
        .await;
    reply.expect(404);
}
