//! The whole way of a push, and below it of everything else that the loop does: the real handlers,
//! database and loop, with an agent and a router that the test plays.

mod jobs;
mod machines;
mod platform;
mod pods;
mod rollouts;
mod sleep;
mod volumes;

use fairway_api::{build_orders::PushVerdict, pods::RestartPolicy};
use serde_json::json;

use self::platform::{Platform, names};

#[tokio::test]
async fn a_push_goes_from_the_result_to_the_verdict() {
    let mut platform = Platform::start().await;
    platform.rig.app("shop").await;
    let build = platform.push("shop").await;

    let plan = platform.orders(|plan| plan.pods.len() == 1).await;
    let web = &plan.pods[0];
    assert_eq!(
        (web.name.as_str(), web.release, web.port),
        ("web.1", 1, Some(8080))
    );
    assert_eq!(web.restart, RestartPolicy::Always);
    assert_eq!(web.env["PORT"].expose(), "8080");
    assert_eq!(web.env["DYNO"].expose(), "web.1");
    assert_eq!(plan.registry.host, "127.0.0.1:5000");
    assert!(
        platform.routed("shop.apps.test").await.is_empty(),
        "nothing is ready yet"
    );

    platform.say("web.1", "ready").await;
    let endpoints = platform.table(|endpoints| endpoints.len() == 1).await;
    assert_eq!(endpoints[0].address.to_string(), "10.9.0.1:8080");
    let verdict = platform.verdict(build).await;
    assert!(
        matches!(verdict, PushVerdict::Released { version: 1, .. }),
        "{verdict:?}"
    );

    let output = platform.output(build).await;
    for line in [
        "       Done: 11.7M\n",
        "-----> Launching...\n",
        "       Released v1\n       http://shop.apps.test:8080 deployed to Fairway\n",
        "\nVerifying deploy... done.\n",
    ] {
        assert!(output.contains(line), "{line:?} is missing in {output}");
    }
    let formation = platform.get("/apps/shop/formation").await;
    let counts: Vec<_> = formation
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["quantity"].clone())
        .collect();
    assert_eq!(counts, [json!(1), json!(0)], "web and worker");
    let release = platform.get("/apps/shop/releases/1").await;
    assert_eq!(
        (&release["status"], &release["current"]),
        (&json!("succeeded"), &json!(true))
    );
}

#[tokio::test]
async fn the_second_push_flips_all_types_at_once_and_then_stops_the_old_pods() {
    let mut platform = Platform::with_live_app("shop").await;
    platform.scale("shop", "worker", 1).await;
    platform
        .orders(|plan| names(plan) == ["web.1 v1", "worker.1 v1"])
        .await;
    platform.say("worker.1", "ready").await;

    let build = platform.push("shop").await;
    let both = ["web.1 v1", "web.1 v2", "worker.1 v1", "worker.1 v2"];
    platform.orders(|plan| names(plan) == both).await;
    platform.say("web.1 v2", "ready").await;
    // The worker is not up: the old release serves on.
    assert_eq!(platform.routed("shop.apps.test").await, ["10.9.0.1"]);
    platform.say("worker.1 v2", "ready").await;
    let fresh = platform.pod("web.1 v2");
    platform
        .table(|endpoints| endpoints.len() == 1 && endpoints[0].pod == fresh)
        .await;
    assert!(matches!(
        platform.verdict(build).await,
        PushVerdict::Released { version: 2, .. }
    ));
    platform
        .orders(|plan| names(plan) == ["web.1 v2", "worker.1 v2"])
        .await;
    platform.settled("shop", |dynos| dynos.len() == 2).await;
}

