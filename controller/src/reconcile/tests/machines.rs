//! What machines are told, and what they are believed.

use fairway_scheduler::rebalance::{Gain, Move};
use serde_json::{Value, json};

use super::platform::{Platform, status_of};
use crate::{reconcile::rebalance::begin, store::columns::now, testing::NODE};

#[tokio::test]
async fn generations_of_plans_never_go_back() {
    let mut platform = Platform::with_live_app("shop").await;
    let before = platform.newest_plan().generation;
    platform.crash_and_start().await;
    platform.scale("shop", "web", 2).await;
    let plan = platform.orders(|plan| plan.pods.len() == 2).await;
    assert!(plan.generation > before);
}

/// A database that was put back from a backup knows smaller numbers than the agents.
#[tokio::test]
async fn an_agent_with_a_newer_generation_obeys_again() {
    let mut platform = Platform::with_live_app("shop").await;
    platform.pretend_generation(1_000_000);
    platform.scale("shop", "web", 2).await;
    let plan = platform.orders(|plan| plan.pods.len() == 2).await;
    assert!(plan.generation > 1_000_000);
}

#[tokio::test]
async fn a_report_is_believed_only_from_the_machine_itself() {
    let mut platform = Platform::with_live_app("shop").await;
    let mut status = platform.status();
    status.node = "two".parse().unwrap();
    let forged = serde_json::to_value(&status).unwrap();
    let path = "/internal/nodes/one/status";
    platform
        .rig
        .call(NODE, "POST", path, forged.clone())
        .await
        .expect(403);
    platform
        .rig
        .call(NODE, "POST", "/internal/nodes/two/status", forged)
        .await
        .expect(403);
    platform
        .rig
        .call(NODE, "POST", path, json!({ "node": "one" }))
        .await
        .expect(422);
    platform
        .rig
        .call(NODE, "GET", "/internal/routers/one/table", Value::Null)
        .await
        .expect(403);

    // A pod that this machine does not run is nobody's news.
    let stranger = fairway_api::ids::PodId::generate();
    platform
        .pods
        .insert(stranger, status_of(stranger, "ready", 9));
    platform.report().await;
    platform.scale("shop", "web", 2).await;
    platform.orders(|plan| plan.pods.len() == 2).await;
    platform.settled("shop", |dynos| dynos.len() == 2).await;
}

#[tokio::test]
async fn a_machine_speaks_only_for_what_its_own_pods_use() {
    let platform = Platform::with_live_app("shop").await;
    let (own, stranger) = (platform.pod("web.1"), fairway_api::ids::PodId::generate());
    let usage = |pod| json!({ "pod": pod, "cpu_millis": 900, "memory_bytes": 1 });
    let mut status = serde_json::to_value(platform.status()).unwrap();
    status["usage"] = json!([usage(own), usage(stranger)]);
    let path = "/internal/nodes/one/status";
    let answer = platform.rig.call(NODE, "POST", path, status).await;
    answer.expect(200);
    let metrics = &platform.rig.state().metrics;
    assert_eq!(metrics.used(own), Some((900.0, 1.0)));
    assert_eq!(metrics.used(stranger), None);
}

#[tokio::test]
async fn a_machine_gets_a_subnet_for_good_and_is_told_of_its_pods_apps() {
    let mut platform = Platform::with_live_app("shop").await;
    assert_eq!(platform.newest_plan().network, None, "its agent cannot");
    platform.network.can_join = true;
    platform.network.underlay = Some([192, 0, 2, 1].into());
    platform.report().await;
    let plan = platform.orders(|plan| plan.network.is_some()).await;
    let network = plan.network.unwrap();
    assert_eq!((network.host_ports, network.peers), (vec![8080], vec![]));
    let [shop] = &network.apps[..] else {
        panic!("{:?}", network.apps);
    };
    assert_eq!((shop.name.as_str(), shop.pods.len()), ("shop", 1));
    assert!(shop.pods[0].serves && shop.pods[0].address.is_none());

    platform.rig.app("friend").await;
    let alice = platform.rig.alice.clone();
    let call = async |method: &str, path: &str, body: Value| {
        platform.rig.call(&alice, method, path, body).await
    };
    call("POST", "/apps/shop/network", json!({ "from": "friend" }))
        .await
        .expect(201);
    call(
        "PUT",
        "/apps/shop/external-names/db",
        json!({ "hostname": "db.example.com" }),
    )
    .await
    .expect(200);
    let told = |plan: &fairway_api::nodes::NodePlan| {
        plan.network.as_ref().is_some_and(|network| {
            let names: Vec<_> = network.apps.iter().map(|app| app.name.as_str()).collect();
            let shop = network.apps.iter().find(|app| app.name.as_str() == "shop");
            names.contains(&"friend")
                && shop.is_some_and(|it| it.admits.len() == 1 && it.external.len() == 1)
        })
    };
    platform.orders(told).await;

    platform.crash_and_start().await;
    let after = platform.orders(|plan| plan.network.is_some()).await;
    assert_eq!(after.network.unwrap().subnet, network.subnet);
}

