//! One try of one check.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use fairway_api::{
    checks::{CHECK_RESPONSE_BYTES_MAX, Check, Statuses},
    pods::CheckFailure,
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::{age, command, grpc, listening};
use crate::engine::Engine;

/// The most bytes of a body that are searched for the wanted text; only the start of it is kept.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What is checked.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: Option<IpAddr>,
    /// The pod's port, for checks that name none.
    pub(crate) port: Option<u16>,
    /// The container's first process on this machine.
    pub(crate) pid: Option<i64>,
    pub(crate) started_at: DateTime<Utc>,
    /// Where commands run.
    pub(crate) inside: Option<Inside>,
}

/// A container and its engine.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    pub(crate) engine: Arc<Engine>,
    pub(crate) container: String,
}

/// A try that failed, before anybody looked why.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    check: String,
    why: String,
    response: Option<String>,
    /// The port that nobody could connect to.
    unconnected: Option<u16>,
}

/// Tries once, within the check's own time limit.
pub(super) async fn run(check: &Check, target: &Target) -> Result<(), Failed> {
    match check {
        Check::Uptime { secs } => {
            let wanted = Duration::from_secs((*secs).into());
            sleep(wanted.saturating_sub(age(target.started_at, Utc::now()))).await;
            Ok(())
        }
        Check::Tcp { timeout_secs, .. } => {
            let deadline = deadline(*timeout_secs);
            connect(check, target, deadline).await.map(drop)
        }
        Check::Http {
            path,
            content,
            headers,
            expect,
            timeout_secs,
            ..
        } => {
            let deadline = deadline(*timeout_secs);
            let stream = connect(check, target, deadline).await?;
            let wanted = Wanted {
                content: content.as_deref(),
                expect: *expect,
            };
            let asked = timeout_at(deadline, ask(stream, path, headers, &wanted));
            let result = asked.await.unwrap_or_else(|_| late(*timeout_secs));
            result.map_err(|bad| bad.of(check, target))
        }
        Check::Grpc {
            service,
            timeout_secs,
            ..
        } => {
            let deadline = deadline(*timeout_secs);
            let stream = connect(check, target, deadline).await?;
            let asked = timeout_at(deadline, grpc::ask(stream, service.as_deref()));
            let result = asked.await.unwrap_or_else(|_| late(*timeout_secs));
            result.map_err(|bad| bad.of(check, target))
        }
        Check::Command {
            command,
            timeout_secs,
        } => {
            let result = match &target.inside {
                Some(inside) => command::run(inside, command, *timeout_secs).await,
                None => Err(Bad::new("the pod has no container to run it in")),
            };
            result.map_err(|bad| bad.of(check, target))
        }
    }
}

fn late(secs: u32) -> Result<(), Bad> {
    Err(Bad::new(format!("no answer within {secs} seconds")))
}

fn deadline(timeout_secs: u32) -> Instant {
    Instant::now() + Duration::from_secs(timeout_secs.max(1).into())
}

/// The check as users know it: `GET /health on port 8080`.
fn name(check: &Check, target: &Target) -> String {
    let on = |port: &Option<u16>| match port.or(target.port) {
        Some(port) => format!("port {port}"),
        None => "no port".into(),
    };
    match check {
        Check::Http { path, port, .. } => format!("GET {path} on {}", on(port)),
        Check::Tcp { port, .. } => format!("connection to {}", on(port)),
        Check::Uptime { secs } => format!("up for {secs} seconds"),
        // Its arguments may hold a secret.
        Check::Command { command, .. } => {
            format!("command {}", command.first().map_or("", String::as_str))
        }
        Check::Grpc { port, service, .. } => match service {
            Some(service) => format!("gRPC health of {service} on {}", on(port)),
            None => format!("gRPC health on {}", on(port)),
        },
    }
}

