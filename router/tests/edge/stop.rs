//! The router is told to stop.

use std::{num::NonZeroUsize, time::Duration};

use fairway_router::{Config, Router};
use tokio::net::TcpStream;

use crate::{
    controller::Controller,
    edge::{Edge, WAIT, shop},
    pods::Pod,
    wire::{Wire, get},
};

#[tokio::test]
async fn open_requests_are_finished_and_new_connections_refused() {
    let pod = Pod::start("pod").await;
    let mut edge = Edge::shop(&[(1, pod.address)]).await;
    let mut open = Wire::connect(edge.address).await;
    open.send("GET /held HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    let mut idle = Wire::connect(edge.address).await;
    idle.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    assert_eq!(idle.reply().await.unwrap().status, 200);
    let silent = Wire::connect(edge.address).await;
    pod.busy_with(1).await;
    edge.stop.cancel();
    // The idle one ends at once.
    assert_eq!(idle.rest().await, "");
    while TcpStream::connect(edge.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pod.hold.add_permits(1);
    let reply = open.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "released"));
    assert_eq!(reply.header("connection"), "close");
    edge.stopped().await;
    drop(silent);
}

#[tokio::test]
async fn what_does_not_end_is_closed_at_the_deadline() {
    let pod = Pod::start("pod").await;
    let deadline = Duration::from_millis(200);
    let mut edge = Edge::start(
        Controller::start().await,
        tempfile::tempdir().unwrap(),
        deadline,
    )
    .await;
    edge.install(1, vec![shop(&[(1, pod.address)])]).await;
    let mut open = Wire::connect(edge.address).await;
    open.send("GET /held HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    pod.busy_with(1).await;
    edge.stop.cancel();
    edge.stopped().await;
    assert_eq!(open.rest().await, "");
    pod.busy_with(0).await;
    edge.controller
        .line(&["code=shutdown", "path=\"/held\""])
        .await;
}

#[tokio::test]
async fn a_router_that_is_not_wanted_any_more_finishes_what_is_open_and_ends() {
    let pod = Pod::start("pod").await;
    let mut edge = Edge::shop(&[(1, pod.address)]).await;
    let mut open = Wire::connect(edge.address).await;
    open.send("GET /held HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    pod.busy_with(1).await;
    edge.controller.state.wants_none.send_replace(true);
    while TcpStream::connect(edge.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pod.hold.add_permits(1);
    assert_eq!(open.reply().await.unwrap().status, 200);
    let ended = tokio::time::timeout(WAIT, edge.running.take().unwrap());
    let ended = ended.await.expect("the router ends").unwrap();
    let error = format!("{:#}", ended.unwrap_err());
    assert!(error.contains("was removed from the cluster"), "{error}");
    let kept = edge.data.path().join("route-table.json");
    assert!(
        !kept.exists(),
        "its table would serve again after a restart"
    );
}

#[tokio::test]
async fn a_router_that_is_dropped_leaves_nothing_behind() {
    let pod = Pod::start("pod").await;
    let mut edge = Edge::shop(&[(1, pod.address)]).await;
    assert_eq!(get(edge.address, "shop.localhost", "/").await.status, 200);
    edge.running.take().unwrap().abort();
    let refused = async {
        while TcpStream::connect(edge.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT, refused)
        .await
        .expect("the threads end");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_says_so() {
    let edge = Edge::with(vec![]).await;
    let data = tempfile::tempdir().unwrap();
    let second = Router::bind(Config {
        name: "edge-2".parse().unwrap(),
        data_dir: data.path().to_owned(),
        client: edge.controller.client(),
        listen_http: edge.address,
        workers: NonZeroUsize::new(1),
        drain_deadline: WAIT,
    })
    .await;
    let error = format!("{:#}", second.unwrap_err());
    assert!(
        error.contains(&edge.address.to_string()) && error.contains("port"),
        "{error}"
    );
}

#[tokio::test]
async fn who_waits_in_the_queue_and_says_nothing_does_not_hold_up_the_end() {
    for _ in 0..5 {
        let pod = Pod::start("pod").await;
        let mut edge = Edge::shop(&[(1, pod.address)]).await;
        // Made in the kernel, and accepted before or after the stop is seen, as it happens.
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(TcpStream::connect(edge.address).await.unwrap());
        }
        edge.stop.cancel();
        edge.stopped().await;
    }
}
