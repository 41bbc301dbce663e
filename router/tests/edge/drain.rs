//! Tables change while requests run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fairway_api::routes::{RouteTable, RouterStatus, RoutesDigest};
use tokio::sync::Notify;

use crate::{
    controller::Controller,
    edge::{Edge, WAIT, pod, shop},
    pods::{Pod, read_head, scripted, write_answer},
    wire::{Wire, get},
};

#[tokio::test]
async fn a_pod_that_left_is_reported_until_its_last_request_ended() {
    let (old, new) = (Pod::start("old").await, Pod::start("new").await);
    let edge = Edge::shop(&[(1, old.address)]).await;
    let mut wires = Vec::new();
    for count in 1..=2 {
        let mut wire = Wire::connect(edge.address).await;
        wire.send("GET /held HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        old.busy_with(count).await;
        wires.push(wire);
    }
    edge.install(2, vec![shop(&[(2, new.address)])]).await;
    let report = edge
        .controller
        .report("of two", |report| report.generation == 2)
        .await;
    assert_eq!(report.draining, [(pod(1), 2)].into());
    // New requests go to the new pod, while the old ones go on.
    assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "new");
    old.hold.add_permits(2);
    for wire in &mut wires {
        assert_eq!(wire.reply().await.unwrap().body, "released");
    }
    // Sooner than the heartbeat would say it.
    let drained = edge.controller.report("of none", |report| {
        report.generation == 2 && report.draining.is_empty()
    });
    tokio::time::timeout(Duration::from_secs(4), drained)
        .await
        .expect("a report at once");
}

#[tokio::test]
async fn a_client_that_leaves_counts_no_longer() {
    let (old, new) = (Pod::start("old").await, Pod::start("new").await);
    let edge = Edge::shop(&[(1, old.address)]).await;
    let mut wire = Wire::connect(edge.address).await;
    wire.send("GET /held HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
        .await;
    old.busy_with(1).await;
    edge.install(2, vec![shop(&[(2, new.address)])]).await;
    edge.controller
        .report("of one", |report| report.draining.len() == 1)
        .await;
    drop(wire);
    edge.controller
        .report("of none", |report| {
            report.generation == 2 && report.draining.is_empty()
        })
        .await;
}

/// A good server ends when its connections have; it must not wait for ours.
#[tokio::test]
async fn connections_to_a_pod_that_left_are_not_kept() {
    let new = Pod::start("new").await;
    for held in [false, true] {
        let [asked, go, closed] = [(); 3].map(|()| Arc::new(Notify::new()));
        let of_pod = [asked.clone(), go.clone(), closed.clone()];
        let (old, _pod) = scripted(move |_, mut stream| {
            let [asked, go, closed] = of_pod.clone();
            async move {
                read_head(&mut stream).await;
                asked.notify_one();
                go.notified().await;
                write_answer(&mut stream, "old").await;
                assert_eq!(read_head(&mut stream).await, "", "no second request");
                closed.notify_one();
            }
        })
        .await;
        let edge = Edge::shop(&[(1, old)]).await;
        let mut wire = Wire::connect(edge.address).await;
        wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
            .await;
        asked.notified().await;
        // The answer ends before the pod leaves the table, or after.
        if !held {
            go.notify_one();
            assert_eq!(wire.reply().await.unwrap().body, "old");
        }
        edge.install(2, vec![shop(&[(2, new.address)])]).await;
        if held {
            go.notify_one();
            assert_eq!(wire.reply().await.unwrap().body, "old");
        }
        tokio::time::timeout(Duration::from_secs(4), closed.notified())
            .await
            .expect("a close");
    }
}

#[tokio::test]
async fn an_older_table_is_refused() {
    let (one, two) = (Pod::start("one").await, Pod::start("two").await);
    let edge = Edge::shop(&[(1, one.address)]).await;
    edge.install(7, vec![shop(&[(2, two.address)])]).await;
    // A controller that was set back may answer the long poll with what it has.
    edge.controller.state.ignores_after.store(true, SeqCst);
    edge.controller.state.table.send_replace(RouteTable {
        generation: 3,
        routes: vec![shop(&[(1, one.address)])],
    });
    edge.controller.polled(2).await;
    assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "two");
    edge.install(8, vec![shop(&[(1, one.address)])]).await;
    assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "one");
}

