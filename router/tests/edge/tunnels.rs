//! Connections that switch protocols.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{
    controller::Controller,
    edge::{Edge, pod, shop},
    pods::{Pod, read_head, scripted},
    wire::{Wire, get},
};

async fn web_socket(edge: &Edge) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (socket, answer) = client_async("ws://shop.localhost/ws", stream)
        .await
        .unwrap();
    assert_eq!(answer.status(), 101);
    socket
}

async fn echoes(socket: &mut WebSocketStream<TcpStream>, text: &str) -> bool {
    let sent = socket.send(Message::text(text)).await.is_ok();
    sent && matches!(socket.next().await, Some(Ok(message)) if message == Message::text(text))
}

#[tokio::test]
async fn a_web_socket_lives_through_a_swap_and_drains_when_it_closes() {
    let (old, new) = (Pod::start("old").await, Pod::start("new").await);
    let edge = Edge::shop(&[(1, old.address)]).await;
    let mut socket = web_socket(&edge).await;
    assert!(echoes(&mut socket, "hello").await);
    assert!(echoes(&mut socket, &"x".repeat(1_000_000)).await);
    edge.install(2, vec![shop(&[(2, new.address)])]).await;
    let report = edge
        .controller
        .report("of one", |report| report.generation == 2)
        .await;
    assert_eq!(report.draining, [(pod(1), 1)].into());
    assert!(echoes(&mut socket, "still here").await);
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    edge.controller
        .report("of none", |report| {
            report.generation == 2 && report.draining.is_empty()
        })
        .await;
    edge.controller
        .line(&["at=info", "path=\"/ws\"", "status=101", "dyno=web.1"])
        .await;
}

#[tokio::test]
async fn a_web_socket_is_closed_at_the_deadline_of_a_stop() {
    let pod = Pod::start("pod").await;
    let deadline = Duration::from_millis(200);
    let mut edge = Edge::start(
        Controller::start().await,
        tempfile::tempdir().unwrap(),
        deadline,
    )
    .await;
    edge.install(1, vec![shop(&[(1, pod.address)])]).await;
    let mut socket = web_socket(&edge).await;
    edge.stop.cancel();
    assert!(echoes(&mut socket, "until then").await);
    edge.stopped().await;
    assert!(!echoes(&mut socket, "after").await);
    edge.controller
        .line(&["code=shutdown", "path=\"/ws\"", "status=101"])
        .await;
}

#[tokio::test]
async fn any_protocol_may_be_switched_to_and_either_side_may_close_first() {
    let (address, _pod) = scripted(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(
            head.contains("connection: upgrade") && head.contains("upgrade: echo/1"),
            "{head}"
        );
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: echo/1\r\nX-A: 1\r\n\r\nfirst";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.write_all(b"bye").await.unwrap();
    })
    .await;
    let edge = Edge::shop(&[(1, address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    let head = "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: keep-alive, Upgrade\r\n\
                Upgrade: echo/1\r\n\r\n";
    wire.send(head).await;
    let reply = wire.head().await.unwrap();
    assert_eq!(
        (reply.status, reply.header("upgrade"), reply.header("x-a")),
        (101, "echo/1", "1")
    );
    let mut first = [0; 5];
    wire.stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"first");
    wire.send("data").await;
    // Half of it is closed; the other half still brings the answer.
    wire.stream.get_mut().shutdown().await.unwrap();
    assert_eq!(wire.rest().await, "databye");
    edge.controller
        .line(&["at=info", "status=101", "bytes=12"])
        .await;
}

#[tokio::test]
async fn a_pod_that_does_not_switch_just_answers() {
    let pod = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, pod.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    for _ in 0..2 {
        let head = "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\n\r\n";
        wire.send(head).await;
        let reply = wire.reply().await.unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, "pod"));
    }
    assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "pod");
}
