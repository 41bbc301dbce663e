//! Rules between apps and external names, over the API.

use serde_json::{Value, json};

use crate::testing::Rig;

#[tokio::test]
async fn the_owner_of_an_app_says_who_may_reach_it() {
    let rig = Rig::new().await;
    rig.app("database").await;
    rig.call(&rig.bob, "POST", "/apps", json!({ "name": "shop" }))
        .await
        .expect(201);
    let path = "/apps/database/network";
    let allow = async |token: &str, body: Value| rig.call(token, "POST", path, body).await;
    let rule = allow(&rig.alice, json!({ "from": "shop", "port": 5432 }))
        .await
        .expect(201);
    assert_eq!(rule["from"]["name"], "shop");
    assert_eq!(rule["to"]["name"], "database");
    // Saying it again says nothing new.
    let again = allow(&rig.alice, json!({ "from": "shop", "port": 5432 })).await;
    assert_eq!(again.expect(201)["id"], rule["id"]);
    // Who is let in sees it, and cannot open more.
    let seen = rig.get(&rig.bob, "/apps/shop/network").await.expect(200);
    assert_eq!(seen[0]["id"], rule["id"]);
    allow(&rig.bob, json!({ "from": "shop" })).await.expect(404);
    let own = format!("/apps/shop/network/{}", rule["id"].as_str().unwrap());
    rig.call(&rig.bob, "DELETE", &own, Value::Null)
        .await
        .expect(404);

    for wrong in [
        json!({ "from": "database" }),
        json!({ "from": "shop", "port": 0 }),
    ] {
        allow(&rig.alice, wrong).await.expect(422);
    }
    allow(&rig.alice, json!({ "from": "nobody" }))
        .await
        .expect(404);

    let deny = format!("{path}/{}", rule["id"].as_str().unwrap());
    rig.call(&rig.alice, "DELETE", &deny, Value::Null)
        .await
        .expect(200);
    rig.call(&rig.alice, "DELETE", &deny, Value::Null)
        .await
        .expect(404);
    assert_eq!(rig.get(&rig.alice, path).await.expect(200), json!([]));
}

#[tokio::test]
async fn rules_go_with_their_apps() {
    let rig = Rig::new().await;
    rig.app("database").await;
    rig.app("shop").await;
    let path = "/apps/database/network";
    rig.call(&rig.alice, "POST", path, json!({ "from": "shop" }))
        .await
        .expect(201);
    rig.call(&rig.alice, "DELETE", "/apps/shop", Value::Null)
        .await
        .expect(200);
    assert_eq!(rig.get(&rig.alice, path).await.expect(200), json!([]));
}

#[tokio::test]
async fn external_names_stand_for_one_host_or_addresses() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let set = async |name: &str, body: Value| {
        let path = format!("/apps/shop/external-names/{name}");
        rig.call(&rig.alice, "PUT", &path, body).await
    };
    let name = set("db", json!({ "hostname": "db.example.com" })).await;
    assert_eq!(name.expect(200)["dns"], "db.shop.internal");
    let moved = set("db", json!({ "addresses": ["192.0.2.7"] })).await;
    assert_eq!(moved.expect(200)["addresses"], json!(["192.0.2.7"]));
    for (name, body) in [
        ("db", json!({})),
        ("db", json!({ "addresses": [] })),
        (
            "db",
            json!({ "hostname": "a.example", "addresses": ["192.0.2.7"] }),
        ),
        ("d_b", json!({ "hostname": "a.example" })),
        ("db", json!({ "addresses": vec!["192.0.2.7"; 17] })),
    ] {
        set(name, body).await.expect(422);
    }
    let all = rig.get(&rig.alice, "/apps/shop/external-names").await;
    assert_eq!(all.expect(200).as_array().unwrap().len(), 1);
    rig.get(&rig.bob, "/apps/shop/external-names")
        .await
        .expect(404);
    let path = "/apps/shop/external-names/db";
    rig.call(&rig.alice, "DELETE", path, Value::Null)
        .await
        .expect(200);
    rig.call(&rig.alice, "DELETE", path, Value::Null)
        .await
        .expect(404);
}
