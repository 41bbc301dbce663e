//! Apps that sleep without requests.

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
