//! Sessions with pods that run: who may open one, and which agent answers it.

use fairway_api::{
    ids::PodId,
    pods::{PodPhase, PodStatus},
    secret::Secret,
    sessions::{SessionOrder, SessionWork},
};
use fairway_scheduler::snapshot::Pod;
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

use super::streams::{dial, next, serve};
use crate::{
    Role, RoleCredential,
    store::{columns::now, events, pods},
    testing::{NODE, Rig},
};

const OTHER_NODE: &str = "node-two-token";

/// Two machines, and Alice's app with a pod on the first.
async fn rig() -> (Rig, PodId, String) {
    let rig = Rig::with(|config| {
        config.role_credentials.push(RoleCredential {
            role: Role::Node("two".parse().unwrap()),
            token: Secret::new(OTHER_NODE),
        });
    })
    .await;
    rig.app("shop").await;
    rig.release("shop").await;
    let made = rig
        .call(
            &rig.alice,
            "POST",
            "/apps/shop/dynos",
            json!({ "command": "sleep 9" }),
        )
        .await
        .expect(201);
    let pod: PodId = made["id"].as_str().unwrap().parse().unwrap();
    set(&rig, pod, PodPhase::Running { ready: true }).await;
    let base = serve(&rig).await;
    (rig, pod, base)
}

/// Binds the pod to machine `one`, and says what it does there.
async fn set(rig: &Rig, id: PodId, phase: PodPhase) {
    let mut tx = rig.state().store.write_relaxed().await.unwrap();
    let rows = pods::all(&mut tx).await.unwrap();
    let row = rows.into_iter().find(|row| row.id == id).unwrap();
    let pod = Pod {
        id,
        release: row.release,
        kind: row.kind,
        process_type: row.process_type,
        ordinal: row.ordinal,
        name: row.name,
        size: row.size,
        sidecars: Default::default(),
        node: Some("one".parse().unwrap()),
        unplaced: None,
        intent: row.intent,
        stop_at: None,
        status: Some(PodStatus {
            id,
            phase,
            address: None,
            restarts: 0,
            started_at: Some(now()),
            last_exit: None,
            check_failure: None,
            containers: vec![],
        }),
        gone: false,
        created_at: row.created_at,
    };
    pods::write(&mut tx, &[(row.app, &pod)], now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn create(rig: &Rig, token: &str, pod: impl ToString, body: Value) -> crate::testing::Reply {
    let path = format!("/apps/shop/dynos/{}/sessions", pod.to_string());
    rig.call(token, "POST", &path, body).await
}

fn url(base: &str, session: &Value) -> String {
    let url = session["url"].as_str().unwrap();
    url.replace("ws://fairway.test:7000", base)
}

/// The status with which a dial is refused.
async fn refused(url: String, token: Option<&str>) -> u16 {
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
    }
    match tokio_tungstenite::connect_async(request).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

async fn orders(rig: &Rig, token: &str, node: &str) -> Vec<SessionOrder> {
    let path = format!("/internal/nodes/{node}/sessions");
    serde_json::from_value(rig.get(token, &path).await.expect(200)).unwrap()
}

#[tokio::test]
async fn a_session_joins_its_person_with_the_pods_own_machine_only() {
    let (rig, pod, base) = rig().await;
    let ask = json!({ "kind": "exec", "command": ["psql", "secret"] });
    let session = create(&rig, &rig.alice, pod, ask).await.expect(201);
    assert_eq!(session["dyno"]["id"], json!(pod));
    let mut person = dial(url(&base, &session), None).await;
    person.send(Message::text("early")).await.unwrap();

    let told = orders(&rig, NODE, "one").await;
    let [order] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(order.pod, pod);
    assert!(
        matches!(&order.work, SessionWork::Exec { command, tty: false, env }
        if *command == ["psql", "secret"] && env.contains_key("FAIRWAY_SESSION"))
    );
    let there = format!("{base}/internal/attach/{}", order.id);
    assert_eq!(refused(there.clone(), Some(OTHER_NODE)).await, 403);
    let mut agent = dial(there, Some(NODE)).await;
    assert_eq!(next(&mut agent).await, Some(Message::text("early")));
    agent.send(Message::binary(vec![1, 7])).await.unwrap();
    assert_eq!(next(&mut person).await, Some(Message::binary(vec![1, 7])));

    // It was for one command, and the record has who and what but no argument.
    assert_eq!(refused(url(&base, &session), None).await, 403);
    let record = rig.get(&rig.alice, "/apps/shop/events").await.expect(200);
    assert_eq!(record[0]["kind"], "pod.exec");
    assert_eq!(record[0]["actor"], "alice@example.com");
    let message = record[0]["message"].as_str().unwrap();
    assert!(
        message.contains("`psql`") && !message.contains("secret"),
        "{message}"
    );
    drop(agent);
    assert_eq!(next(&mut person).await, None);
}

#[tokio::test]
async fn a_forward_opens_many_connections_to_its_ports() {
    let (rig, pod, base) = rig().await;
    let ask = json!({ "kind": "forward", "ports": [5432] });
    let session = create(&rig, &rig.alice, pod, ask).await.expect(201);
    let watch = dial(url(&base, &session), None).await;
    let connection = |port: u16| format!("{}&port={port}", url(&base, &session));
    let one = dial(connection(5432), None).await;
    let two = dial(connection(5432), None).await;
    assert_eq!(refused(connection(22), None).await, 403);
    let mut told = vec![];
    while told.len() < 3 {
        told.extend(orders(&rig, NODE, "one").await);
    }
    let works: Vec<_> = told.iter().map(|order| order.work.clone()).collect();
    let connect = SessionWork::Connect { port: 5432 };
    assert_eq!(works, [SessionWork::Watch, connect.clone(), connect]);
    // An answer may be lost on its way: who does not dial is told again.
    let again = orders(&rig, NODE, "one").await;
    assert_eq!(again, told);
    drop((watch, one, two));
}

#[tokio::test]
async fn who_may_not_and_what_does_not_run_is_refused() {
    let (rig, pod, base) = rig().await;
    let shell = || json!({ "kind": "exec" });
    create(&rig, &rig.bob, pod, shell()).await.expect(404);
    create(&rig, &rig.alice, "web.1", shell()).await.expect(404);
    create(
        &rig,
        &rig.alice,
        pod,
        json!({ "kind": "forward", "ports": [] }),
    )
    .await
    .expect(422);
    // Another app's pod does not exist in this one.
    rig.call(&rig.bob, "POST", "/apps", json!({ "name": "theirs" }))
        .await
        .expect(201);
    let path = format!("/apps/theirs/dynos/{pod}/sessions");
    rig.call(&rig.bob, "POST", &path, shell()).await.expect(404);

    let session = create(&rig, &rig.alice, pod, shell()).await.expect(201);
    let before = {
        let mut db = rig.state().store.read().await.unwrap();
        events::kinds(&mut db).await.unwrap().len()
    };
    set(&rig, pod, PodPhase::Exited).await;
    create(&rig, &rig.alice, pod, shell()).await.expect(409);
    assert_eq!(
        refused(url(&base, &session), None).await,
        409,
        "it ended meanwhile"
    );
    let mut db = rig.state().store.read().await.unwrap();
    let after = events::kinds(&mut db).await.unwrap().len();
    assert_eq!(before, after, "what was refused is not on the record");
}
