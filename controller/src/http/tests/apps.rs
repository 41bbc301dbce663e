//! What people do with apps, from beginning to end.

use fairway_api::{nodes::Capacity, sizes::Resources};
use serde_json::{Value, json};

use crate::{
    store::{columns::now, nodes},
    testing::Rig,
};

#[tokio::test]
async fn an_app_is_made_renamed_and_destroyed() {
    let rig = Rig::new().await;
    let alice = rig.alice.as_str();
    let app = rig.app("shop").await;
    assert_eq!(app["git_url"], "http://fairway.test:7000/shop.git");
    assert_eq!(app["git_ssh_url"], "ssh://git@fairway.test:2222/shop.git");
    assert_eq!(app["web_url"], "http://shop.apps.test:8080/");

    let patch = json!({ "name": "store", "maintenance": true, "deploy_branch": "production" });
    let app = rig
        .call(alice, "PATCH", "/apps/shop", patch)
        .await
        .expect(200);
    assert_eq!(
        (&app["name"], &app["maintenance"]),
        (&json!("store"), &json!(true))
    );
    assert_eq!(app["deploy_branch"], "production");
    let unset = json!({ "deploy_branch": null });
    let reset = rig.call(alice, "PATCH", "/apps/store", unset).await;
    assert_eq!(reset.expect(200)["deploy_branch"], Value::Null);
    rig.get(alice, "/apps/shop").await.expect(404);
    let by_id = format!("/apps/{}", app["id"].as_str().unwrap());
    assert_eq!(rig.get(alice, &by_id).await.expect(200)["name"], "store");
    let domains = rig.get(alice, "/apps/store/domains").await.expect(200);
    assert_eq!(domains[0]["hostname"], "store.apps.test");

    rig.release("store").await;
    rig.call(alice, "DELETE", "/apps/store", Value::Null)
        .await
        .expect(200);
    rig.get(alice, &by_id).await.expect(404);
    assert_eq!(rig.get(alice, "/apps").await.expect(200), json!([]));
    let left = std::fs::read_dir(rig.dir.path().join("builds"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "outputs of builds go with the app");
    // The name and the hostname are free again, also for others.
    rig.call(&rig.bob, "POST", "/apps", json!({ "name": "store" }))
        .await
        .expect(201);
}

#[tokio::test]
async fn an_app_without_a_name_gets_one() {
    let rig = Rig::new().await;
    let app = rig
        .call(&rig.alice, "POST", "/apps", Value::Null)
        .await
        .expect(201);
    let name = app["name"].as_str().unwrap();
    assert_eq!(name.split('-').count(), 3, "{name}");
    rig.get(&rig.alice, &format!("/apps/{name}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn apps_are_listed_by_owner() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let named = json!({ "name": "other" });
    rig.call(&rig.bob, "POST", "/apps", named).await.expect(201);
    let names = async |token: &str, user: &str| {
        let reply = rig.get(token, &format!("/users/{user}/apps")).await;
        let apps = reply.expect(200);
        let apps = apps.as_array().unwrap();
        let names = apps
            .iter()
            .map(|app| app["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&rig.alice, "~").await, ["shop"]);
    assert_eq!(names(&rig.alice, "alice@example.com").await, ["shop"]);
    assert_eq!(names(&rig.admin, "~").await, [""; 0]);
    assert_eq!(names(&rig.admin, "bob@example.com").await, ["other"]);
    for other in ["bob@example.com", "nobody@example.com"] {
        rig.get(&rig.alice, &format!("/users/{other}/apps"))
            .await
            .expect(404);
    }
}

#[tokio::test]
async fn config_vars_change_in_releases_and_only_when_they_change() {
    let rig = Rig::new().await;
    let alice = rig.alice.as_str();
    rig.app("shop").await;
    let path = "/apps/shop/config-vars";
    let patch = |body| rig.call(alice, "PATCH", path, body);
    let versions = || async {
        let releases = rig.get(alice, "/apps/shop/releases").await.expect(200);
        let list = releases.as_array().unwrap().clone();
        list.iter()
            .map(|release| release["description"].as_str().unwrap().to_owned())
            .collect()
    };

    assert_eq!(rig.get(alice, path).await.expect(200), json!({}));
    patch(json!({ "A": "1", "B": "2" })).await.expect(200);
    patch(json!({ "A": "1" })).await.expect(200);
    patch(json!({ "GONE": null })).await.expect(200);
    patch(json!({})).await.expect(200);
    let after = patch(json!({ "A": null, "C": "" })).await.expect(200);
    assert_eq!(after, json!({ "B": "2", "C": "" }));
    let described: Vec<String> = versions().await;
    assert_eq!(
        described,
        [
            "Set C config var, unset A config var",
            "Set A, B config vars"
        ]
    );
    let first = rig
        .get(alice, "/apps/shop/releases/v1/config-vars")
        .await
        .expect(200);
    assert_eq!(first, json!({ "A": "1", "B": "2" }));
    let current = rig.get(alice, "/apps/shop/releases/2").await.expect(200);
    assert_eq!(
        (&current["current"], &current["status"]),
        (&json!(true), &json!("succeeded"))
    );
    assert_eq!(
        current["image"],
        Value::Null,
        "never pushed, so nothing runs"
    );
}

#[tokio::test]
async fn values_stand_nowhere_in_the_database_in_the_clear() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let set = json!({ "API_KEY": "a-value-nobody-may-find" });
    rig.call(&rig.alice, "PATCH", "/apps/shop/config-vars", set)
        .await
        .expect(200);
    for entry in std::fs::read_dir(rig.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(
                !text.contains("a-value-nobody-may-find"),
                "{}",
                path.display()
            );
            assert!(
                !text.contains(rig.alice.as_str()),
                "a token in {}",
                path.display()
            );
        }
    }
}

#[tokio::test]
async fn scaling_is_all_or_nothing() {
    let rig = Rig::new().await;
    let alice = rig.alice.as_str();
    rig.app("shop").await;
    rig.release("shop").await;
    let scale = |body| rig.call(alice, "PATCH", "/apps/shop/formation", body);
    let quantities = || async {
        let formation = rig.get(alice, "/apps/shop/formation").await.expect(200);
        let rows = formation.as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["quantity"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let both = json!({ "updates": [
        { "type": "web", "quantity": 3, "size": "Standard-2X" }, { "type": "worker", "quantity": 2 },
    ]});
    let formation = scale(both).await.expect(200);
    assert_eq!(formation[0]["size"], "standard-2x");
    assert_eq!(formation[0]["command"], "serve");
    assert_eq!(quantities().await, [3, 2]);

    let half = json!({ "updates": [
        { "type": "web", "quantity": 9 }, { "type": "clock", "quantity": 1 },
    ]});
    let error = scale(half).await.expect(404);
    assert!(
        error["hint"].as_str().unwrap().contains("web, worker"),
        "{error}"
    );
    assert_eq!(quantities().await, [3, 2], "the good half was undone");

    let one = json!({ "quantity": 0 });
    rig.call(alice, "PATCH", "/apps/shop/formation/worker", one)
        .await
        .expect(200);
    assert_eq!(quantities().await, [3, 0]);

    // As the heroku CLI sends it.
    for (text, expect) in [("2", [2, 0]), ("+3", [5, 0]), ("-5", [0, 0])] {
        let step = json!({ "updates": [{ "type": "web", "quantity": text }] });
        scale(step).await.expect(200);
        assert_eq!(quantities().await, expect, "{text}");
    }
    for (text, says) in [
        ("-1", "web has 0"),
        ("+1001", "at most 1000"),
        ("x", "\"+1\""),
    ] {
        let step = json!({ "updates": [{ "type": "web", "quantity": text }] });
        let error = scale(step).await.expect(422);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says), "{text}: {message}");
    }
}

#[tokio::test]
async fn a_rollback_is_a_new_release() {
    let rig = Rig::new().await;
    let alice = rig.alice.as_str();
    rig.app("shop").await;
    rig.release("shop").await;
    rig.release("shop").await;
    let body = json!({ "release": "v1" });
    let release = rig
        .call(alice, "POST", "/apps/shop/releases", body)
        .await
        .expect(201);
    assert_eq!(
        (&release["version"], &release["current"]),
        (&json!(3), &json!(false))
    );
    assert_eq!(release["description"], "Rollback to v1");
    let current = json!({ "release": "2" });
    rig.call(alice, "POST", "/apps/shop/releases", current)
        .await
        .expect(422);
}

#[tokio::test]
async fn hostnames_belong_to_one_app() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.call(&rig.bob, "POST", "/apps", json!({ "name": "other" }))
        .await
        .expect(201);
    let claim = |token: String, app: &'static str, hostname: &'static str| {
        let rig = &rig;
        async move {
            let body = json!({ "hostname": hostname });
            rig.call(&token, "POST", &format!("/apps/{app}/domains"), body)
                .await
        }
    };
    let domain = claim(rig.alice.clone(), "shop", "WWW.Example.com.")
        .await
        .expect(201);
    assert_eq!(domain["hostname"], "www.example.com");
    assert_eq!(domain["cname"], "shop.apps.test");
    for hostname in [
        "www.example.com",
        "shop.apps.test",
        "x.shop.apps.test",
        "apps.test",
    ] {
        let error = claim(rig.bob.clone(), "other", hostname).await.expect(409);
        assert!(!error.to_string().contains("alice"), "{error}");
    }
    let path = "/apps/shop/domains/WWW.example.com";
    rig.call(&rig.alice, "DELETE", path, Value::Null)
        .await
        .expect(200);
    claim(rig.bob.clone(), "other", "www.example.com")
        .await
        .expect(201);
    let built_in = "/apps/shop/domains/shop.apps.test";
    rig.call(&rig.alice, "DELETE", built_in, Value::Null)
        .await
        .expect(422);
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_revoked() {
    let rig = Rig::new().await;
    let made = rig
        .call(&rig.alice, "POST", "/oauth/authorizations", json!({}))
        .await
        .expect(201);
    let token = made["access_token"]["token"].as_str().unwrap().to_owned();
    rig.get(&token, "/account").await.expect(200);
    let list = rig.get(&token, "/oauth/authorizations").await.expect(200);
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert!(
        !list.to_string().contains(&token),
        "the secret is shown once"
    );
    rig.call(&token, "DELETE", "/oauth/authorizations/~", Value::Null)
        .await
        .expect(200);
    rig.get(&token, "/account").await.expect(401);
    rig.get(&rig.alice, "/account").await.expect(200);
    // Bob's tokens are not Alice's to revoke.
    let bobs = rig.get(&rig.bob, "/oauth/authorizations").await.expect(200);
    let path = format!("/oauth/authorizations/{}", bobs[0]["id"].as_str().unwrap());
    rig.call(&rig.alice, "DELETE", &path, Value::Null)
        .await
        .expect(404);
    rig.get(&rig.bob, "/account").await.expect(200);
}

#[tokio::test]
async fn a_size_larger_than_any_machine_is_refused_at_once() {
    let rig = Rig::new().await;
    let alice = rig.alice.as_str();
    rig.app("shop").await;
    rig.release("shop").await;
    let scale = |size: &str| {
        let web = json!({ "updates": [{ "type": "web", "quantity": 2, "size": size }] });
        rig.call(alice, "PATCH", "/apps/shop/formation", web)
    };
    scale("performance-l").await.expect(200);
    let capacity = Capacity {
        resources: Resources {
            memory_bytes: 1 << 30,
            cpu_millis: 2000,
            pids: 1 << 15,
        },
        disk_bytes: 1 << 40,
        disk_free_bytes: 1 << 39,
        architecture: "x86_64".into(),
        engine: "none".into(),
    };
    let mut tx = rig.controller.state().store.write().await.unwrap();
    let one = "one".parse().unwrap();
    nodes::report(&mut tx, &one, &capacity, None, now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let error = scale("performance-m").await.expect(422);
    assert_eq!(
        error["message"],
        "web (performance-m) fits on no machine, even an empty one: one: needs 2560 MiB of \
         memory, the machine has 1024 MiB."
    );
    scale("standard-2x").await.expect(200);
}

#[tokio::test]
async fn placements_go_before_what_app_json_says() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    let all = rig
        .get(&rig.alice, "/apps/shop/placement")
        .await
        .expect(200);
    let shown: Vec<_> = (all.as_array().unwrap().iter())
        .map(|row| {
            (
                row["type"].as_str().unwrap(),
                row["source"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(shown.contains(&("web", "default")) && shown.contains(&("one-off", "default")));
    let job = all
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["type"] == "job");
    assert_eq!(job.unwrap()["placement"], json!({ "priority": "low" }));

    let set = async |which: &str, placement: Value| {
        let path = format!("/apps/shop/placement/{which}");
        rig.call(&rig.alice, "PUT", &path, placement).await
    };
    let web = set("web", json!({ "require": ["disk=ssd"] }))
        .await
        .expect(200);
    assert_eq!(
        (&web["source"], &web["placement"]["require"][0]),
        (&json!("app"), &json!("disk=ssd"))
    );
    // What a job may do without is what it may be asked to.
    let job = set("job", json!({ "pool": "batch" })).await.expect(200);
    assert_eq!(
        job["placement"],
        json!({ "pool": "batch", "priority": "low" })
    );

    let unset = async || {
        rig.call(
            &rig.alice,
            "DELETE",
            "/apps/shop/placement/web",
            Value::Null,
        )
        .await
    };
    assert_eq!(unset().await.expect(200)["source"], "default");
    unset().await.expect(404);
    let kinds = rig.get(
        &rig.alice,
        "/apps/shop/events?type=placement.set,placement.unset",
    );
    assert_eq!(kinds.await.expect(200).as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn placements_that_no_machine_can_satisfy_are_refused() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    for (which, placement, status, says) in [
        (
            "web",
            json!({ "require": ["a=b", "!a"] }),
            422,
            "exclude each other",
        ),
        (
            "web",
            json!({ "spread": [{ "by": "zone", "max-skew": 0 }] }),
            422,
            "max-skew",
        ),
        ("web", json!({ "color": "red" }), 422, "Unknown field"),
        ("clock", json!({}), 404, "process type (clock)"),
    ] {
        let path = format!("/apps/shop/placement/{which}");
        let refused = rig.call(&rig.alice, "PUT", &path, placement).await;
        let refused = refused.expect(status);
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
}
