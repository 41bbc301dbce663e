//! The internal API as builders use it: git, the queue of builds, their output.

use fairway_api::build_orders::BuildResult;
use serde_json::{Value, json};

use super::scrubbed;
use crate::{
    store::{columns::now, pods},
    testing::{BUILDER, BUILDER_2, NODE, PASSWORD, ROUTER, Rig, built},
};

async fn authorize(rig: &Rig, credential: Value, app: &str, access: &str) -> crate::testing::Reply {
    let ask = json!({ "credential": credential, "app": app, "access": access, "from": null });
    rig.call(BUILDER, "POST", "/internal/git/authorize", ask)
        .await
}

#[tokio::test]
async fn git_clients_get_in_with_token_password_or_key() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let key = json!({ "public_key": include_str!("../../keys/ed25519.pub") });
    let key = rig
        .call(&rig.alice, "POST", "/account/keys", key)
        .await
        .expect(201);
    let basic = |user: &str, password: &str| json!({ "kind": "basic", "username": user, "password": password });
    let by_key = |fingerprint: &Value| json!({ "kind": "key", "fingerprint": fingerprint });
    let table = [
        (basic("whatever", &rig.alice), "shop", 200),
        (basic("alice@example.com", PASSWORD), "shop", 200),
        (basic("admin", &rig.admin), "shop", 200),
        (by_key(&key["fingerprint"]), "shop", 200),
        (basic("whatever", "fw_wrong"), "shop", 401),
        (basic("alice@example.com", "wrong"), "shop", 401),
        (by_key(&json!("SHA256:unknown")), "shop", 401),
        (basic("bob", &rig.bob), "shop", 404),
        (basic("alice", &rig.alice), "nope", 404),
    ];
    for (credential, app, status) in table {
        let reply = authorize(&rig, credential.clone(), app, "write").await;
        assert_eq!(
            reply.status.as_u16(),
            status,
            "{credential} {app}: {reply:?}"
        );
        if status != 200 {
            assert!(reply.json()["hint"].is_string(), "{reply:?}");
        }
    }
    let grant = authorize(&rig, basic("x", &rig.alice), "shop", "read")
        .await
        .expect(200);
    insta::assert_json_snapshot!("git-grant", scrubbed(grant));
    // A stranger cannot tell an app that exists from one that does not.
    let theirs = authorize(&rig, basic("bob", &rig.bob), "shop", "write")
        .await
        .text;
    let nobodys = authorize(&rig, basic("bob", &rig.bob), "shap", "write")
        .await
        .text;
    assert_eq!(theirs.replace("shop", "shap"), nobodys);
    // A removed key opens nothing. It can be named by its fingerprint too, slashes and all.
    let named = key["fingerprint"]
        .as_str()
        .unwrap()
        .replace('/', "%2F")
        .replace('+', "%2B");
    let path = format!("/account/keys/{named}");
    rig.call(&rig.alice, "DELETE", &path, Value::Null)
        .await
        .expect(200);
    authorize(&rig, by_key(&key["fingerprint"]), "shop", "read")
        .await
        .expect(401);
}

#[tokio::test]
async fn a_push_makes_an_app_only_where_that_is_wanted() {
    for create_on_push in [false, true] {
        let rig = Rig::with(|config| config.create_on_push = create_on_push).await;
        let token = json!({ "kind": "basic", "username": "", "password": rig.alice });
        authorize(&rig, token.clone(), "fresh", "read")
            .await
            .expect(404);
        let reply = authorize(&rig, token.clone(), "fresh", "write").await;
        if create_on_push {
            assert_eq!(reply.expect(200)["created"], true);
            let again = authorize(&rig, token, "fresh", "write").await.expect(200);
            assert_eq!(again["created"], false);
        } else {
            assert!(
                reply.expect(404)["hint"]
                    .as_str()
                    .unwrap()
                    .contains("app create fresh")
            );
        }
    }
}

#[tokio::test]
async fn a_build_goes_from_the_queue_to_a_release() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let vars = json!({ "BP_NODE": "22", "SECRET": "long enough", "SHORT": "no" });
    rig.call(&rig.alice, "PATCH", "/apps/shop/config-vars", vars)
        .await
        .expect(200);
    let queued = rig.queue("shop").await;
    assert_eq!(queued.waits_for, None);
    let order = rig.claim().await;
    assert_eq!(order.id, queued.id);
    insta::assert_json_snapshot!(
        "build-order",
        scrubbed(serde_json::to_value(&order).unwrap())
    );

    let path = format!("/internal/builds/{}", order.id);
    let lease = rig
        .call(BUILDER, "POST", &format!("{path}/heartbeat"), Value::Null)
        .await;
    assert_eq!(lease.expect(200), json!({ "cancelled": false }));
    // Somebody else's build is not there.
    for (method, end) in [("POST", "result"), ("GET", "output"), ("GET", "verdict")] {
        let body = json!({ "kind": "failed", "reason": "x" });
        rig.call(BUILDER_2, method, &format!("{path}/{end}"), body)
            .await
            .expect(404);
    }
    let lease = rig
        .call(BUILDER_2, "POST", &format!("{path}/heartbeat"), Value::Null)
        .await;
    assert_eq!(lease.expect(200), json!({ "cancelled": true }));

    let result = BuildResult::Succeeded(built(&order));
    rig.finish(&order, &result).await.expect(204);
    rig.finish(&order, &result).await.expect(204);
    let failed = BuildResult::Failed {
        reason: "no".into(),
    };
    rig.finish(&order, &failed).await.expect(409);
    let releases = rig.get(&rig.alice, "/apps/shop/releases").await.expect(200);
    assert_eq!(
        releases.as_array().unwrap().len(),
        2,
        "one of the config, one of the build"
    );
    assert_eq!(releases[0]["description"], "Deploy 1a2b3c4d");
}