async fn connect(check: &Check, target: &Target, deadline: Instant) -> Result<TcpStream, Failed> {
    let (Check::Http { port, .. } | Check::Tcp { port, .. } | Check::Grpc { port, .. }) = check
    else {
        unreachable!("only checks that connect come here")
    };
    let failed = |why: String, unconnected| Failed {
        check: name(check, target),
        why,
        response: None,
        unconnected,
    };
    let Some(port) = port.or(target.port) else {
        return Err(failed(
            "this process type has no port; name one in the check".into(),
            None,
        ));
    };
    let Some(address) = target.address else {
        return Err(failed(
            "the pod has no address on the pod network".into(),
            None,
        ));
    };
    match timeout_at(deadline, TcpStream::connect((address, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(failed("connection refused".into(), Some(port)))
        }
        Ok(Err(error)) => Err(failed(format!("cannot connect: {error}"), Some(port))),
        Err(_) => Err(failed(
            "the connection was not accepted in time".into(),
            Some(port),
        )),
    }
}

/// An answer that does not pass.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) why: String,
    pub(super) response: Option<String>,
}

impl Bad {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            response: None,
        }
    }

    fn of(self, check: &Check, target: &Target) -> Failed {
        Failed {
            check: name(check, target),
            why: self.why,
            response: self.response,
            unconnected: None,
        }
    }
}

/// What passes.
struct Wanted<'a> {
    content: Option<&'a str>,
    expect: Statuses,
}

async fn ask(
    stream: TcpStream,
    path: &str,
    headers: &BTreeMap<String, String>,
    wanted: &Wanted<'_>,
) -> Result<(), Bad> {
    let broken = |error: hyper::Error| Bad {
        why: format!("the connection broke before an answer: {error}"),
        response: None,
    };
    let host = stream
        .peer_addr()
        .map(|peer| peer.to_string())
        .unwrap_or_default();
    let mut request = Request::get(path).header(header::CONNECTION, "close");
    for (name, value) in [("host", host.as_str()), ("user-agent", "fairway-check")] {
        if !headers.contains_key(name) {
            request = request.header(name, value);
        }
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| Bad {
        why: format!("{path:?} is no path that can be asked for: {error}"),
        response: None,
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async {
        let mut response = sender.send_request(request).await.map_err(broken)?;
        let start = read_start(&mut response, wanted).await;
        judge(response.status(), &start, wanted)
    };
    // The connection needs to be driven beside the exchange and dies with it.
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ended = connection => exchange.await,
    }
}

/// As much of the body as judging needs.
async fn read_start(response: &mut Response<Incoming>, wanted: &Wanted<'_>) -> Vec<u8> {
    let passes = wanted.expect.has(response.status().as_u16());
    let wanted = match wanted.content {
        Some(_) if passes => BODY_BYTES_MAX,
        _ if passes => 0,
        _ => CHECK_RESPONSE_BYTES_MAX,
    };
    let mut start = Vec::new();
    while start.len() < wanted {
        let Some(Ok(frame)) = response.body_mut().frame().await else {
            break;
        };
        if let Some(data) = frame.data_ref() {
            start.extend_from_slice(&data[..data.len().min(wanted - start.len())]);
        }
    }
    start
}

fn judge(status: StatusCode, start: &[u8], wanted: &Wanted<'_>) -> Result<(), Bad> {
    let text = String::from_utf8_lossy(start);
    let why = if !wanted.expect.has(status.as_u16()) {
        format!("answered {status}")
    } else if let Some(content) = wanted.content.filter(|content| !text.contains(content)) {
        format!("answered {status}, but without the text {content:?}")
    } else {
        return Ok(());
    };
    let kept = &text[..text.floor_char_boundary(CHECK_RESPONSE_BYTES_MAX)];
    Err(Bad {
        why,
        response: (!kept.is_empty()).then(|| kept.to_owned()),
    })
}

/// Looks why a connection failed.
pub(super) async fn explain(failed: Failed, target: &Target) -> CheckFailure {
    let mut why = failed.why;
    if let (Some(port), Some(pid)) = (failed.unconnected, target.pid)
        && let Some(found) = listening::of_process(pid).await
        && let Some(reason) = listening::explain(port, &found)
    {
        why = reason;
    }
    CheckFailure {
        kind: None,
        check: failed.check,
        why,
        response: failed.response,
    }
}

/// The failure of a check that was still under way when its deadline came.
pub(super) fn unfinished(check: &Check, target: &Target) -> Failed {
    Failed {
        check: name(check, target),
        why: "it had not passed when the time to start was over".into(),
        response: None,
        unconnected: None,
    }
}
