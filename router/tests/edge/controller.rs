//! A controller as a router sees it: the two router endpoints and the log endpoint.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fairway_api::{
    client::Client,
    error::{ApiError, ErrorId},
    logs::LogLine,
    routes::{RouteTable, RouterStatus, WakeNotice},
    secret::Secret,
};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{edge::WAIT, pods::closed};

const TOKEN: &str = "router-token";
/// Shorter than the real wait, so that the router's loop is seen to go on.
const LONG_POLL: Duration = Duration::from_millis(400);

/// What the controller knows; survives its server.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) table: watch::Sender<RouteTable>,
    /// What whoever has an older table is told when it asks for changes.
    pub(crate) changes: watch::Sender<Option<Value>>,
    pub(crate) reports: watch::Sender<Vec<RouterStatus>>,
    pub(crate) wakes: watch::Sender<Vec<WakeNotice>>,
    pub(crate) lines: watch::Sender<Vec<LogLine>>,
    /// How often the table was asked for.
    pub(crate) polls: watch::Sender<usize>,
    /// Answers with the table at once, whatever generation the router has.
    pub(crate) ignores_after: AtomicBool,
    /// Wants no router: answers so when the table is asked for.
    pub(crate) wants_none: watch::Sender<bool>,
    /// Statuses to answer the next log batches with, instead of taking them.
    pub(crate) refuse_logs: std::sync::Mutex<VecDeque<StatusCode>>,
}

pub(crate) struct Controller {
    pub(crate) state: Arc<Known>,
    pub(crate) address: SocketAddr,
    server: Option<Server>,
}

impl Controller {
    pub(crate) async fn start() -> Self {
        let mut controller = Self::away().await;
        controller.come_back();
        controller
    }

    /// An address where nobody listens, until [`Self::come_back`].
    pub(crate) async fn away() -> Self {
        let address = closed().await;
        Self {
            state: Arc::default(),
            address,
            server: None,
        }
    }

    pub(crate) fn go_away(&mut self) {
        drop(self.server.take());
    }

    pub(crate) fn come_back(&mut self) {
        // As a server does; without it the address stays taken for a while by old connections.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(64).unwrap().into_std().unwrap();
        self.server = Some(Server::start(listener, self.state.clone()));
    }

    pub(crate) fn client(&self) -> Client {
        let base = format!("http://{}", self.address).parse().unwrap();
        Client::new(base, Some(Secret::new(TOKEN)))
    }

    /// Waits for a report that fits, from now or before.
    pub(crate) async fn report(
        &self,
        what: &str,
        fits: impl Fn(&RouterStatus) -> bool,
    ) -> RouterStatus {
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

    /// Waits until the router has asked for pods this often.
    pub(crate) async fn asked_to_wake(&self, times: usize) -> Vec<WakeNotice> {
        let mut wakes = self.state.wakes.subscribe();
        let asked = timeout(WAIT, wakes.wait_for(|wakes| wakes.len() >= times));
        asked.await.expect("the router asks").unwrap().clone()
    }

    /// Waits until the table was asked for this often from now on, so that the answers before are
    /// taken or refused.
    pub(crate) async fn polled(&self, times: usize) {
        let mut polls = self.state.polls.subscribe();
        let wanted = *polls.borrow() + times;
        timeout(WAIT, polls.wait_for(|polls| *polls >= wanted))
            .await
            .expect("polls")
            .unwrap();
    }

    /// Waits for a log line with all of these texts.
    pub(crate) async fn line(&self, texts: &[&str]) -> String {
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

/// A server with a thread and a runtime of its own, so that its end takes its connections along, as
/// when a process dies.
struct Server {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(listener: std::net::TcpListener, state: Arc<Known>) -> Self {
        let app = axum::Router::new()
            .route("/internal/routers/{router}/table", get(table))
            .route("/internal/routers/{router}/status", post(status))
            .route("/internal/routers/{router}/wake", post(wake))
            .route("/internal/logs", post(logs))
            .with_state(state);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serve = async move {
            let listener = TcpListener::from_std(listener).unwrap();
            tokio::select! {
                served = async { axum::serve(listener, app).await } => served.unwrap(),
                () = stopped.cancelled() => {}
            }
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve);
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
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
    changes: bool,
}

async fn table(
    State(state): State<Arc<Known>>,
    Path(router): Path<String>,
    Query(After { after, changes }): Query<After>,
    headers: HeaderMap,
) -> Response {
    assert_eq!(router, "edge-1");
    if !authorised(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    state.polls.send_modify(|polls| *polls += 1);
    let mut unwanted = state.wants_none.subscribe();
    let refused = async { unwanted.wait_for(|unwanted| *unwanted).await.is_ok() };
    let any = state.ignores_after.load(SeqCst);
    let (mut tables, mut told) = (state.table.subscribe(), state.changes.subscribe());
    let newer = tables.wait_for(|table| any || table.generation > after);
    let is_newer = |told: &Value| changes && told["generation"].as_u64() > Some(after);
    let told = told.wait_for(|told| told.as_ref().is_some_and(is_newer));
    let answer = async {
        tokio::select! {
            biased;
            true = refused => {
                let error = ApiError::new(ErrorId::Removed, "edge-1 was removed from the cluster.");
                (StatusCode::FORBIDDEN, Json(error)).into_response()
            }
            told = told => Json(told.unwrap().clone()).into_response(),
            table = newer => Json(table.unwrap().clone()).into_response(),
        }
    };
    let none = StatusCode::NO_CONTENT.into_response();
    timeout(LONG_POLL, answer).await.unwrap_or(none)
}

async fn status(
    State(state): State<Arc<Known>>,
    headers: HeaderMap,
    Json(status): Json<RouterStatus>,
) -> StatusCode {
    if !authorised(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    state.reports.send_modify(|reports| reports.push(status));
    StatusCode::NO_CONTENT
}

async fn wake(
    State(state): State<Arc<Known>>,
    headers: HeaderMap,
    Json(notice): Json<WakeNotice>,
) -> StatusCode {
    if !authorised(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    state.wakes.send_modify(|wakes| wakes.push(notice));
    StatusCode::NO_CONTENT
}

async fn logs(
    State(state): State<Arc<Known>>,
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