#[tokio::test]
async fn a_pod_with_an_open_request_is_not_stopped() {
    let mut platform = Platform::with_live_app("shop").await;
    let old = platform.pod("web.1 v1");
    let build = platform.push("shop").await;
    platform.orders(|plan| plan.pods.len() == 2).await;
    platform.draining.insert(old, 1);
    platform.say("web.1 v2", "ready").await;
    platform.table(|endpoints| endpoints[0].pod != old).await;
    // The push ends although the old pod still works.
    assert!(matches!(
        platform.verdict(build).await,
        PushVerdict::Released { .. }
    ));
    assert!(platform.newest_plan().pods.iter().any(|pod| pod.id == old));
    platform.draining.clear();
    platform.acknowledge().await;
    platform.orders(|plan| names(plan) == ["web.1 v2"]).await;
}

#[tokio::test]
async fn a_release_that_crashes_takes_only_itself_away() {
    let mut platform = Platform::with_live_app("shop").await;
    let build = platform.push("shop").await;
    platform.orders(|plan| plan.pods.len() == 2).await;
    platform.say("web.1 v2", "crash").await;
    let verdict = platform.verdict(build).await;
    let PushVerdict::Failed { reason } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(reason, "Release v2 failed: web.1 exited with code 3");
    let output = platform.output(build).await;
    for line in [
        " !     Release v2 failed: web.1 exited with code 3\n",
        " !       Traceback (most recent call last)\n",
        " !     v1 keeps running, nothing of it was changed.\n",
    ] {
        assert!(output.contains(line), "{line:?} is missing in {output}");
    }
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    assert_eq!(platform.routed("shop.apps.test").await, ["10.9.0.1"]);
    let release = platform.get("/apps/shop/releases/2").await;
    assert_eq!(release["status"], "failed");
    assert_eq!(release["failure"], "web.1 exited with code 3");
    assert_eq!(platform.get("/apps/shop/releases/1").await["current"], true);
    let events = platform.get("/apps/shop/events").await;
    let kinds: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["kind"].clone())
        .collect();
    assert!(kinds.contains(&json!("deployment.failed")), "{kinds:?}");
    assert!(kinds.contains(&json!("pod.crashed")), "{kinds:?}");
}

#[tokio::test]
async fn a_release_phase_runs_to_its_end_before_anything_else_starts() {
    let mut platform = Platform::start().await;
    platform.rig.app("shop").await;
    let build = platform.push_with("shop", &["web", "release"]).await;
    let plan = platform
        .orders(|plan| names(plan) == ["release.1 v1"])
        .await;
    assert_eq!(plan.pods[0].restart, RestartPolicy::Never);
    assert_eq!((plan.pods[0].port, &plan.pods[0].checks), (None, &None));
    platform.say("release.1", "exit:0").await;
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    platform.say("web.1", "ready").await;
    platform.table(|endpoints| endpoints.len() == 1).await;
    assert!(matches!(
        platform.verdict(build).await,
        PushVerdict::Released { .. }
    ));
    assert!(
        platform
            .output(build)
            .await
            .contains("Release command declared")
    );

    let build = platform.push_with("shop", &["web", "release"]).await;
    platform
        .orders(|plan| names(plan).contains(&"release.2 v2".to_owned()))
        .await;
    platform.say("release.2", "exit:1").await;
    let verdict = platform.verdict(build).await;
    let PushVerdict::Failed { reason } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(reason, "Release v2 failed: release.2 exited with code 1");
}

