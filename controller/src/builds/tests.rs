use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use fairway_api::{
    build_orders::{BUILD_LEASE_SECS, BuildResult, ClaimBuild, PushVerdict},
    ids::BuildId,
};
use serde_json::{Value, json};

use super::{
    OPEN_PER_APP_MAX, end_lost,
    leases::{BUILDER_GONE, LEASE},
    sweep_once,
};
use crate::{
    state::AppState,
    store::{self, columns::now},
    testing::{BUILDER, Rig, built},
};

/// True when builder `one` could start a build now. Asks the store, since a claim over HTTP waits.
async fn claimable(state: &AppState) -> Option<BuildId> {
    let mut tx = state.store.write().await.unwrap();
    let builder = "one".parse().unwrap();
    let found = store::builds::claim(&mut tx, &builder, now(), now())
        .await
        .unwrap();
    // Dropped without a commit: nothing was claimed.
    found.map(|build| build.id)
}

async fn end_push(rig: &Rig, build: BuildId) {
    let state = rig.state();
    let mut tx = state.store.write().await.unwrap();
    let verdict = PushVerdict::Failed {
        reason: "the release failed".into(),
    };
    store::builds::set_verdict(&mut tx, build, &verdict, now())
        .await
        .unwrap();
    for deployment in store::deployments::open(&mut tx).await.unwrap() {
        let ended = fairway_scheduler::snapshot::DeploymentState::Succeeded;
        store::deployments::advance(&mut tx, deployment.id, &ended, None, now())
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    state.push_ended(build);
}

async fn verdict(rig: &Rig, build: BuildId) -> Value {
    rig.get(BUILDER, &format!("/internal/builds/{build}/verdict"))
        .await
        .expect(200)
}

#[tokio::test]
async fn pushes_of_one_app_pass_one_at_a_time_and_in_order() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.app("blog").await;
    let first = rig.queue("shop").await;
    let second = rig.queue("shop").await;
    let third = rig.queue("shop").await;
    assert_eq!(first.waits_for, None);
    let waits = second.waits_for.unwrap();
    assert_eq!((waits.build, waits.commit.as_str()), (first.id, "1a2b3c4d"));
    assert_eq!(waits.user.email.as_str(), "alice@example.com");
    assert_eq!(third.waits_for.unwrap().build, second.id);

    let order = rig.claim().await;
    assert_eq!(order.id, first.id);
    assert_eq!(claimable(rig.state()).await, None, "the first still runs");
    let blog = rig.queue("blog").await;
    assert_eq!(
        claimable(rig.state()).await,
        Some(blog.id),
        "another app need not wait"
    );
    assert_eq!(rig.claim().await.id, blog.id);

    rig.finish(&order, &BuildResult::Succeeded(built(&order)))
        .await
        .expect(204);
    assert_eq!(
        claimable(rig.state()).await,
        None,
        "its release is on its way"
    );
    end_push(&rig, first.id).await;
    assert_eq!(rig.claim().await.id, second.id);
}

#[tokio::test]
async fn a_build_waits_for_a_deployment_without_a_push() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    let set = json!({ "A": "1" });
    rig.call(&rig.alice, "PATCH", "/apps/shop/config-vars", set)
        .await
        .expect(200);
    rig.queue("shop").await;
    assert_eq!(claimable(rig.state()).await, None);
}

#[tokio::test]
async fn a_builder_that_waits_is_woken() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let started = Instant::now();
    let ((), order) = tokio::join!(
        async {
            // Queued when the claim waits already: the join polls the claim first otherwise.
            tokio::task::yield_now().await;
            rig.queue("shop").await;
        },
        rig.claim(),
    );
    assert_eq!(order.app.name.as_str(), "shop");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "woken, not timed out"
    );
}

#[tokio::test]
async fn who_waits_for_a_verdict_is_woken() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.queue("shop").await;
    let order = rig.claim().await;
    let failed = BuildResult::Failed {
        reason: "it broke".into(),
    };
    let (told, reply) = tokio::join!(verdict(&rig, order.id), rig.finish(&order, &failed));
    reply.expect(204);
    assert_eq!(told, json!({ "kind": "failed", "reason": "it broke" }));
}

#[tokio::test]
async fn a_running_build_whose_builder_is_silent_fails() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.queue("shop").await;
    let next = rig.queue("shop").await;
    let order = rig.claim().await;
    let later = |more: Duration| Instant::now() + more;
    sweep_once(rig.state(), later(LEASE / 2)).await.unwrap();
    let path = format!("/internal/builds/{}/heartbeat", order.id);
    let lease = rig
        .call(BUILDER, "POST", &path, Value::Null)
        .await
        .expect(200);
    assert_eq!(
        lease,
        json!({ "cancelled": false }),
        "half a lease is no reason"
    );

    sweep_once(
        rig.state(),
        later(Duration::from_secs(BUILD_LEASE_SECS + 1)),
    )
    .await
    .unwrap();
    let reason = "the builder stopped answering; push again";
    assert_eq!(
        verdict(&rig, order.id).await,
        json!({ "kind": "failed", "reason": reason })
    );
    let lease = rig
        .call(BUILDER, "POST", &path, Value::Null)
        .await
        .expect(200);
    assert_eq!(
        lease,
        json!({ "cancelled": true }),
        "a builder that comes back is told"
    );
    let late = BuildResult::Succeeded(built(&order));
    rig.finish(&order, &late).await.expect(409);
    let build = rig
        .get(&rig.alice, &format!("/apps/shop/builds/{}", order.id))
        .await
        .expect(200);
    let output = build["output_stream_url"].as_str().unwrap();
    let text = rig
        .get("", output.strip_prefix("http://fairway.test:7000").unwrap())
        .await
        .text;
    assert!(
        text.contains(&format!(" !     Push failed: {reason}.")),
        "{text}"
    );
    assert_eq!(rig.claim().await.id, next.id, "the next one starts");
}

