//! The cluster port over real sockets: who gets in, and what everybody else is told.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{TimeDelta, Utc};
use fairway_api::{
    client::{Client, ClientCertificate, ClientError, Distrust, Trust},
    error::ErrorId,
    ids::NodeId,
    joining::{CertificateRequest, JoinRequest, JoinToken, Joined},
    logs::{LogLine, LogSource},
    machines::{NodeFacts, NodeState},
    names::{NodeName, RouterName},
    network::NetworkStatus,
    nodes::{Capacity, NodeStatus, PROTOCOL, PROTOCOL_HEADER},
    placement::NodeKind,
    routes::RouterStatus,
    secret::Secret,
    sizes::Resources,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{routers::table::Touched, testing::Rig};

/// A controller with its cluster port open.
struct Port {
    rig: Rig,
    address: String,
    _stop: DropGuard,
}

/// A machine's key, and what it got for it.
struct Machine {
    key: KeyPair,
    joined: Joined,
    certificate: Arc<ClientCertificate>,
    client: Client,
}

impl Port {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut crate::Config)) -> Self {
        let rig = Rig::with(change).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        tokio::spawn(rig.controller.serve_cluster(listener, stop.clone()));
        Self {
            rig,
            address,
            _stop: stop.drop_guard(),
        }
    }

    async fn token(&self) -> Secret {
        let made = self
            .rig
            .call(&self.rig.admin, "POST", "/node-tokens", json!({}));
        let made = made.await.expect(201);
        assert_eq!(made["address"], "fairway.test:7001");
        Secret::new(made["token"].as_str().unwrap())
    }

    fn client(&self, trust: &Trust, certificate: Arc<ClientCertificate>) -> Client {
        Client::pinned(vec![self.address.clone()], trust, certificate).unwrap()
    }

    /// Joins as a machine does: it trusts whom the token names.
    async fn join(&self, request: &JoinRequest) -> Result<Joined, ClientError> {
        let pin = match request.token.expose().parse::<JoinToken>() {
            Ok(token) => *token.pin(),
            Err(_) => self.rig.state().authority.digest(),
        };
        let stranger = Arc::new(ClientCertificate::default());
        self.client(&Trust::Pin(pin), stranger).join(request).await
    }

    async fn machine(&self, name: &str) -> Machine {
        let key = KeyPair::generate().unwrap();
        let request = request(name, &key, self.token().await);
        let joined = self.join(&request).await.unwrap();
        let certificate = Arc::new(ClientCertificate::default());
        certificate
            .set(&joined.certificate.certificate, &key.serialize_pem())
            .unwrap();
        let trust = Trust::Authority(joined.certificate.authority.clone());
        let client = self.client(&trust, Arc::clone(&certificate));
        Machine {
            key,
            joined,
            certificate,
            client,
        }
    }

    async fn node(&self, name: &str) -> Value {
        let path = format!("/nodes/{name}");
        self.rig.get(&self.rig.admin, &path).await.expect(200)
    }

    /// Words of everything that happened to the cluster.
    async fn events(&self) -> Vec<String> {
        let mut tx = self.rig.state().store.read().await.unwrap();
        crate::store::events::kinds(&mut tx).await.unwrap()
    }
}

fn csr(key: &KeyPair) -> String {
    let request = CertificateParams::default().serialize_request(key).unwrap();
    request.pem().unwrap()
}

fn facts() -> NodeFacts {
    NodeFacts {
        kind: NodeKind::Vm,
        kernel: "6.1".into(),
        version: "0.1".into(),
        labels: BTreeMap::from([("zone".parse().unwrap(), "a".parse().unwrap())]),
        host_paths: vec![],
        clock: Utc::now(),
    }
}

fn request(name: &str, key: &KeyPair, token: Secret) -> JoinRequest {
    JoinRequest {
        token,
        name: name.parse().unwrap(),
        csr: csr(key),
        rejoin: None,
        facts: facts(),
    }
}

