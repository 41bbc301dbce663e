//! Lists in pages, by the `Range` header.

use axum::{
    body::Body,
    http::{Request, header},
};
use serde_json::json;

use crate::testing::{Reply, Rig};

async fn list(rig: &Rig, path: &str, range: &str) -> Reply {
    let request = Request::builder()
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {}", rig.alice))
        .header(header::RANGE, range);
    rig.send(request.body(Body::empty()).unwrap()).await
}

fn column<'a>(reply: &'a serde_json::Value, name: &str) -> Vec<&'a serde_json::Value> {
    reply
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item[name])
        .collect()
}

fn text<'a>(reply: &'a Reply, header: &str) -> Option<&'a str> {
    reply
        .headers
        .get(header)
        .map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn pages_follow_one_another_until_the_end() {
    let rig = Rig::new().await;
    for name in ["delta", "alpha", "charlie", "bravo", "echo"] {
        rig.app(name).await;
    }
    let first = list(&rig, "/apps", "name ..; max=2").await;
    assert_eq!(column(&first.expect(206), "name"), ["alpha", "bravo"]);
    assert_eq!(
        text(&first, "content-range"),
        Some("name alpha..bravo; max=2")
    );
    let second = list(&rig, "/apps", text(&first, "next-range").unwrap()).await;
    assert_eq!(column(&second.expect(206), "name"), ["charlie", "delta"]);
    let third = list(&rig, "/apps", text(&second, "next-range").unwrap()).await;
    assert_eq!(column(&third.expect(200), "name"), ["echo"]);
    assert_eq!(text(&third, "next-range"), None);

    let down = list(&rig, "/apps", "name delta..bravo; order=desc").await;
    assert_eq!(
        column(&down.expect(200), "name"),
        ["delta", "charlie", "bravo"]
    );
    // As the heroku CLI asks for domains.
    let semicolon = list(&rig, "/apps", "name ..; max=1000;").await;
    assert_eq!(column(&semicolon.expect(200), "name").len(), 5);
    let by_id = list(&rig, "/apps", "id ..").await;
    assert_eq!(
        column(&by_id.expect(200), "name")[..2],
        ["delta", "alpha"],
        "as they were made"
    );
    let none = list(&rig, "/apps", "name x..z").await;
    assert_eq!(none.expect(200), json!([]));
}

#[tokio::test]
async fn releases_come_newest_first_and_by_number() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    for n in 0..12 {
        let set = json!({ "N": n.to_string() });
        rig.call(&rig.alice, "PATCH", "/apps/shop/config-vars", set)
            .await
            .expect(200);
    }
    let path = "/apps/shop/releases";
    let plain = rig.get(&rig.alice, path).await.expect(200);
    assert_eq!(column(&plain, "version")[..3], [12, 11, 10]);
    // As the heroku CLI asks.
    let page = list(&rig, path, "version ..; max=3, order=desc").await;
    assert_eq!(column(&page.expect(206), "version"), [12, 11, 10]);
    let next = list(&rig, path, text(&page, "next-range").unwrap()).await;
    assert_eq!(column(&next.expect(206), "version"), [9, 8, 7]);
    let middle = list(&rig, path, "version 9..11; order=asc").await;
    assert_eq!(column(&middle.expect(200), "version"), [9, 10, 11]);
}

#[tokio::test]
async fn a_bad_range_is_refused() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let table = [
        ("/apps", "owner ..", "id, name"),
        ("/apps", "id", "max"),
        ("/apps", "name a", "`..`"),
        ("/apps", "id ..; max=0", "1 to 1000"),
        ("/apps", "id ..; max=1001", "1 to 1000"),
        ("/apps", "id ..; max=many", "no number"),
        ("/apps", "id ..; sort=up", "not known"),
        ("/apps/shop/releases", "version a..", "no number"),
        (
            "/apps/shop/releases",
            "version; DROP TABLE apps",
            "not known",
        ),
        ("/apps/shop/events", "message ..", "ordered by position, id"),
    ];
    for (path, range, says) in table {
        let reply = list(&rig, path, range).await;
        if range == "id" {
            reply.expect(200);
            continue;
        }
        let error = reply.expect(400);
        assert!(
            error["message"].as_str().unwrap().contains(says),
            "{range}: {error}"
        );
    }
}
