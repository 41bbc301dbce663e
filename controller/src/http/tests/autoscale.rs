//! Autoscaling's settings, what they forbid, and what was measured.

use serde_json::{Value, json};

use crate::testing::{NODE, ROUTER, Rig};

#[tokio::test]
async fn a_policy_is_set_shown_and_taken_off() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let path = "/apps/shop/autoscale/web";
    let put = async |path: &str, body: Value| rig.call(&rig.alice, "PUT", path, body).await;
    let policy = json!({ "min": 1, "max": 5, "cpu": 70 });
    let unknown = put(path, policy.clone()).await.expect(404);
    assert!(
        unknown["hint"].as_str().unwrap().contains("Push"),
        "{unknown}"
    );
    rig.release("shop").await;
    let set = put(path, policy.clone()).await.expect(200);
    assert_eq!(set["policy"]["down_after_secs"], 300);
    assert_eq!((&set["quantity"], &set["last"]), (&json!(1), &Value::Null));
    rig.get(&rig.bob, path).await.expect(404);
    for (path, body, says) in [
        (
            path,
            json!({ "min": 6, "max": 5, "cpu": 70 }),
            "min must not be above max",
        ),
        (path, json!({ "min": 1, "max": 5 }), "give a target"),
        (
            path,
            json!({ "min": 1, "max": 5, "cpux": 70 }),
            "Unknown field",
        ),
        (
            "/apps/shop/autoscale/worker",
            json!({ "min": 0, "max": 5, "cpu": 70 }),
            "give a queue",
        ),
        (
            "/apps/shop/autoscale/worker",
            json!({ "min": 1, "max": 5, "rps": 70 }),
            "only web",
        ),
    ] {
        let refused = put(path, body).await.expect(422);
        assert!(
            refused["message"].as_str().unwrap().contains(says),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn queues_and_windows_are_kept_and_their_mistakes_named() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    let path = "/apps/shop/autoscale/worker";
    let put = async |body: Value| rig.call(&rig.alice, "PUT", path, body).await;
    let policy = |queue: Value, zone: &str| {
        let window =
            json!({ "days": "mon-fri", "from": "08:00", "to": "18:00", "zone": zone, "min": 2 });
        json!({ "min": 0, "max": 5, "queue": queue, "windows": [window] })
    };
    let queue = json!({
        "url": "https://queue.example.com/jobs", "target": 20, "value": "/messages",
        "headers": { "Authorization": "QUEUE_TOKEN" },
    });
    let good = policy(queue.clone(), "Europe/Berlin");
    put(good.clone()).await.expect(200);
    let kept = rig.get(&rig.alice, path).await.expect(200);
    assert_eq!(kept["policy"]["queue"], good["queue"]);
    assert_eq!(kept["policy"]["windows"], good["windows"]);
    let with_user = json!({ "url": "https://me:word@queue.example.com/", "target": 20 });
    for (body, says) in [
        (policy(with_user, "UTC"), "config var"),
        (policy(queue, "Mars/Olympus"), "no time zone"),
        (
            policy(json!({ "url": "file:///etc/passwd", "target": 1 }), "UTC"),
            "http://",
        ),
    ] {
        let refused = put(body).await.expect(422);
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(says), "{refused}");
        assert!(!message.contains("word@"), "{refused}");
    }
    // What is left out of a policy is gone.
    put(json!({ "min": 1, "max": 5, "cpu": 70 }))
        .await
        .expect(200);
    let kept = rig.get(&rig.alice, path).await.expect(200);
    assert_eq!(
        (&kept["policy"]["queue"], &kept["policy"]["windows"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_count_by_hand_is_taken_within_the_bounds() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    let path = "/apps/shop/autoscale/web";
    let policy = json!({ "min": 1, "max": 5, "cpu": 70 });
    rig.call(&rig.alice, "PUT", path, policy).await.expect(200);
    let scale = async |quantity: Value| {
        let body = json!({ "quantity": quantity });
        rig.call(&rig.alice, "PATCH", "/apps/shop/formation/web", body)
            .await
    };
    scale(json!(5)).await.expect(200);
    let refused = scale(json!("+1")).await.expect(409);
    assert!(
        refused["hint"].as_str().unwrap().contains("--max 6"),
        "{refused}"
    );
    scale(json!(0)).await.expect(409);
    // Other types are not concerned.
    let body = json!({ "updates": [{ "type": "worker", "quantity": 9 }] });
    rig.call(&rig.alice, "PATCH", "/apps/shop/formation", body)
        .await
        .expect(200);

    rig.call(&rig.alice, "DELETE", path, Value::Null)
        .await
        .expect(200);
    rig.call(&rig.alice, "DELETE", path, Value::Null)
        .await
        .expect(404);
    assert_eq!(
        rig.get(&rig.alice, "/apps/shop/autoscale")
            .await
            .expect(200),
        json!([])
    );
    scale(json!(0)).await.expect(200);
}

#[tokio::test]
async fn what_was_measured_is_shown_and_what_was_not_is_null() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    let metrics = rig.get(&rig.alice, "/apps/shop/metrics").await.expect(200);
    let types: Vec<_> = (metrics.as_array().unwrap().iter())
        .map(|row| {
            (
                row["type"].clone(),
                row["rps"].clone(),
                row["cpu_percent"].clone(),
            )
        })
        .collect();
    assert_eq!(
        types,
        [
            (json!("web"), Value::Null, Value::Null),
            (json!("worker"), Value::Null, Value::Null),
        ]
    );
    // A router and an agent of a newer version may say more; an older one says less.
    let status = json!({ "router": "one", "generation": 0, "draining": {} });
    rig.call(ROUTER, "POST", "/internal/routers/one/status", status)
        .await
        .expect(200);
    rig.call(
        ROUTER,
        "POST",
        "/internal/routers/two/wake",
        json!({ "apps": [] }),
    )
    .await
    .expect(403);
    rig.call(
        NODE,
        "POST",
        "/internal/routers/one/wake",
        json!({ "apps": [] }),
    )
    .await
    .expect(403);
}
