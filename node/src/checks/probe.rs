//! One try of one check.

use std::{io, net::IpAddr, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use fairway_api::{
    checks::{CHECK_RESPONSE_BYTES_MAX, Check},
    pods::CheckFailure,
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::{age, listening};

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
            timeout_secs,
            ..
        } => {
            let deadline = deadline(*timeout_secs);
            let stream = connect(check, target, deadline).await?;
            let asked = ask(stream, path, content.as_deref());
            let failed = |why: String, response| Failed {
                check: name(check, target),
                why,
                response,
                unconnected: None,
            };
            match timeout_at(deadline, asked).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(bad)) => Err(failed(bad.why, bad.response)),
                Err(_) => Err(failed(
                    format!("no answer within {timeout_secs} seconds"),
                    None,
                )),
            }
        }
    }
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
    }
}

async fn connect(check: &Check, target: &Target, deadline: Instant) -> Result<TcpStream, Failed> {
    let (Check::Http { port, .. } | Check::Tcp { port, .. }) = check else {
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
struct Bad {
    why: String,
    response: Option<String>,
}

async fn ask(stream: TcpStream, path: &str, content: Option<&str>) -> Result<(), Bad> {
    let broken = |error: hyper::Error| Bad {
        why: format!("the connection broke before an answer: {error}"),
        response: None,
    };
    let host = stream
        .peer_addr()
        .map(|peer| peer.to_string())
        .unwrap_or_default();
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "fairway-check")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Bad {
            why: format!("{path:?} is no path that can be asked for: {error}"),
            response: None,
        })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async {
        let mut response = sender.send_request(request).await.map_err(broken)?;
        let start = read_start(&mut response, content).await;
        judge(response.status(), &start, content)
    };
    // The connection needs to be driven beside the exchange and dies with it.
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ended = connection => exchange.await,
    }
}

/// As much of the body as judging needs.
async fn read_start(response: &mut Response<Incoming>, content: Option<&str>) -> Vec<u8> {
    let passes = passes(response.status());
    let wanted = match content {
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

fn passes(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

fn judge(status: StatusCode, start: &[u8], content: Option<&str>) -> Result<(), Bad> {
    let text = String::from_utf8_lossy(start);
    let why = if !passes(status) {
        format!("answered {status}")
    } else if let Some(content) = content.filter(|content| !text.contains(content)) {
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
