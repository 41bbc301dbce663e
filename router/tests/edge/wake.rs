//! Apps without pods that start when somebody asks for them.

use std::time::Duration;

use fairway_api::routes::{Route, RouterStatus, Traffic};
use futures_util::future::join_all;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::client_async;

use crate::{
    edge::{Edge, SHOP, WAIT, shop},
    pods::Pod,
    wire::{Wire, get},
};

/// `shop.localhost`, asleep.
fn asleep() -> Route {
    let mut route = shop(&[]);
    route.service.on_demand = true;
    route
}

fn held(report: &RouterStatus) -> u32 {
    report.traffic.get(&SHOP).map_or(0, |traffic| traffic.held)
}

#[tokio::test]
async fn requests_to_a_sleeping_app_wait_for_its_pod_and_none_is_lost() {
    let pod = Pod::start("woken").await;
    let edge = Edge::with(vec![asleep()]).await;
    let mut requests = join_all((0..50).map(|_| get(edge.address, "shop.localhost", "/")));
    let posted = "POST /sink HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\n\r\nhello";
    let mut post = Wire::connect(edge.address).await;
    post.send(posted).await;
    let socket = async {
        let stream = TcpStream::connect(edge.address).await.unwrap();
        client_async("ws://shop.localhost/ws", stream).await
    };
    tokio::pin!(socket);
    let (notices, none) = tokio::join!(
        // It asks at once, and again while they wait.
        edge.controller.asked_to_wake(2),
        timeout(Duration::from_millis(2_500), async {
            tokio::join!(&mut requests, &mut socket, post.head())
        }),
    );
    assert!(none.is_err(), "nobody is answered without a pod");
    assert!(notices.iter().all(|notice| notice.apps == [SHOP].into()));
    // A table that changes nothing for the app lets them wait on.
    edge.install(2, vec![asleep()]).await;
    let report = edge
        .controller
        .report("of all", |report| held(report) == 52);
    assert_eq!(report.await.traffic[&SHOP].open, 52);
    edge.install(3, vec![shop(&[(1, pod.address)])]).await;
    for reply in requests.await {
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "woken"),
            "{reply:?}"
        );
    }
    assert_eq!(post.reply().await.unwrap().body, "5");
    assert_eq!(socket.await.unwrap().1.status(), 101);
    assert_eq!(pod.seen(), 52);
    let report = edge.controller.report("of none held", |report| {
        report.generation == 3 && held(report) == 0 && report.traffic.contains_key(&SHOP)
    });
    let Traffic { tally, .. } = report.await.traffic[&SHOP].clone();
    assert_eq!((tally.requests, tally.errors), (52, 0));
}

#[tokio::test]
async fn only_so_many_may_wait_and_who_leaves_makes_room() {
    let edge = Edge::with(vec![asleep()]).await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut wire = Wire::connect(edge.address).await;
        wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        waiting.push(wire);
    }
    edge.controller
        .report("of a full queue", |report| held(report) == 100)
        .await;
    let refused = get(edge.address, "shop.localhost", "/").await;
    assert_eq!(
        (refused.status, refused.header("x-fairway-error")),
        (503, "wake-queue-full")
    );
    assert!(refused.body.contains("is starting"), "{}", refused.body);
    drop(waiting);
    edge.controller
        .report("of an empty queue", |report| {
            report.generation == 1 && held(report) == 0 && report.traffic.contains_key(&SHOP)
        })
        .await;
    let pod = Pod::start("woken").await;
    let request = get(edge.address, "shop.localhost", "/");
    let (reply, ()) = tokio::join!(timeout(WAIT, request), async {
        edge.controller.asked_to_wake(1).await;
        edge.install(2, vec![shop(&[(1, pod.address)])]).await;
    });
    assert_eq!(reply.unwrap().status, 200);
}