/// The controller is killed once in every state of a deployment; each time it goes on from what
/// the database has and comes to the same end.
#[tokio::test]
async fn a_deployment_survives_a_crash_in_every_state() {
    for crash in ["queued", "release-phase", "starting", "switching", "untold"] {
        let mut platform = Platform::start().await;
        platform.rig.app("shop").await;
        let may_crash = async |platform: &mut Platform, state: &str| {
            if state == crash {
                platform.crash_and_start().await;
            }
        };
        if crash == "queued" {
            platform.kill();
        }
        let build = platform.push_with("shop", &["web", "release"]).await;
        may_crash(&mut platform, "queued").await;
        platform
            .orders(|plan| names(plan) == ["release.1 v1"])
            .await;
        may_crash(&mut platform, "release-phase").await;
        platform.say("release.1", "exit:0").await;
        platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
        may_crash(&mut platform, "starting").await;
        let web = platform.pod("web.1 v1");
        platform.say("web.1", "ready").await;
        let generation = platform.table_until(|endpoints| endpoints.len() == 1).await;
        may_crash(&mut platform, "switching").await;
        if crash == "untold" {
            platform.kill();
            platform.end_untold().await;
            platform.crash_and_start().await;
        }
        platform.acknowledge().await;
        platform.say("web.1", "ready").await;
        let newest = platform.table_until(|endpoints| endpoints.len() == 1).await;
        assert!(
            newest >= generation,
            "{crash}: the table's generation went back"
        );
        platform.acknowledge().await;
        let verdict = platform.verdict(build).await;
        assert!(
            matches!(verdict, PushVerdict::Released { version: 1, .. }),
            "{crash}: {verdict:?}"
        );
        assert_eq!(platform.pod("web.1 v1"), web, "{crash}: the pod runs on");
        let output = platform.output(build).await;
        assert_eq!(
            output.matches("Released v1").count(),
            1,
            "{crash}: {output}"
        );
        platform.settled("shop", |dynos| dynos.len() == 1).await;
    }
}

#[tokio::test]
async fn a_config_change_is_a_deployment_with_the_same_image() {
    let mut platform = Platform::with_live_app("shop").await;
    let patch = json!({ "GREETING": "hello" });
    let alice = platform.rig.alice.clone();
    platform
        .rig
        .call(&alice, "PATCH", "/apps/shop/config-vars", patch)
        .await
        .expect(200);
    let plan = platform.orders(|plan| plan.pods.len() == 2).await;
    let fresh = plan.pods.iter().find(|pod| pod.release == 2).unwrap();
    assert_eq!(fresh.env["GREETING"].expose(), "hello");
    assert_eq!(fresh.image, plan.pods[0].image);
    platform.say("web.1 v2", "ready").await;
    platform
        .table(|endpoints| endpoints[0].pod == fresh.id)
        .await;
    platform.orders(|plan| names(plan) == ["web.1 v2"]).await;

    let rollback = json!({ "release": "v1" });
    platform
        .rig
        .call(&alice, "POST", "/apps/shop/releases", rollback)
        .await
        .expect(201);
    let plan = platform.orders(|plan| plan.pods.len() == 2).await;
    let back = plan.pods.iter().find(|pod| pod.release == 3).unwrap();
    assert!(
        !back.env.contains_key("GREETING"),
        "a rollback takes the config vars along"
    );
    assert_eq!(platform.get("/apps/shop/config-vars").await, json!({}));
}

#[tokio::test]
async fn a_bad_push_does_not_lose_config_vars_that_were_set_meanwhile() {
    let mut platform = Platform::with_live_app("shop").await;
    platform.push("shop").await;
    platform.orders(|plan| plan.pods.len() == 2).await;
    let (alice, patch) = (platform.rig.alice.clone(), json!({ "GREETING": "hello" }));
    platform
        .rig
        .call(&alice, "PATCH", "/apps/shop/config-vars", patch)
        .await
        .expect(200);
    platform.say("web.1 v2", "crash").await;
    // The vars go with the newer image first, since that push might have been good.
    platform
        .orders(|plan| names(plan) == ["web.1 v1", "web.1 v3"])
        .await;
    platform.say("web.1 v3", "crash").await;
    let plan = platform
        .orders(|plan| names(plan) == ["web.1 v1", "web.1 v4"])
        .await;
    assert_eq!(plan.pods[1].env["GREETING"].expose(), "hello");
    let release = async |version| {
        platform
            .get(&format!("/apps/shop/releases/{version}"))
            .await
    };
    let (first, fourth) = (release(1).await, release(4).await);
    assert_eq!(first["commit"], fourth["commit"]);
    assert_eq!(fourth["description"], "Set GREETING config var");
    // If they are bad themselves, that is the end of it.
    platform.say("web.1 v4", "crash").await;
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    assert_eq!(
        platform
            .get("/apps/shop/releases")
            .await
            .as_array()
            .unwrap()
            .len(),
        4
    );
}
