//! Clients that come back to the pod that answered them before.

use fairway_api::routes::Route;

use crate::{
    edge::{Edge, shop},
    pods::{Pod, closed},
    wire::{Reply, ask},
};

/// `shop.localhost` with words for cookies.
fn sticky(pods: &[(u128, std::net::SocketAddr)]) -> Route {
    let mut route = shop(pods);
    for endpoint in &mut route.service.endpoints {
        endpoint.affinity = Some(format!("word-{}", endpoint.name));
    }
    route
}

async fn get(edge: &Edge, cookie: &str) -> Reply {
    let request =
        format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\nCookie: a=b; {cookie}\r\n\r\n");
    ask(edge.address, &request).await.unwrap()
}

fn cookie(reply: &Reply) -> String {
    let header = reply.header("set-cookie");
    assert!(
        header.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{header}"
    );
    header.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_stays_with_its_pod_until_that_is_gone() {
    let (one, two) = (Pod::start("one").await, Pod::start("two").await);
    let both = [(1, one.address), (2, two.address)];
    let edge = Edge::with(vec![sticky(&both)]).await;
    let first = get(&edge, "c=d").await;
    let mine = cookie(&first);
    for _ in 0..20 {
        let reply = get(&edge, &mine).await;
        assert_eq!((&reply.body, reply.header("set-cookie")), (&first.body, ""));
    }
    // Words that nobody gave out count for nothing.
    for wrong in ["fairway-affinity=", "fairway-affinity=word-web.3"] {
        assert!(cookie(&get(&edge, wrong).await).starts_with("fairway-affinity=word-web."));
    }
    // Its pod refuses connections for a moment: another answers, and keeps the client.
    let refusing = closed().await;
    let mut pods = both;
    let lost = usize::from(first.body == "two");
    pods[lost].1 = refusing;
    pods[lost].0 += 2;
    edge.install(2, vec![sticky(&pods)]).await;
    let moved = get(&edge, &mine).await;
    assert_eq!(moved.status, 200);
    assert_ne!(moved.body, first.body);
    assert_ne!(cookie(&moved), mine);
    // Without affinity there is no cookie.
    edge.install(3, vec![shop(&both)]).await;
    assert_eq!(get(&edge, &mine).await.header("set-cookie"), "");
}
