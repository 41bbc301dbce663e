//! Access lines reach the app's log.

use axum::http::StatusCode;
use fairway_api::logs::LogSource;

use crate::{
    edge::{Edge, SHOP},
    pods::Pod,
    wire::ask,
};

const REQUEST: &str = "GET /head?password=secret HTTP/1.1\r\nHost: shop.localhost\r\n\
                       X-Request-Id: my-id\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";

#[tokio::test]
async fn a_request_leaves_one_line_without_its_query() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let body = ask(edge.address, REQUEST).await.unwrap().body;
    let line = edge.controller.line(&["request_id=my-id"]).await;
    let begins = "at=info method=GET path=\"/head\" host=shop.localhost request_id=my-id \
                  fwd=\"9.9.9.9,127.0.0.1\" dyno=web.1 connect=";
    let ends = format!("ms status=200 bytes={} protocol=http", body.len());
    assert!(line.starts_with(begins) && line.ends_with(&ends), "{line}");
    let lines = edge.controller.state.lines.borrow().clone();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let line = &lines[0];
    assert_eq!(
        (line.app, line.source, line.process.as_str()),
        (SHOP, LogSource::Fairway, "router")
    );
    assert!(!line.text.contains("secret"));
}

#[tokio::test]
async fn lines_wait_for_a_controller_that_is_away() {
    let pod = Pod::start("pod").await;
    let mut edge = Edge::shop(&[(1, pod.address)]).await;
    edge.controller.go_away();
    assert_eq!(ask(edge.address, REQUEST).await.unwrap().status, 200);
    edge.controller.come_back();
    edge.controller.line(&["request_id=my-id"]).await;
}

#[tokio::test]
async fn a_failing_controller_gets_the_batch_again_and_a_refusing_one_does_not() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let refuse = |status| {
        edge.controller
            .state
            .refuse_logs
            .lock()
            .unwrap()
            .push_back(status)
    };
    refuse(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(edge.address, REQUEST).await.unwrap().status, 200);
    edge.controller.line(&["request_id=my-id"]).await;
}

#[tokio::test]
async fn the_last_lines_are_handed_in_before_the_router_ends() {
    let pod = Pod::start("pod").await;
    let mut edge = Edge::shop(&[(1, pod.address)]).await;
    assert_eq!(ask(edge.address, REQUEST).await.unwrap().status, 200);
    edge.stop.cancel();
    edge.stopped().await;
    assert_eq!(edge.controller.state.lines.borrow().len(), 1);
}
