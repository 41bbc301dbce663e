//! The gRPC health protocol (`grpc.health.v1`), as far as a check needs it: one unary call over
//! HTTP/2 with prior knowledge. Its two messages have one field each, so they are written and read
//! here by hand.

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{HeaderMap, Request, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::probe::Bad;

/// The most bytes of an answer; a right one has seven.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Compressed flag and length before each message.
const PREFIX_BYTES: usize = 5;
/// Field 1, length-delimited; and field 1, varint.
const TAG_SERVICE: u8 = 0x0a;
const TAG_STATUS: u8 = 0x08;

/// Passes if the service says that it serves.
pub(super) async fn ask(stream: TcpStream, service: Option<&str>) -> Result<(), Bad> {
    let host = stream.peer_addr().map(|peer| peer.to_string());
    let broken = |error: hyper::Error| {
        Bad::new(format!(
            "it does not answer as a gRPC server without TLS does: {error}"
        ))
    };
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(broken)?;
    let request = Request::post(format!(
        "http://{}/grpc.health.v1.Health/Check",
        host.unwrap_or_default()
    ))
    .header(header::CONTENT_TYPE, "application/grpc")
    .header(header::TE, "trailers")
    .header(header::USER_AGENT, "fairway-check")
    .body(Full::new(request_of(service.unwrap_or_default())))
    .map_err(|error| Bad::new(error.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(Bad::new(format!(
                "answered {}, not as gRPC does",
                head.status
            )));
        }
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Bad::new(format!("the answer broke off: {error}")))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        judge(&head.headers, &trailers, &body.to_bytes())
    };
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ended = connection => exchange.await,
    }
}

/// `HealthCheckRequest { string service = 1; }`, with its prefix.
fn request_of(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(TAG_SERVICE);
        let mut length = service.len();
        while length > 0x7f {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8((length & 0x7f) as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

fn judge(headers: &HeaderMap, trailers: &HeaderMap, body: &[u8]) -> Result<(), Bad> {
    let of = |name: &str| {
        trailers
            .get(name)
            .or_else(|| headers.get(name))?
            .to_str()
            .ok()
    };
    match of("grpc-status") {
        None => return Err(Bad::new("answered without a gRPC status")),
        Some("0") => {}
        Some("5") => return Err(Bad::new("the server does not know this service")),
        Some("12") => {
            return Err(Bad::new(
                "the server has no health service (grpc.health.v1)",
            ));
        }
        Some(code) => {
            let message = of("grpc-message").unwrap_or_default();
            return Err(Bad::new(
                format!("answered gRPC status {code} {message}").trim_end(),
            ));
        }
    }
    let name = match status(body) {
        Some(1) => return Ok(()),
        Some(0) => "UNKNOWN",
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        _ => return Err(Bad::new("answered what is no health status")),
    };
    Err(Bad::new(format!("answered {name}")))
}

/// `HealthCheckResponse { ServingStatus status = 1; }`, with its prefix. An empty message is the
/// status 0.
fn status(body: &[u8]) -> Option<u8> {
    let (prefix, message) = body.split_first_chunk::<PREFIX_BYTES>()?;
    let [0, length @ ..] = *prefix else {
        return None;
    };
    if message.len() != u32::from_be_bytes(length) as usize {
        return None;
    }
    match *message {
        [] => Some(0),
        [TAG_STATUS, status] if status < 0x80 => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::{Response, body::Frame, server::conn::http2, service::service_fn};
    use tokio::net::TcpListener;

    use super::*;

    /// A real gRPC server with a health service that knows `""` and `shop.Cart`.
    async fn server() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = service_fn(async |request: Request<hyper::body::Incoming>| {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    assert_eq!(request.headers()["content-type"], "application/grpc");
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    let (code, status) = match &asked[..] {
                        b"\0\0\0\0\0" => ("0", Some(1)),
                        b"\0\0\0\0\x0b\x0a\x09shop.Cart" => ("0", Some(2)),
                        b"\0\0\0\0\x07\x0a\x05empty" => ("0", Some(0)),
                        b"\0\0\0\0\x08\x0a\x06broken" => ("13", None),
                        _ => ("5", None),
                    };
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", code.parse().unwrap());
                    let message: Bytes = match status {
                        Some(0) => Bytes::from_static(b"\0\0\0\0\0"),
                        Some(status) => vec![0, 0, 0, 0, 2, 8, status].into(),
                        None => Bytes::new(),
                    };
                    let frames = [Frame::data(message), Frame::trailers(trailers)];
                    let frames = frames.map(Ok::<_, Infallible>);
                    let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
                    Ok::<_, Infallible>(Response::new(body))
                });
                let serving = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), answer));
            }
        });
        address
    }

    #[tokio::test]
    async fn a_real_server_is_asked_and_understood() {
        let address = server().await;
        for (service, expect) in [
            (None, None),
            (Some(""), None),
            (Some("shop.Cart"), Some("answered NOT_SERVING")),
            (Some("empty"), Some("answered UNKNOWN")),
            (Some("other"), Some("the server does not know this service")),
            (Some("broken"), Some("answered gRPC status 13")),
        ] {
            let stream = TcpStream::connect(address).await.unwrap();
            let result = ask(stream, service).await;
            assert_eq!(
                result.err().map(|bad| bad.why).as_deref(),
                expect,
                "{service:?}"
            );
        }
    }

    #[test]
    fn only_a_whole_message_is_a_status() {
        for (body, expect) in [
            (&b"\0\0\0\0\x02\x08\x01"[..], Some(1)),
            (b"\0\0\0\0\0", Some(0)),
            (b"\x01\0\0\0\x02\x08\x01", None),
            (b"\0\0\0\0\x02\x08", None),
            (b"\0\0\0\0\x03\x08\x81\x01", None),
            (b"", None),
        ] {
            assert_eq!(status(body), expect, "{body:?}");
        }
        let long = request_of(&"s".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
    }
}
