//! A raw connection to a container's main process, or to a command beside it.
//!
//! Made by hand: with a terminal the engine sends plain bytes, without one it frames them, and
//! the library guesses which from the first byte, so that a program that prints a zero byte to
//! its terminal would hang the session.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, ReadHalf, WriteHalf},
    net::UnixStream,
};

use super::{DockerError, Engine, EngineError};

/// How much is read at once, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// The longest frame that is taken as one, in bytes; a longer one is no frame of the engine's.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most bytes of the engine's reason for a refusal.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// Stream type, three zero bytes, length.
const HEADER_BYTES: usize = 8;

/// Keys that would detach, encoded for a URL. It cannot be turned off, and the engine's own choice
/// would swallow ctrl-p, with which shells show the line before; nobody types these.
const DETACH_KEYS: &str = "ctrl-%40%2Cctrl-_%2Cctrl-%40%2Cctrl-_";

type Connection = TokioIo<Upgraded>;

/// Both directions of a container's main process.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) input: WriteHalf<Connection>,
    pub(crate) output: AttachedOutput,
}

/// What the process prints.
#[derive(Debug)]
pub(crate) struct AttachedOutput {
    connection: ReadHalf<Connection>,
    tty: bool,
    buffer: BytesMut,
}

impl Engine {
    /// Connects to a container that was made with its input open; before it is started, so that
    /// nothing it prints is missed.
    pub(crate) async fn attach(&self, id: &str, tty: bool) -> Result<Attached, EngineError> {
        let path = format!(
            "/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1&detachKeys={DETACH_KEYS}"
        );
        self.take_over("attach to the container", &path, Bytes::new(), tty)
            .await
    }

    /// Asks for something whose answer is the connection itself.
    pub(super) async fn take_over(
        &self,
        action: &'static str,
        path: &str,
        body: Bytes,
        tty: bool,
    ) -> Result<Attached, EngineError> {
        let failed = self.failed(action);
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|err| failed(DockerError::IOError { err }))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|err| failed(DockerError::HyperResponseError { err }))?;
        tokio::spawn(connection.with_upgrades());
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "tcp")
            .body(Full::new(body))
            .map_err(|err| failed(DockerError::HttpClientError { err }))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|err| failed(DockerError::HyperResponseError { err }))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status_code = response.status().as_u16();
            let message = refusal(response).await;
            return Err(failed(DockerError::DockerResponseServerError {
                status_code,
                message,
            }));
        }
        let upgraded = hyper::upgrade::on(response).await;
        let upgraded = upgraded.map_err(|err| failed(DockerError::HyperResponseError { err }))?;
        let (connection, input) = tokio::io::split(TokioIo::new(upgraded));
        let output = AttachedOutput {
            connection,
            tty,
            buffer: BytesMut::new(),
        };
        Ok(Attached { input, output })
    }
}

/// What the engine says when it keeps the connection.
async fn refusal(response: Response<Incoming>) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let body = Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect();
    let said = match body.await {
        Ok(body) => serde_json::from_slice::<Said>(&body.to_bytes()).ok(),
        Err(_) => None,
    };
    said.map_or_else(
        || "it did not hand over the terminal".into(),
        |said| said.message,
    )
}

impl AttachedOutput {
    /// The next bytes, and whether they are error output; `None` at the end. Safe to cancel.
    pub(crate) async fn next(&mut self) -> io::Result<Option<(bool, Bytes)>> {
        loop {
            if let Some(output) = self.take()? {
                return Ok(Some(output));
            }
            self.buffer.reserve(READ_BYTES);
            if self.connection.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<(bool, Bytes)>> {
        if self.tty {
            let all = self.buffer.split().freeze();
            return Ok((!all.is_empty()).then_some((false, all)));
        }
        unframe(&mut self.buffer)
    }
}

/// Takes the first whole frame from a buffer.
fn unframe(buffer: &mut BytesMut) -> io::Result<Option<(bool, Bytes)>> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let [kind, 0, 0, 0, length @ ..] = *header else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the engine sent no frame",
        ));
    };
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the engine sent too long a frame",
        ));
    }
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    Ok(Some((kind == 2, buffer.split_to(length).freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_and_in_order() {
        let mut buffer = BytesMut::from(&b"\x01\0\0\0\0\0\0\x02ok\x02\0\0\0\0\0\0\x03b"[..]);
        assert_eq!(
            unframe(&mut buffer).unwrap(),
            Some((false, Bytes::from("ok")))
        );
        assert_eq!(unframe(&mut buffer).unwrap(), None);
        buffer.extend_from_slice(b"ad");
        assert_eq!(
            unframe(&mut buffer).unwrap(),
            Some((true, Bytes::from("bad")))
        );
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bad in [&b"HTTP/1.1 400"[..], b"\x01\0\0\0\xff\xff\xff\xff"] {
            assert!(unframe(&mut BytesMut::from(bad)).is_err(), "{bad:?}");
        }
    }
}