#[tokio::test]
async fn a_builder_that_starts_again_ends_what_it_ran() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.app("blog").await;
    rig.queue("shop").await;
    rig.queue("blog").await;
    let next = rig.queue("shop").await;
    let (lost, kept) = (rig.claim().await, rig.claim().await);

    // No lease is over: that it does not name the build is enough.
    assert_eq!(rig.claim_with(vec![kept.id]).await.id, next.id);
    let reason = "the build was interrupted by a restart of the builder; push again";
    assert_eq!(
        verdict(&rig, lost.id).await,
        json!({ "kind": "failed", "reason": reason })
    );
    rig.finish(&lost, &BuildResult::Succeeded(built(&lost)))
        .await
        .expect(409);
    // One that only connected again goes on.
    rig.finish(&kept, &BuildResult::Succeeded(built(&kept)))
        .await
        .expect(204);
}

#[tokio::test]
async fn a_claim_ends_no_other_builders_builds() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.queue("shop").await;
    let order = rig.claim().await;
    let ask = ClaimBuild {
        builder: "two".parse().unwrap(),
        in_hand: BTreeSet::new(),
    };
    end_lost(rig.state(), &ask).await.unwrap();
    rig.finish(&order, &BuildResult::Succeeded(built(&order)))
        .await
        .expect(204);
}

#[tokio::test]
async fn a_queued_build_whose_builder_is_gone_fails() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let build = rig.queue("shop").await;
    sweep_once(rig.state(), Instant::now() + BUILDER_GONE / 2)
        .await
        .unwrap();
    assert_eq!(claimable(rig.state()).await, Some(build.id));
    sweep_once(rig.state(), Instant::now() + BUILDER_GONE * 2)
        .await
        .unwrap();
    let told = verdict(&rig, build.id).await;
    assert!(
        told["reason"]
            .as_str()
            .unwrap()
            .starts_with("no builder took the build"),
        "{told}"
    );
}

#[tokio::test]
async fn a_cancelled_build_ends_at_once_whether_it_runs_or_waits() {
    for claimed in [false, true] {
        let rig = Rig::new().await;
        rig.app("shop").await;
        let build = rig.queue("shop").await.id;
        if claimed {
            rig.claim().await;
        }
        let path = format!("/apps/shop/builds/{build}");
        let cancelled = rig
            .call(&rig.alice, "DELETE", &path, Value::Null)
            .await
            .expect(200);
        assert_eq!(cancelled["phase"], "cancelled");
        assert_eq!(cancelled["status"], "failed");
        let reason = "the build was cancelled by alice@example.com";
        assert_eq!(
            verdict(&rig, build).await,
            json!({ "kind": "failed", "reason": reason })
        );
        let heartbeat = format!("/internal/builds/{build}/heartbeat");
        let lease = rig
            .call(BUILDER, "POST", &heartbeat, Value::Null)
            .await
            .expect(200);
        assert_eq!(lease, json!({ "cancelled": true }));
        rig.call(&rig.alice, "DELETE", &path, Value::Null)
            .await
            .expect(409);
        assert_eq!(claimable(rig.state()).await, None);
    }
}

#[tokio::test]
async fn a_destroyed_apps_build_is_called_off() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.queue("shop").await;
    let order = rig.claim().await;
    rig.call(&rig.alice, "DELETE", "/apps/shop", Value::Null)
        .await
        .expect(200);
    let heartbeat = format!("/internal/builds/{}/heartbeat", order.id);
    let lease = rig
        .call(BUILDER, "POST", &heartbeat, Value::Null)
        .await
        .expect(200);
    assert_eq!(lease, json!({ "cancelled": true }));
    rig.finish(&order, &BuildResult::Succeeded(built(&order)))
        .await
        .expect(404);
}

#[tokio::test]
async fn a_queue_has_an_end() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    for _ in 0..OPEN_PER_APP_MAX {
        rig.queue("shop").await;
    }
    let one_more = rig.new_build("shop").await;
    let error = rig
        .call(BUILDER, "POST", "/internal/builds", one_more)
        .await
        .expect(409);
    assert!(
        error["hint"].as_str().unwrap().contains("cancel"),
        "{error}"
    );
}

#[tokio::test]
async fn a_controller_that_starts_again_goes_on_with_a_running_build() {
    let mut rig = Rig::new().await;
    rig.app("shop").await;
    rig.queue("shop").await;
    let order = rig.claim().await;
    rig.restart().await;
    sweep_once(rig.state(), Instant::now() + LEASE / 2)
        .await
        .unwrap();
    let heartbeat = format!("/internal/builds/{}/heartbeat", order.id);
    let lease = rig
        .call(BUILDER, "POST", &heartbeat, Value::Null)
        .await
        .expect(200);
    assert_eq!(
        lease,
        json!({ "cancelled": false }),
        "it has a whole lease to be heard of"
    );
    rig.finish(&order, &BuildResult::Succeeded(built(&order)))
        .await
        .expect(204);
}
