//! Pods beside deployments: one-off ones, restarts, scaling, crashes.

use fairway_api::pods::{PodPhase, RestartPolicy};
use serde_json::{Value, json};

use super::platform::{Platform, names};

#[tokio::test]
async fn a_one_off_pod_runs_ends_and_shows_its_exit_code() {
    let mut platform = Platform::with_live_app("shop").await;
    let alice = platform.rig.alice.clone();
    let new = json!({
        "command": "echo $SECRET", "attach": true, "env": { "SECRET": "x" }, "time_to_live": 60,
    });
    let dyno = platform
        .rig
        .call(&alice, "POST", "/apps/shop/dynos", new)
        .await
        .expect(201);
    let name = dyno["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("run."), "{name}");
    assert!(
        dyno["attach_url"]
            .as_str()
            .unwrap()
            .starts_with("ws://fairway.test:7000/streams/")
    );
    let plan = platform.orders(|plan| plan.pods.len() == 2).await;
    let spec = plan.pods.iter().find(|pod| pod.name == name).unwrap();
    assert_eq!(
        spec.command.as_deref().unwrap(),
        ["/bin/sh", "-c", "echo $SECRET"]
    );
    assert_eq!(
        (spec.time_to_live_secs, spec.attach.as_ref().unwrap().tty),
        (Some(60), true)
    );
    assert_eq!(spec.env["SECRET"].expose(), "x");
    assert_eq!((spec.port, spec.restart), (None, RestartPolicy::Never));

    platform.say(&name, "exit:7").await;
    platform
        .settled("shop", |dynos| {
            dynos
                .iter()
                .any(|it| it["exit_code"] == 7 && it["state"] == "down")
        })
        .await;
    let runs = platform.get("/apps/shop/runs").await;
    let kept = &runs.as_array().unwrap()[0];
    assert_eq!(
        (&kept["name"], &kept["state"]),
        (&json!(name), &json!("failed"))
    );
    assert_eq!(
        (&kept["exit_code"], &kept["command"]),
        (&json!(7), &json!("echo $SECRET"))
    );
    let stop = format!("/apps/shop/dynos/{name}/actions/stop");
    platform
        .rig
        .call(&alice, "POST", &stop, Value::Null)
        .await
        .expect(202);
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    platform.settled("shop", |dynos| dynos.len() == 1).await;
}

#[tokio::test]
async fn bad_one_off_pods_are_refused() {
    let platform = Platform::start().await;
    platform.rig.app("shop").await;
    let alice = platform.rig.alice.clone();
    let run = async |body: Value| {
        platform
            .rig
            .call(&alice, "POST", "/apps/shop/dynos", body)
            .await
            .expect(422)["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(
        run(json!({ "command": "ls" }))
            .await
            .contains("no release to run")
    );
    platform.rig.release("shop").await;
    for (body, message) in [
        (json!({ "command": " " }), "1 to 131071 bytes"),
        (json!({ "command": "a\u{0}b" }), "no NUL character"),
        (
            json!({ "command": "ls", "time_to_live": 0 }),
            "1 to 86400 seconds",
        ),
        (
            json!({ "command": "ls", "time_to_live": 90_000 }),
            "1 to 86400 seconds",
        ),
        (json!({ "command": "ls", "size": "huge" }), "find that size"),
        (
            json!({ "command": "ls", "env": { "PORT": "1" } }),
            "PORT is set by Fairway",
        ),
    ] {
        let answer = run(body.clone()).await;
        assert!(answer.contains(message), "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_restart_replaces_and_never_gaps() {
    let mut platform = Platform::with_live_app("shop").await;
    let old = platform.pod("web.1 v1");
    let alice = platform.rig.alice.clone();
    platform
        .rig
        .call(&alice, "DELETE", "/apps/shop/dynos/web", Value::Null)
        .await
        .expect(202);
    let plan = platform.orders(|plan| plan.pods.len() == 2).await;
    let fresh = plan.pods.iter().find(|pod| pod.id != old).unwrap().id;
    assert_eq!(platform.routed("shop.apps.test").await, ["10.9.0.1"]);
    platform
        .settled("shop", |dynos| {
            dynos.iter().filter(|it| it["superseded"] == true).count() == 1
        })
        .await;
    platform.say_id(fresh, "ready").await;
    platform
        .table(|endpoints| endpoints.len() == 1 && endpoints[0].pod == fresh)
        .await;
    platform
        .orders(|plan| plan.pods.len() == 1 && plan.pods[0].id == fresh)
        .await;
    let missing = platform
        .rig
        .call(&alice, "DELETE", "/apps/shop/dynos/x.9", Value::Null)
        .await;
    missing.expect(404);
}

#[tokio::test]
async fn scaling_touches_no_pod_that_stays() {
    let mut platform = Platform::with_live_app("shop").await;
    let first = platform.pod("web.1 v1");
    platform.scale("shop", "web", 3).await;
    platform.orders(|plan| plan.pods.len() == 3).await;
    platform.say("web.2", "ready").await;
    platform.say("web.3", "ready").await;
    platform.table(|endpoints| endpoints.len() == 3).await;
    platform.scale("shop", "web", 1).await;
    platform
        .table(|endpoints| endpoints.len() == 1 && endpoints[0].pod == first)
        .await;
    platform
        .orders(|plan| plan.pods.len() == 1 && plan.pods[0].id == first)
        .await;
    platform.scale("shop", "web", 0).await;
    platform.table(|endpoints| endpoints.is_empty()).await;
    platform.orders(|plan| plan.pods.is_empty()).await;
}

#[tokio::test]
async fn a_destroyed_app_leaves_no_pod_and_no_route() {
    let mut platform = Platform::with_live_app("shop").await;
    let alice = platform.rig.alice.clone();
    platform
        .rig
        .call(&alice, "DELETE", "/apps/shop", Value::Null)
        .await
        .expect(200);
    platform.orders(|plan| plan.pods.is_empty()).await;
    platform.no_route("shop.apps.test").await;
}

#[tokio::test]
async fn a_crash_of_a_serving_pod_is_told_and_leaves_the_table() {
    let mut platform = Platform::with_live_app("shop").await;
    platform.say("web.1", "crash").await;
    platform.table(|endpoints| endpoints.is_empty()).await;
    platform
        .settled("shop", |dynos| {
            dynos[0]["state"] == "crashed" && dynos[0]["reason"] == "exited with code 3"
        })
        .await;
    let events = platform
        .get("/apps/shop/events?type=exit&process=web")
        .await;
    assert_eq!(events[0]["kind"], "pod.crashed");
    assert_eq!(events[0]["cause"], json!({ "type": "exit", "code": 3 }));
    assert_eq!(events[0]["pod"], "web.1");
    platform.say("web.1", "ready").await;
    platform.table(|endpoints| endpoints.len() == 1).await;
    assert_eq!(
        platform.pods.len(),
        1,
        "the agent restarts, nobody replaces"
    );
    assert!(matches!(
        platform.pods.values().next().unwrap().phase,
        PodPhase::Running { ready: true }
    ));
}

#[tokio::test]
async fn an_evicted_pod_is_replaced_and_the_record_says_why() {
    let mut platform = Platform::with_live_app("shop").await;
    let evicted = platform.pod("web.1");
    platform.say("web.1", "evicted").await;
    let plan = platform
        .orders(|plan| plan.pods.iter().any(|pod| pod.id != evicted))
        .await;
    let fresh = plan.pods.iter().find(|pod| pod.id != evicted).unwrap();
    assert_eq!(
        (fresh.name.as_str(), fresh.disk_bytes),
        ("web.1", Some(4 << 30))
    );
    let fresh = fresh.id;
    platform.say_id(fresh, "ready").await;
    let events = platform.get("/apps/shop/events").await;
    let event = events.as_array().unwrap().iter();
    let event = event
        .clone()
        .find(|it| it["kind"] == "pod.evicted")
        .unwrap();
    assert_eq!(
        event["message"],
        "web.1 was evicted, since its disk is full"
    );
}