#[tokio::test]
async fn changes_are_taken_alone_and_wrong_ones_answered_by_everything() {
    let (one, two) = (Pod::start("one").await, Pod::start("two").await);
    let edge = Edge::shop(&[(1, one.address)]).await;
    let route = serde_json::to_value(shop(&[(2, two.address)])).unwrap();
    let right = RoutesDigest::of(&serde_json::value::to_raw_value(&route).unwrap());
    let tell = |generation: u64, since: u64, digest: RoutesDigest| {
        let changes = serde_json::json!({
            "generation": generation, "since": since, "routes": [route], "digest": digest,
        });
        edge.controller.state.changes.send_replace(Some(changes));
    };
    tell(2, 1, right);
    let wanted = |generation| move |report: &RouterStatus| report.generation == generation;
    edge.controller.report("of the changes", wanted(2)).await;
    assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "two");
    // Changes that do not fit what it has, and changes that lead elsewhere: it asks for everything.
    for (generation, since, digest) in [(4, 3, right), (6, 4, RoutesDigest::default())] {
        edge.controller.state.table.send_replace(RouteTable {
            generation: 1,
            routes: vec![],
        });
        tell(generation, since, digest);
        edge.controller.polled(1).await;
        edge.install(generation, vec![shop(&[(1, one.address)])])
            .await;
        assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "one");
    }
}

#[tokio::test]
async fn the_last_table_serves_while_the_controller_is_away() {
    let pod = Pod::start("pod").await;
    let mut edge = Edge::shop(&[(1, pod.address)]).await;
    // A second request makes sure that the table was kept: it comes after the acknowledgement.
    let file = edge.data.path().join("route-table.json");
    let kept = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT, kept)
        .await
        .expect("the table is kept");
    edge.controller.go_away();
    assert_eq!(get(edge.address, "shop.localhost", "/").await.body, "pod");
    edge.stop.cancel();
    edge.stopped().await;
    let controller = std::mem::replace(&mut edge.controller, Controller::away().await);
    let data = std::mem::replace(&mut edge.data, tempfile::tempdir().unwrap());
    let mut again = Edge::start(controller, data, WAIT).await;
    assert_eq!(get(again.address, "shop.localhost", "/").await.body, "pod");
    // Back again, the controller hears which table is in use and gives the next.
    again.controller.state.reports.send_replace(Vec::new());
    again.controller.come_back();
    again
        .controller
        .report("of the kept table", |report| report.generation == 1)
        .await;
    again.install(2, vec![]).await;
    assert_eq!(get(again.address, "shop.localhost", "/").await.status, 404);
}

/// One client: requests on kept connections until told to stop. Any answer but 200, and any
/// connection that ends without one, is a lost request.
async fn client(edge: std::net::SocketAddr, done: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    while !done.load(SeqCst) {
        let mut wire = Wire::connect(edge).await;
        for _ in 0..50 {
            wire.send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
                .await;
            let reply = wire.reply().await.expect("an answer to every request");
            assert_eq!(reply.status, 200, "{reply:?}");
            answered.fetch_add(1, SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_tables_swap_and_pods_stop() {
    const ROUNDS: u64 = 30;
    let first = Pod::start("pod").await;
    let edge = Edge::shop(&[(1, first.address)]).await;
    let (done, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(client(edge.address, done.clone(), answered.clone())))
        .collect();
    let mut running = (1, first);
    for generation in 2..=ROUNDS {
        let fresh = Pod::start("pod").await;
        let id = u128::from(generation);
        edge.install(generation, vec![shop(&[(id, fresh.address)])])
            .await;
        let (old_id, old) = std::mem::replace(&mut running, (id, fresh));
        edge.controller
            .report("that it drained", |report| {
                report.generation >= generation && !report.draining.contains_key(&pod(old_id))
            })
            .await;
        // As the controller does: only now the pod is stopped, and hard.
        old.server.abort();
        let before = answered.load(SeqCst);
        while answered.load(SeqCst) < before + 20
            && clients.iter().all(|client| !client.is_finished())
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    done.store(true, SeqCst);
    for client in clients {
        client.await.expect("no request was lost");
    }
    assert!(answered.load(SeqCst) > 20 * ROUNDS as usize);
}