fn status(name: &str) -> NodeStatus {
    NodeStatus {
        node: name.parse().unwrap(),
        generation: 0,
        capacity: Capacity {
            resources: Resources {
                memory_bytes: 1 << 30,
                cpu_millis: 2000,
                pids: 1000,
            },
            disk_bytes: 1 << 40,
            disk_free_bytes: 1 << 39,
            architecture: "x86_64".into(),
            engine: "none".into(),
        },
        facts: Some(facts()),
        pods: vec![],
        network: NetworkStatus {
            underlay: Some([10, 1, 2, 3].into()),
            ..NetworkStatus::default()
        },
        disk: Default::default(),
        usage: vec![],
        volumes: None,
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (ErrorId, String) {
    match answer {
        Err(ClientError::Api(error)) => (error.id, error.to_string()),
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_machine_joins_reports_is_renewed_and_is_removed() {
    let port = Port::open().await;
    let machine = port.machine("two").await;
    let name: NodeName = "two".parse().unwrap();
    assert_eq!(port.node("two").await["state"], "joining");
    machine.client.report_node(&status("two")).await.unwrap();
    let node = port.node("two").await;
    let told = ["state", "kind", "zone", "address", "pods"].map(|field| node[field].clone());
    assert_eq!(
        json!(told),
        json!(["ready", "vm", null, "10.1.2.3", 0]),
        "the loop has not written the labels yet: {node}"
    );

    // The next certificate is for another key; with it new connections are opened.
    let key = KeyPair::generate().unwrap();
    let ask = CertificateRequest { csr: csr(&key) };
    let issued = machine.client.renew_certificate(&name, &ask).await.unwrap();
    assert_ne!(issued.certificate, machine.joined.certificate.certificate);
    machine
        .certificate
        .set(&issued.certificate, &key.serialize_pem())
        .unwrap();
    let with_old_key = machine
        .certificate
        .set(&issued.certificate, &machine.key.serialize_pem());
    assert!(with_old_key.is_err(), "key and certificate belong together");
    let trust = Trust::Authority(issued.authority.clone());
    let renewed = port.client(&trust, Arc::clone(&machine.certificate));
    renewed.report_node(&status("two")).await.unwrap();

    let gone = port
        .rig
        .call(&port.rig.admin, "DELETE", "/nodes/two", Value::Null);
    assert_eq!(gone.await.expect(200)["name"], "two");
    for client in [&machine.client, &renewed] {
        let (id, text) = refused(client.report_node(&status("two")).await);
        assert_eq!(id, ErrorId::Removed);
        assert!(text.contains("two was removed"), "{text}");
        assert_eq!(
            refused(client.node_plan(&name, 0).await).0,
            ErrorId::Removed
        );
        assert_eq!(
            refused(client.renew_certificate(&name, &ask).await).0,
            ErrorId::Removed
        );
    }
    port.rig
        .get(&port.rig.admin, "/nodes/two")
        .await
        .expect(404);

    // Another machine of that name is another node: the old certificate opens nothing again.
    let other = port.machine("two").await;
    assert_ne!(other.joined.node, machine.joined.node);
    other.client.report_node(&status("two")).await.unwrap();
    assert_eq!(
        refused(renewed.report_node(&status("two")).await).0,
        ErrorId::Removed
    );
    let events = port.events().await;
    for kind in ["node-token.created", "node.joined", "node.removed"] {
        assert!(events.iter().any(|it| it == kind), "{kind}: {events:?}");
    }
}

#[tokio::test]
async fn tokens_that_let_nobody_in_say_why() {
    let port = Port::open().await;
    let elsewhere = Port::open().await;
    let key = KeyPair::generate().unwrap();
    let used = port.token().await;
    port.join(&request("two", &key, used.clone()))
        .await
        .unwrap();
    let state = port.rig.state();
    let unknown = JoinToken::new([1; 32], state.authority.digest()).reveal();
    let expired = port.token().await;
    expire_tokens(&port).await;
    let whole = port.token().await.expose().to_owned();
    let table = [
        ("used", used, ErrorId::Forbidden, "was used already, by two"),
        (
            "expired",
            expired,
            ErrorId::Forbidden,
            "could be used until",
        ),
        ("unknown", unknown, ErrorId::Forbidden, "does not know"),
        (
            "cut",
            Secret::new(&whole[..60]),
            ErrorId::InvalidParams,
            "not whole",
        ),
        (
            "API token",
            Secret::new(&*port.rig.admin),
            ErrorId::InvalidParams,
            "no join token",
        ),
        (
            "none",
            Secret::new(""),
            ErrorId::InvalidParams,
            "no join token",
        ),
    ];
    for (what, token, id, text) in table {
        let (found, message) = refused(port.join(&request("three", &key, token)).await);
        assert_eq!(found, id, "{what}: {message}");
        assert!(message.contains(text), "{what}: {message}");
    }
    // Of another cluster: the machine sees it before it has told its secret.
    let foreign = elsewhere.token().await;
    let error = port
        .join(&request("three", &key, foreign.clone()))
        .await
        .unwrap_err();
    assert_eq!(error.distrust(), Some(Distrust::OtherCluster), "{error:?}");
    // And if it tells all the same, the controller sees it.
    let pin = Trust::Pin(state.authority.digest());
    let client = port.client(&pin, Arc::default());
    let (id, text) = refused(client.join(&request("three", &key, foreign)).await);
    assert!(
        id == ErrorId::Forbidden && text.contains("another cluster"),
        "{text}"
    );
    // What was refused used nothing up.
    port.join(&request("three", &key, Secret::new(whole)))
        .await
        .unwrap();
}

async fn expire_tokens(port: &Port) {
    let mut tx = port.rig.state().store.write().await.unwrap();
    crate::store::node_tokens::expire_all(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn names_are_taken_once_and_kept_by_who_comes_back() {
    let port = Port::open().await;
    let machine = port.machine("two").await;
    let key = KeyPair::generate().unwrap();
    let ask = |name: &str, rejoin: Option<NodeId>, token: &Secret| JoinRequest {
        rejoin,
        ..request(name, &key, token.clone())
    };
    let token = port.token().await;
    let table = [
        ("two", None, "is part of the cluster already"),
        // The controller's own machine.
        ("one", None, "is part of the cluster already"),
        (
            "two",
            Some(NodeId::generate()),
            "is part of the cluster already",
        ),
        ("ghost", Some(NodeId::generate()), "was removed"),
    ];
    for (name, rejoin, text) in table {
        let (id, message) = refused(port.join(&ask(name, rejoin, &token)).await);
        assert_eq!(id, ErrorId::Conflict, "{message}");
        assert!(message.contains(text), "{name}: {message}");
    }
    let mut broken = ask("four", None, &token);
    broken.csr = "-----BEGIN NOTHING-----".into();
    assert_eq!(refused(port.join(&broken).await).0, ErrorId::InvalidParams);
    // All of this left the token unused.
    let back = port
        .join(&ask("two", Some(machine.joined.node), &token))
        .await
        .unwrap();
    assert_eq!(back.node, machine.joined.node);
}

#[tokio::test]
async fn certificates_that_do_not_count_open_nothing() {
    let port = Port::open().await;
    let elsewhere = Port::open().await;
    let machine = port.machine("two").await;
    let name: NodeName = "two".parse().unwrap();
    let authority = &port.rig.state().authority;
    let trust = Trust::Authority(authority.pem().to_owned());

    let nobody = port.client(&trust, Arc::default());
    let (id, text) = refused(nobody.report_node(&status("two")).await);
    assert!(
        id == ErrorId::Unauthorized && text.contains("certificate"),
        "{text}"
    );

    let with = |pem: &str| {
        let certificate = ClientCertificate::default();
        certificate.set(pem, &machine.key.serialize_pem()).unwrap();
        port.client(&trust, Arc::new(certificate))
    };
    let id = machine.joined.node;
    let long_ago = Utc::now() - TimeDelta::days(8);
    let (ended, _) = authority
        .certify_node(&csr(&machine.key), id, &name, long_ago)
        .unwrap();
    let other = &elsewhere.rig.state().authority;
    let (foreign, _) = other
        .certify_node(&csr(&machine.key), id, &name, Utc::now())
        .unwrap();
    for (pem, why) in [(ended, Distrust::OurEnded), (foreign, Distrust::OurRefused)] {
        let error = with(&pem).report_node(&status("two")).await.unwrap_err();
        assert_eq!(error.distrust(), Some(why), "{error:?}");
    }
    // The other way round: a controller of another cluster.
    let trust = Trust::Authority(other.pem().to_owned());
    let error = port
        .client(&trust, Arc::default())
        .report_node(&status("two"))
        .await;
    assert_eq!(error.unwrap_err().distrust(), Some(Distrust::OtherCluster));
    // A machine acts for itself alone, and roles of the API's port do not count here.
    let (id, text) = refused(machine.client.report_node(&status("one")).await);
    assert!(
        id == ErrorId::Forbidden && text.contains("itself"),
        "{text}"
    );
    let with_token = nobody.with_token(Secret::new(crate::testing::NODE));
    let (id, _) = refused(with_token.report_node(&status("one")).await);
    assert_eq!(id, ErrorId::Unauthorized);
    machine.client.report_node(&status("two")).await.unwrap();
}

#[tokio::test]
async fn an_agent_of_another_version_is_told_what_to_do() {
    let port = Port::open().await;
    let body = json!({}).to_string();
    let router = crate::http::cluster_router(port.rig.state().clone());
    for (protocol, status, hint) in [
        (None, 422, None),
        (Some(PROTOCOL.to_string()), 422, None),
        (Some((PROTOCOL + 1).to_string()), 426, Some("controller")),
        (Some("0".into()), 426, Some("this machine")),
        (Some("new".into()), 426, Some("this machine")),
    ] {
        let mut request = axum::http::Request::post("/join").extension(super::OtherEnd {
            address: ([127, 0, 0, 1], 1).into(),
            peer: None,
        });
        if let Some(protocol) = &protocol {
            request = request.header(PROTOCOL_HEADER, protocol);
        }
        let request = request.body(axum::body::Body::from(body.clone())).unwrap();
        let response = tower::ServiceExt::oneshot(router.clone(), request)
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{protocol:?}");
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        let error: Value = serde_json::from_slice(&body).unwrap();
        if let Some(hint) = hint {
            assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
        }
    }
}

#[tokio::test]
async fn a_clock_an_hour_off_joins_and_is_told() {
    let port = Port::open().await;
    let machine = port.machine("two").await;
    let mut late = status("two");
    late.facts.as_mut().unwrap().clock = Utc::now() - TimeDelta::hours(1);
    machine.client.report_node(&late).await.unwrap();
    let behind = port.node("two").await["clock_ahead_secs"].as_i64().unwrap();
    assert!((-3700..=-3600).contains(&behind), "{behind}");
    // Said once, not with every report.
    machine.client.report_node(&late).await.unwrap();
    machine.client.report_node(&status("two")).await.unwrap();
    let events = port.events().await;
    let of_clock: Vec<_> = events.iter().filter(|it| it.contains("clock")).collect();
    assert_eq!(of_clock, ["node.clock-wrong", "node.clock-right"]);
    assert_eq!(port.node("two").await["state"], json!(NodeState::Ready));
}

#[tokio::test]
async fn a_machine_short_of_disk_is_shown_and_told_of_once() {
    let port = Port::open().await;
    let machine = port.machine("two").await;
    let mut short = status("two");
    let why = "less than 8.0 GiB of /var/lib/docker is free";
    short.disk.pressure = Some(why.into());
    machine.client.report_node(&short).await.unwrap();
    machine.client.report_node(&short).await.unwrap();
    let shown = port.node("two").await;
    assert_eq!(
        (&shown["disk_pressure"], &shown["state"]),
        (&json!(why), &json!("ready"))
    );
    machine.client.report_node(&status("two")).await.unwrap();
    assert_eq!(port.node("two").await["disk_pressure"], Value::Null);
    let events = port.events().await;
    let of_disk: Vec<_> = events.iter().filter(|it| it.contains("disk")).collect();
    assert_eq!(of_disk, ["node.disk-pressure", "node.disk-relieved"]);
}

#[tokio::test]
async fn a_router_runs_where_an_operator_lets_it() {
    let port = Port::open().await;
    let machine = port.machine("two").await;
    let other = port.machine("three").await;
    let name: RouterName = "two".parse().unwrap();
    let routers = &port.rig.state().routers;
    let empty = routers.table.changed(Touched::default()).unwrap();
    routers.table.publish(1, empty);
    let app = port.rig.app("shop").await["id"].clone();
    let line = |process: &str| LogLine {
        app: serde_json::from_value(app.clone()).unwrap(),
        at: Utc::now(),
        source: LogSource::Fairway,
        process: process.into(),
        pod: None,
        text: "method=GET".into(),
    };
    let table = async || machine.client.route_table(&name, 0, true).await;
    let label = async |value: Value| {
        let patch = json!({ "labels": { "router": value } });
        let admin = &port.rig.admin;
        let labelled = port.rig.call(admin, "PATCH", "/nodes/two", patch).await;
        labelled.expect(200);
    };

    // What a machine says of itself does not count.
    let mut said = status("two");
    let labels = &mut said.facts.as_mut().unwrap().labels;
    labels.insert("router".parse().unwrap(), "yes".parse().unwrap());
    machine.client.report_node(&said).await.unwrap();
    let (id, text) = refused(table().await);
    assert_eq!(id, ErrorId::Forbidden);
    assert!(text.contains("No router may run on two"), "{text}");
    refused(machine.client.send_logs(&[line("router")]).await);

    label(json!("yes")).await;
    assert_eq!(table().await.unwrap().unwrap().generation, 1);
    // It counts before it has reported: it may send requests already.
    assert_eq!(routers.reports.all()[&name].report.generation, 0);
    let mut report = RouterStatus {
        router: name.clone(),
        generation: 1,
        draining: BTreeMap::new(),
        traffic: BTreeMap::new(),
        canaries: BTreeMap::new(),
    };
    machine.client.report_router(&report).await.unwrap();
    assert_eq!(routers.reports.all()[&name].report.generation, 1);
    machine.client.send_logs(&[line("router")]).await.unwrap();
    let (id, _) = refused(machine.client.send_logs(&[line("web.1")]).await);
    assert_eq!(
        id,
        ErrorId::Forbidden,
        "it routes, and runs no pod of the app"
    );

    // For itself alone.
    report.router = "three".parse().unwrap();
    assert_eq!(
        refused(machine.client.report_router(&report).await).0,
        ErrorId::Forbidden
    );
    let theirs = other.client.route_table(&name, 0, true).await;
    assert_eq!(refused(theirs).0, ErrorId::Forbidden);

    label(Value::Null).await;
    assert_eq!(refused(table().await).0, ErrorId::Forbidden);
    label(json!("yes")).await;
    table().await.unwrap();
    let gone = port
        .rig
        .call(&port.rig.admin, "DELETE", "/nodes/two", Value::Null);
    gone.await.expect(200);
    assert_eq!(refused(table().await).0, ErrorId::Removed);
    assert!(
        !routers.reports.all().contains_key(&name),
        "nobody waits for it"
    );
}

#[tokio::test]
async fn the_registry_is_reached_through_the_port_by_members_only() {
    let registry = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = registry.local_addr().unwrap().to_string();
    let port = Port::with(|config| config.registry.host = host).await;
    let echo = tokio::spawn(async move {
        let (mut stream, _) = registry.accept().await.unwrap();
        let mut text = [0; 5];
        stream.read_exact(&mut text).await.unwrap();
        stream.write_all(&text).await.unwrap();
    });
    let machine = port.machine("two").await;
    let mut tunnel = machine.client.registry_tunnel().await.unwrap();
    tunnel.write_all(b"hello").await.unwrap();
    let mut back = Vec::new();
    tunnel.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"hello");
    echo.await.unwrap();

    let trust = Trust::Authority(port.rig.state().authority.pem().to_owned());
    let stranger = port.client(&trust, Arc::default());
    let refusal = stranger.registry_tunnel().await.err().unwrap();
    assert_eq!(refusal.api().unwrap().id, ErrorId::Unauthorized);
    let outside = Port::with(|config| config.registry.host = "registry.example.com".into()).await;
    let machine = outside.machine("two").await;
    let refusal = machine.client.registry_tunnel().await.err().unwrap();
    assert_eq!(refusal.api().unwrap().id, ErrorId::NotFound);
}