#[tokio::test]
async fn a_machine_is_not_believed_about_pods_that_are_bound_elsewhere() {
    let mut platform = Platform::with_live_app("shop").await;
    let web = platform.pod("web.1");
    platform.forge("two", web, "crash").await;
    // What "one" says afterwards is the next thing that happens to the pod.
    platform.say("web.1", "ready").await;
    platform.table(|endpoints| endpoints.len() == 1).await;
    let pods = platform
        .rig
        .get(&platform.rig.alice, "/apps/shop/dynos")
        .await;
    let pods = pods.expect(200);
    assert_eq!(pods[0]["state"], "up", "{pods}");
    let events = platform
        .rig
        .get(&platform.rig.alice, "/apps/shop/events")
        .await;
    assert!(!events.text.contains("pod.crashed"), "{events:?}");
}

#[tokio::test]
async fn pods_that_fit_nowhere_are_one_event_with_a_reason_per_machine() {
    let mut platform = Platform::with_live_app("shop").await;
    platform.scale("shop", "web", 100).await;
    let unplaced = |dynos: &[Value]| dynos.iter().any(|it| it["state"] == "down");
    platform.settled("shop", unplaced).await;
    let events = platform.get("/apps/shop/events?type=unplaced").await;
    let [event] = &events.as_array().unwrap()[..] else {
        panic!("{events}");
    };
    assert_eq!(
        (&event["kind"], &event["pod"]),
        (&json!("pod.unplaced"), &json!("web"))
    );
    let reasons = event["cause"]["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0]["node"], "one");
    let reason = reasons[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("is taken") || reason.contains("are promised"),
        "{reason}"
    );
}

#[tokio::test]
async fn pods_that_leave_a_drained_machine_say_so() {
    let mut platform = Platform::with_live_app("shop").await;
    let web = platform.pod("web.1");
    platform.forge("two", web, "ready").await;
    let admin = platform.rig.admin.clone();
    let drain = json!({ "intent": "draining" });
    let drained = platform.rig.call(&admin, "PATCH", "/nodes/one", drain);
    drained.await.expect(200);
    platform.settled("shop", |dynos| dynos.len() == 2).await;
    let events = platform.get("/apps/shop/events?type=drained").await;
    assert_eq!(
        events[0]["message"],
        "web.1 gets replaced: machine one is drained"
    );
    assert_eq!(
        events[0]["cause"],
        json!({ "type": "drained", "node": "one" })
    );
}

#[tokio::test]
async fn a_pod_that_moves_is_replaced_on_the_machine_that_was_chosen() {
    let mut platform = Platform::with_live_app("shop").await;
    let web = platform.pod("web.1");
    platform.forge("two", web, "ready").await;
    let state = platform.rig.state().clone();
    let mut tx = state.store.write().await.unwrap();
    let pods = crate::store::pods::all(&mut tx).await.unwrap();
    let app = pods[0].app;
    let planned = Move {
        app,
        pod: web,
        name: "web.1".into(),
        process_type: "web".parse().unwrap(),
        from: "one".parse().unwrap(),
        to: "two".parse().unwrap(),
        why: Gain::Load,
    };
    let begun = begin(&mut tx, &planned, now()).await.unwrap();
    assert!(begun.is_some());
    let again = begin(&mut tx, &planned, now()).await.unwrap();
    assert!(again.is_none(), "it is under way");
    tx.commit().await.unwrap();
    state.wake.app(app);
    let at = |dynos: &[Value]| -> Vec<String> {
        let nodes = dynos
            .iter()
            .map(|it| it["node"].as_str().unwrap_or_default().to_owned());
        nodes.collect()
    };
    platform
        .settled("shop", |dynos| at(dynos) == ["one", "two"])
        .await;
    // The old one serves until the new one is up.
    assert_eq!(platform.routed("shop.apps.test").await, ["10.9.0.1"]);
    let events = platform.get("/apps/shop/events?type=rebalanced").await;
    assert_eq!(
        events[0]["message"],
        "web.1 gets replaced: machine two is the better one than one"
    );
}

#[tokio::test]
async fn rebalancing_is_asked_for_once_and_by_admins() {
    let platform = Platform::with_live_app("shop").await;
    let (rig, admin) = (&platform.rig, &platform.rig.admin);
    let plan = rig.get(admin, "/rebalance").await.expect(200);
    assert_eq!(plan, json!({ "enabled": false, "moves": [] }));
    rig.call(admin, "POST", "/rebalance", Value::Null)
        .await
        .expect(200);
    let events = rig.get(admin, "/events?type=nodes.rebalanced").await;
    assert_eq!(events.expect(200).as_array().unwrap().len(), 1);
}