#[tokio::test]
async fn a_failed_build_ends_its_push() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.queue("shop").await;
    let order = rig.claim().await;
    let failed = BuildResult::Failed {
        reason: "no buildpack fits".into(),
    };
    rig.finish(&order, &failed).await.expect(204);
    let verdict = rig
        .get(BUILDER, &format!("/internal/builds/{}/verdict", order.id))
        .await;
    assert_eq!(
        verdict.expect(200),
        json!({ "kind": "failed", "reason": "no buildpack fits" })
    );
    let build = rig
        .get(&rig.alice, &format!("/apps/shop/builds/{}", order.id))
        .await
        .expect(200);
    assert_eq!(
        (&build["status"], &build["phase"]),
        (&json!("failed"), &json!("failed"))
    );
    assert_eq!(build["failure"], "no buildpack fits");
    assert_eq!(
        rig.get(&rig.alice, "/apps/shop/releases").await.expect(200),
        json!([])
    );
}

#[tokio::test]
async fn a_build_is_only_queued_for_who_may_push() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let mut build = rig.new_build("shop").await;
    let bob = rig.get(&rig.bob, "/account").await.json();
    build["user"] = json!({ "id": bob["id"], "email": bob["email"] });
    rig.call(BUILDER, "POST", "/internal/builds", build)
        .await
        .expect(404);
    let build = rig.new_build("shop").await;
    rig.call(BUILDER_2, "POST", "/internal/builds", build)
        .await
        .expect(403);
}

/// Makes a pod of the app on the machine that has [`NODE`].
async fn bind_a_pod(rig: &Rig, app: &str) {
    rig.release(app).await;
    let run = json!({ "command": "sleep 1" });
    let path = format!("/apps/{app}/dynos");
    rig.call(&rig.alice, "POST", &path, run).await.expect(201);
    let mut tx = rig.state().store.write().await.unwrap();
    let row = pods::all(&mut tx).await.unwrap().remove(0);
    let mut bound = row.known(None, Default::default());
    bound.node = Some("one".parse().unwrap());
    pods::write(&mut tx, &[(row.app, &bound)], now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn log_lines_come_from_every_role_and_only_for_apps_that_exist() {
    let rig = Rig::new().await;
    let app = rig.app("shop").await;
    let other = rig.app("other").await;
    bind_a_pod(&rig, "shop").await;
    let line = |app: &Value, text: &str| {
        json!({ "app": app, "at": "2026-11-21T21:30:43.123456Z", "source": "app",
                "process": "web.1", "pod": null, "text": text })
    };
    let ghost = json!("0192f0c1-2222-7333-8444-555566667777");
    for token in [BUILDER, NODE, ROUTER] {
        let lines = json!([line(&app["id"], "hello"), line(&ghost, "boo")]);
        rig.call(token, "POST", "/internal/logs", lines)
            .await
            .expect(204);
    }
    // A machine speaks for its own pods only.
    let foreign = rig.call(
        NODE,
        "POST",
        "/internal/logs",
        json!([line(&other["id"], "x")]),
    );
    foreign.await.expect(403);
    let many: Vec<Value> = (0..1_001).map(|_| line(&app["id"], "x")).collect();
    rig.call(NODE, "POST", "/internal/logs", json!(many))
        .await
        .expect(422);
    let session = rig
        .call(&rig.alice, "POST", "/apps/shop/log-sessions", json!({}))
        .await;
    let url = session.expect(201)["logplex_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let text = rig
        .get("", url.strip_prefix("http://fairway.test:7000").unwrap())
        .await
        .text;
    let of_roles: Vec<&str> = text.lines().filter(|it| it.contains(" app[")).collect();
    let hello = "2026-11-21T21:30:43.123456+00:00 app[web.1]: hello";
    assert_eq!(of_roles, [hello; 3]);
    let folders = std::fs::read_dir(rig.dir.path().join("logs"))
        .unwrap()
        .count();
    assert_eq!(folders, 1, "no log for what does not exist");
}
