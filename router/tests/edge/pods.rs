//! Pods: axum servers that show what they were sent, and sockets that follow a script.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, ws::WebSocketUpgrade},
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
};

/// A pod. It goes with its server's task.
pub(crate) struct Pod {
    pub(crate) address: SocketAddr,
    /// Requests that reached it.
    pub(crate) seen: Arc<AtomicUsize>,
    /// A permit lets one request to `/held` go on.
    pub(crate) hold: Arc<Semaphore>,
    /// How many requests are being worked on.
    pub(crate) busy: watch::Sender<usize>,
    pub(crate) server: JoinHandle<()>,
}

impl Pod {
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, hold) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let busy = watch::Sender::new(0);
        let app = app(name, hold.clone(), busy.clone(), seen.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.unwrap();
        });
        Self {
            address,
            seen,
            hold,
            busy,
            server,
        }
    }

    pub(crate) fn seen(&self) -> usize {
        self.seen.load(SeqCst)
    }

    /// Waits until this many requests are being worked on.
    pub(crate) async fn busy_with(&self, count: usize) {
        let mut busy = self.busy.subscribe();
        tokio::time::timeout(crate::edge::WAIT, busy.wait_for(|busy| *busy == count))
            .await
            .unwrap_or_else(|_| panic!("the pod has {} requests", *self.busy.borrow()))
            .unwrap();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Counts a request from its arrival until its answer was produced or given up.
struct Busy(watch::Sender<usize>);

impl Busy {
    fn new(busy: watch::Sender<usize>) -> Self {
        busy.send_modify(|busy| *busy += 1);
        Self(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

fn app(
    name: &'static str,
    hold: Arc<Semaphore>,
    busy: watch::Sender<usize>,
    seen: Arc<AtomicUsize>,
) -> Router {
    let held = move || {
        let (hold, busy) = (hold.clone(), Busy::new(busy.clone()));
        async move {
            hold.acquire().await.unwrap().forget();
            drop(busy);
            "released"
        }
    };
    Router::new()
        .route("/", any(move || async move { name }))
        .route("/echo", any(echo))
        .route("/head", any(show_head))
        .route("/held", any(held))
        .route("/large", get(large))
        .route("/sink", any(sink))
        .route("/events", get(events))
        .route("/trailers", get(trailers))
        .route("/hops", get(hops))
        .route("/ws", any(socket))
        .layer(axum::middleware::from_fn(
            move |request: Request, next: axum::middleware::Next| {
                seen.fetch_add(1, SeqCst);
                next.run(request)
            },
        ))
}

/// The request's body, as it comes.
async fn echo(body: Body) -> Body {
    body
}

/// The request line and the headers as text, sorted.
async fn show_head(
    method: Method,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> String {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    format!(
        "{method} {uri}\n{}\n[{}]",
        lines.join("\n"),
        String::from_utf8_lossy(&body)
    )
}

/// 64 MiB, made as fast as they are taken.
pub(crate) const LARGE_BYTES: usize = 64 * 1024 * 1024;
async fn large() -> Response {
    const PIECE: usize = 64 * 1024;
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let pieces = stream::iter((0..LARGE_BYTES / PIECE).map(move |_| {
        MADE_BYTES.fetch_add(PIECE, SeqCst);
        Ok::<_, std::io::Error>(piece.clone())
    }));
    Body::from_stream(pieces).into_response()
}
/// How much of all large answers was made so far.
pub(crate) static MADE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Reads a body and says how long it was.
async fn sink(mut body: Body) -> String {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().into_data().map_or(0, |data| data.len());
    }
    bytes.to_string()
}

/// Server-sent events: two at once, then silence until the client leaves.
async fn events() -> Response {
    let first = stream::iter(["data: one\n\n", "data: two\n\n"]);
    let body = Body::from_stream(first.chain(stream::pending()).map(Ok::<_, std::io::Error>));
    ([("content-type", "text/event-stream")], body).into_response()
}

async fn trailers() -> Response {
    // A stream has no length known beforehand, so that the answer is chunked.
    let chunks = stream::iter([Ok::<_, axum::Error>(http_body::Frame::data(Bytes::from(
        "body",
    )))]);
    let body = http_body_util::StreamBody::new(chunks).with_trailers(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Some(Ok(trailers))
    });
    ([("trailer", "grpc-status")], Body::new(body)).into_response()
}

/// Headers that must not pass a proxy, and one that must.
async fn hops() -> Response {
    let headers = [
        ("connection", "x-private"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("upgrade", "h2c"),
        ("x-public", "2"),
    ];
    (StatusCode::OK, headers, "ok").into_response()
}

/// A WebSocket that gives back each message.
async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

/// A pod whose connections are handed to `script` with their number, counted from 0.
pub(crate) async fn scripted<F, R>(
    script: F,
) -> (SocketAddr, tokio_util::task::AbortOnDropHandle<()>)
where
    F: Fn(usize, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            drop(tokio::spawn(script(number, stream)));
        }
    });
    (address, tokio_util::task::AbortOnDropHandle::new(task))
}

/// Reads a request's head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Writes a short answer.
pub(crate) async fn write_answer(stream: &mut TcpStream, body: &str) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    drop(stream.write_all(answer.as_bytes()).await);
}

/// An address that refuses connections.
pub(crate) async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}
