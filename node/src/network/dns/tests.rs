use hickory_proto::{
    op::Query,
    rr::{Name, RecordType},
};

use super::*;
use crate::network::census::tests::{SHOP, app, census, member};

fn question(name: &str) -> Message {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    question
}

const PORTS_TRIED_MAX: u32 = 100;

/// A server on loopback, where this test is the pod.
async fn server(pods: u8) -> (Server, watch::Sender<Arc<Census>>) {
    let mut all = vec![member("web.1", [127, 0, 0, 1], true, true)];
    all.extend((1..pods).map(|n| member(&format!("web.{}", n + 1), [10, 64, 9, n], true, false)));
    let census = watch::Sender::new(Arc::new(census(vec![(SHOP, app("shop", &[], all))])));
    // A port that is free for datagrams may be taken for connections.
    for _ in 0..PORTS_TRIED_MAX {
        let server = Server::start_at(([127, 0, 0, 1], 0).into(), census.subscribe()).await;
        if let Ok(server) = server {
            return (server, census);
        }
    }
    panic!("no port is free for both datagrams and connections");
}

async fn ask_datagram(server: &Server, bytes: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, server.address).await.unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

#[tokio::test]
async fn names_are_served_by_datagram_and_by_connection() {
    let (server, _census) = server(1).await;
    let question = question("web.shop.internal.");
    let reply = ask_datagram(&server, &question.to_vec().unwrap()).await;
    assert_eq!(reply.metadata.id, question.metadata.id);
    assert_eq!(reply.answers.len(), 1);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_available);

    let mut connection = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..2 {
        write_message(&mut connection, &question.to_vec().unwrap())
            .await
            .unwrap();
        let reply = Message::from_vec(&read_message(&mut connection).await.unwrap()).unwrap();
        assert_eq!(reply.answers.len(), 1);
    }
}

#[tokio::test]
async fn an_answer_too_large_for_a_datagram_says_so() {
    let (server, _census) = server(33).await;
    let question = question("web.shop.internal.").to_vec().unwrap();
    let reply = ask_datagram(&server, &question).await;
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    write_message(&mut connection, &question).await.unwrap();
    let reply = Message::from_vec(&read_message(&mut connection).await.unwrap()).unwrap();
    assert_eq!(reply.answers.len(), 32);
}

#[tokio::test]
async fn nonsense_disturbs_nobody() {
    let (server, _census) = server(1).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let question = question("web.shop.internal.").to_vec().unwrap();
    let mut answer = question.clone();
    answer[2] |= 0x80;
    for bytes in [&b""[..], b"\0", &[0xff; 600], &answer] {
        socket.send_to(bytes, server.address).await.unwrap();
    }
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(b"\x00\x05hello").await.unwrap();
    assert!(
        read_message(&mut connection).await.is_err(),
        "it was closed"
    );
    assert_eq!(ask_datagram(&server, &question).await.answers.len(), 1);
    // No question at all.
    let empty = Message::query().to_vec().unwrap();
    let reply = ask_datagram(&server, &empty).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NotImp);
}

#[tokio::test]
async fn a_pod_that_asks_before_it_is_known_is_waited_for() {
    let (server, known) = server(1).await;
    let whole = known.borrow().clone();
    known.send_replace(Arc::default());
    let question = question("web.shop.internal.").to_vec().unwrap();
    let (reply, ()) = tokio::join!(ask_datagram(&server, &question), async {
        tokio::task::yield_now().await;
        known.send_replace(whole);
    });
    assert_eq!(reply.answers.len(), 1);
}
