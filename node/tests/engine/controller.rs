//! A controller as an agent sees it: the internal endpoints, over real HTTP.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, Path, Query, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use bytes::Bytes;
use fairway_api::{
    client::Client,
    ids::SnapshotId,
    logs::LogLine,
    nodes::{NodePlan, NodeStatus, StatusAnswer},
    secret::Secret,
    sessions::SessionOrder,
    volumes::VolumeTaskEnd,
};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

pub(crate) const TOKEN: &str = "node-token";

pub(crate) struct Shared {
    pub(crate) plan: watch::Sender<Option<NodePlan>>,
    /// Every report so far.
    pub(crate) reports: watch::Sender<Vec<NodeStatus>>,
    pub(crate) logs: watch::Sender<Vec<LogLine>>,
    /// Answers 503 to everything while true.
    pub(crate) away: watch::Sender<bool>,
    /// Sessions that wait for the agent.
    pub(crate) sessions: watch::Sender<Vec<SessionOrder>>,
    /// Archives of volumes, by snapshot, and how orders about volumes ended.
    pub(crate) archives: watch::Sender<BTreeMap<SnapshotId, Bytes>>,
    pub(crate) volume_ends: watch::Sender<Vec<Option<String>>>,
    terminals: mpsc::UnboundedSender<WebSocket>,
    pub(crate) joined: Mutex<mpsc::UnboundedReceiver<WebSocket>>,
}

pub(crate) struct Controller {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Client,
    _server: AbortOnDropHandle<()>,
}

impl Controller {
    pub(crate) async fn start() -> Self {
        Self::start_at([127, 0, 0, 1].into()).await
    }

    pub(crate) async fn start_at(address: Ipv4Addr) -> Self {
        let (terminals, joined) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            plan: watch::Sender::new(None),
            reports: watch::Sender::new(vec![]),
            logs: watch::Sender::new(vec![]),
            away: watch::Sender::new(false),
            sessions: watch::Sender::new(vec![]),
            archives: watch::Sender::default(),
            volume_ends: watch::Sender::default(),
            terminals,
            joined: Mutex::new(joined),
        });
        let router = Router::new()
            .route("/internal/nodes/{node}/plan", get(plan))
            .route("/internal/nodes/{node}/status", post(report))
            .route("/internal/nodes/{node}/sessions", get(sessions))
            .route(
                "/internal/nodes/{node}/volumes/{volume}/snapshots/{snapshot}",
                get(load).put(save).post(end),
            )
            .route("/internal/logs", post(logs))
            .route("/internal/attach/{id}", any(attach))
            .layer(DefaultBodyLimit::max(8 << 20))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let client = Client::new(base, Some(Secret::new(TOKEN)));
        Self {
            shared,
            client,
            _server: AbortOnDropHandle::new(server),
        }
    }
}

impl Shared {
    fn refuse(&self, headers: &HeaderMap) -> Option<Response> {
        if *self.away.borrow() {
            return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        (given != Some(&format!("Bearer {TOKEN}")))
            .then(|| StatusCode::UNAUTHORIZED.into_response())
    }
}

#[derive(Deserialize)]
struct After {
    after: u64,
}

async fn plan(
    State(shared): State<Arc<Shared>>,
    Path(_node): Path<String>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = shared.refuse(&headers) {
        return refused;
    }
    let mut plans = shared.plan.subscribe();
    let newer = plans.wait_for(|plan| plan.as_ref().is_some_and(|plan| plan.generation > after));
    match tokio::time::timeout(Duration::from_secs(10), newer).await {
        Ok(Ok(plan)) => Json(plan.clone()).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn sessions(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(refused) = shared.refuse(&headers) {
        return refused;
    }
    let mut waiting = shared.sessions.subscribe();
    let some = async { drop(waiting.wait_for(|waiting| !waiting.is_empty()).await) };
    match tokio::time::timeout(Duration::from_secs(10), some).await {
        Ok(()) => Json(shared.sessions.send_replace(vec![])).into_response(),
        Err(_) => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn report(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(status): Json<NodeStatus>,
) -> Response {
    if let Some(refused) = shared.refuse(&headers) {
        return refused;
    }
    shared.reports.send_modify(|reports| reports.push(status));
    let plan = shared.plan.borrow();
    let generation = plan.as_ref().map_or(0, |plan| plan.generation);
    Json(StatusAnswer { generation }).into_response()
}

async fn save(
    State(shared): State<Arc<Shared>>,
    Path((_, _, snapshot)): Path<(String, String, SnapshotId)>,
    body: Bytes,
) -> StatusCode {
    shared
        .archives
        .send_modify(|all| drop(all.insert(snapshot, body)));
    StatusCode::NO_CONTENT
}

async fn load(
    State(shared): State<Arc<Shared>>,
    Path((_, _, snapshot)): Path<(String, String, SnapshotId)>,
) -> Bytes {
    shared.archives.borrow()[&snapshot].clone()
}

async fn end(
    State(shared): State<Arc<Shared>>,
    Json(end): Json<VolumeTaskEnd>,
) -> Json<serde_json::Value> {
    shared.volume_ends.send_modify(|all| all.push(end.failure));
    Json(serde_json::json!({}))
}

async fn logs(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(lines): Json<Vec<LogLine>>,
) -> Response {
    if let Some(refused) = shared.refuse(&headers) {
        return refused;
    }
    shared.logs.send_modify(|logs| logs.extend(lines));
    StatusCode::NO_CONTENT.into_response()
}

async fn attach(
    State(shared): State<Arc<Shared>>,
    Path(_id): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Some(refused) = shared.refuse(&headers) {
        return refused;
    }
    upgrade.on_upgrade(async move |socket| shared.terminals.send(socket).unwrap())
}

/// The user's end of a terminal, in the words of the wire.
pub(crate) struct Terminal(pub(crate) WebSocket);

impl Terminal {
    pub(crate) async fn type_in(&mut self, text: &str) {
        let frame = [b"\0", text.as_bytes()].concat();
        self.0.send(Message::Binary(frame.into())).await.unwrap();
    }

    pub(crate) async fn control(&mut self, json: &str) {
        self.0.send(Message::Text(json.into())).await.unwrap();
    }

    /// Everything up to and with the last frame: output, error output, last control.
    pub(crate) async fn rest(mut self) -> (String, String, String) {
        let (mut output, mut errors) = (vec![], vec![]);
        loop {
            match self.0.recv().await.expect("a last frame").unwrap() {
                Message::Binary(bytes) if bytes[0] == 1 => output.extend_from_slice(&bytes[1..]),
                Message::Binary(bytes) if bytes[0] == 2 => errors.extend_from_slice(&bytes[1..]),
                Message::Text(text) => {
                    let text_of = |bytes| String::from_utf8(bytes).unwrap();
                    return (text_of(output), text_of(errors), text.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until the output so far contains the text.
    pub(crate) async fn expect(&mut self, wanted: &str) {
        let mut output = String::new();
        while !output.contains(wanted) {
            match self.0.recv().await.expect("output").unwrap() {
                Message::Binary(bytes) => output.push_str(&String::from_utf8_lossy(&bytes[1..])),
                other => panic!("{other:?} before {wanted:?}; so far {output:?}"),
            }
        }
    }
}
