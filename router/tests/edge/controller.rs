//! A controller as a router sees it: the two router endpoints and the log endpoint.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fairway_api::{
    client::Client,
    logs::LogLine,
    routes::{RouteTable, RouterStatus},
    secret::Secret,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::edge::WAIT;

const TOKEN: &str = "router-token";
/// Shorter than the real wait, so that the router's loop is seen to go on.
const LONG_POLL: Duration = Duration::from_millis(400);

/// What the controller knows; survives its server.
#[derive(Default)]
pub struct State_ {
    pub table: watch::Sender<RouteTable>,
    pub reports: watch::Sender<Vec<RouterStatus>>,
    pub lines: watch::Sender<Vec<LogLine>>,
    /// Statuses to answer the next log batches with, instead of taking them.
    pub refuse_logs: std::sync::Mutex<VecDeque<StatusCode>>,
}

pub struct Controller {
    pub state: Arc<State_>,
    pub address: SocketAddr,
    server: Option<JoinHandle<()>>,
}

impl Controller {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State_::default());
        let server = Some(serve(listener, state.clone()));
        Self {
            state,
            address,
            server,
        }
    }

    /// An address where nobody listens, until [`Self::come_back`].
    pub async fn away() -> Self {
        let mut controller = Self::start().await;
        controller.go_away().await;
        controller
    }

    pub async fn go_away(&mut self) {
        let server = self.server.take().unwrap();
        server.abort();
        drop(server.await);
    }

    pub async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.server = Some(serve(listener, self.state.clone()));
    }

    pub fn client(&self) -> Client {
        let base = format!("http://{}", self.address).parse().unwrap();
        Client::new(base, Some(Secret::new(TOKEN)))
    }

    /// Waits for a report that fits, from now or before.
    pub async fn report(&self, what: &str, fits: impl Fn(&RouterStatus) -> bool) -> RouterStatus {
        let mut reports = self.state.reports.subscribe();
        let found = timeout(WAIT, reports.wait_for(|reports| reports.iter().any(&fits))).await;
        let Ok(found) = found else {
            panic!(
                "no report {what}; there were {:?}",
                self.state.reports.borrow()
            )
        };
        found
            .unwrap()
            .iter()
            .rfind(|report| fits(report))
            .unwrap()
            .clone()
    }

    /// Waits for a log line with all of these texts.
    pub async fn line(&self, texts: &[&str]) -> String {
        let fits = |line: &LogLine| texts.iter().all(|text| line.text.contains(text));
        let mut lines = self.state.lines.subscribe();
        let found = timeout(WAIT, lines.wait_for(|lines| lines.iter().any(fits))).await;
        let Ok(found) = found else {
            panic!(
                "no line with {texts:?}; there were {:#?}",
                self.state.lines.borrow()
            )
        };
        found
            .unwrap()
            .iter()
            .find(|line| fits(line))
            .unwrap()
            .text
            .clone()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn serve(listener: TcpListener, state: Arc<State_>) -> JoinHandle<()> {
    let app = axum::Router::new()
        .route("/internal/routers/{router}/table", get(table))
        .route("/internal/routers/{router}/status", post(status))
        .route("/internal/logs", post(logs))
        .with_state(state);
    // axum's server leaves its connections to tasks of their own; a runtime of its own lets
    // an abort take them along, as when a process dies.
    tokio::task::spawn(async move {
        let (_dropped_with_us, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn({
            let listener = listener.into_std().unwrap();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener).unwrap();
                    tokio::select! {
                        served = async { axum::serve(listener, app).await } => served.unwrap(),
                        _ = stopped => {}
                    }
                });
            }
        });
        let _joined_when_dropped = Join(Some(thread));
        let _stopped_first = _dropped_with_us;
        std::future::pending::<()>().await;
    })
}

struct Join(Option<std::thread::JoinHandle<()>>);

impl Drop for Join {
    fn drop(&mut self) {
        self.0.take().unwrap().join().unwrap();
    }
}

fn authorised(headers: &HeaderMap) -> bool {
    headers
        .get("authorization")
        .is_some_and(|value| value == &format!("Bearer {TOKEN}"))
}

#[derive(serde::Deserialize)]
struct After {
    after: u64,
}

async fn table(
    State(state): State<Arc<State_>>,
    Path(router): Path<String>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Response {
    assert_eq!(router, "edge-1");
    if !authorised(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut tables = state.table.subscribe();
    let newer = tables.wait_for(|table| table.generation > after);
    match timeout(LONG_POLL, newer).await {
        Ok(table) => Json(table.unwrap().clone()).into_response(),
        Err(_) => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn status(
    State(state): State<Arc<State_>>,
    headers: HeaderMap,
    Json(status): Json<RouterStatus>,
) -> StatusCode {
    if !authorised(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    state.reports.send_modify(|reports| reports.push(status));
    StatusCode::NO_CONTENT
}

async fn logs(
    State(state): State<Arc<State_>>,
    headers: HeaderMap,
    Json(lines): Json<Vec<LogLine>>,
) -> StatusCode {
    if !authorised(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    if let Some(status) = state.refuse_logs.lock().unwrap().pop_front() {
        return status;
    }
    // A round trip takes time; the router must not depend on it being quick.
    sleep(Duration::from_millis(1)).await;
    state.lines.send_modify(|all| all.extend(lines));
    StatusCode::NO_CONTENT
}
