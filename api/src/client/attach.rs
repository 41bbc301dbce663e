//! A rendezvous between a user and a pod, over WebSocket: a one-off pod's terminal, or a session
//! with a pod that runs ([`crate::sessions`]).
//!
//! The user's end dials the URL that it was given, the agent's end dials
//! `/internal/attach/{id}`; the controller joins the two. Frames, the same both ways through:
//!
//! | frame | from | meaning |
//! |---|---|---|
//! | binary `0` + bytes | user | input |
//! | binary `1` + bytes | pod | output (with a terminal: all of it) |
//! | binary `2` + bytes | pod | error output (without a terminal) |
//! | text [`AttachControl`] | either | window size, end of input or output, exit |

use std::sync::Arc;

use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::{
    Connector, client_async_tls_with_config, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

use super::Client;
use crate::ids::AttachId;

/// What one end of an attached terminal says to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachFrame {
    Input(Vec<u8>),
    Output(Vec<u8>),
    ErrorOutput(Vec<u8>),
    Control(AttachControl),
}

/// The frames that are not bytes of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AttachControl {
    /// From the user: the terminal's size in characters.
    Resize { rows: u16, columns: u16 },
    /// From the user: no more input.
    EndOfInput,
    /// From the pod, for a connection: no more output, while input still flows.
    EndOfOutput,
    /// From the pod, last: how the process ended.
    Exit { code: i64 },
    /// From the pod or the controller, last: it could not run.
    Failed { reason: String },
}

/// Why an attached terminal broke.
#[derive(Debug, thiserror::Error)]
pub enum AttachSocketError {
    #[error("connect the terminal")]
    Connect(#[source] tungstenite::Error),
    #[error("the terminal's connection broke")]
    Broken(#[source] tungstenite::Error),
    #[error("the other end of the terminal sent {0}")]
    NotOurs(String),
}

/// One end of an attached terminal.
#[derive(Debug)]
pub struct AttachSocket<S = Socket> {
    socket: S,
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

impl Client {
    /// The user's end: dials an `attach_url`.
    pub async fn attach(&self, attach_url: &str) -> Result<AttachSocket, AttachSocketError> {
        dial(attach_url, None).await
    }

    /// The pod's end, for its agent.
    pub async fn attach_pod(&self, id: AttachId) -> Result<AttachSocket, AttachSocketError> {
        let mut url = self.url(&format!("/internal/attach/{id}"));
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme)
            .expect("http and ws are schemes of the same class");
        let Some(pinned) = &self.pinned else {
            let token = self.token.as_ref().map(|token| token.expose());
            return dial(url.as_str(), token).await;
        };
        let stream = pinned
            .connect()
            .await
            .map_err(|error| AttachSocketError::Connect(error.into()))?;
        let tls = Connector::Rustls(Arc::clone(&pinned.tls));
        let (socket, _response) =
            client_async_tls_with_config(url.as_str(), stream, None, Some(tls))
                .await
                .map_err(AttachSocketError::Connect)?;
        Ok(AttachSocket { socket })
    }
}

async fn dial(url: &str, token: Option<&str>) -> Result<AttachSocket, AttachSocketError> {
    let mut request = url
        .into_client_request()
        .map_err(AttachSocketError::Connect)?;
    if let Some(value) = token.and_then(|t| HeaderValue::from_str(&format!("Bearer {t}")).ok()) {
        request.headers_mut().insert("authorization", value);
    }
    let (socket, _response) = connect_async(request)
        .await
        .map_err(AttachSocketError::Connect)?;
    Ok(AttachSocket { socket })
}

impl<S> AttachSocket<S>
where
    S: Stream<Item = Result<Message, tungstenite::Error>>
        + Sink<Message, Error = tungstenite::Error>
        + Unpin,
{
    /// Sends one frame.
    pub async fn send(&mut self, frame: AttachFrame) -> Result<(), AttachSocketError> {
        self.socket
            .send(frame.into_message())
            .await
            .map_err(AttachSocketError::Broken)
    }

    /// The next frame; `None` when the other end has gone.
    pub async fn receive(&mut self) -> Result<Option<AttachFrame>, AttachSocketError> {
        next_frame(&mut self.socket).await
    }

    /// The two directions apart, for an end that must go on reading while a send waits: two ends
    /// that both wait for the other to read would wait for ever.
    pub fn split(self) -> (AttachSender<S>, AttachReceiver<S>) {
        let (sink, stream) = self.socket.split();
        (AttachSender { sink }, AttachReceiver { stream })
    }
}

/// The sending half of an [`AttachSocket`].
#[derive(Debug)]
pub struct AttachSender<S = Socket> {
    sink: SplitSink<S, Message>,
}

/// The receiving half of an [`AttachSocket`].
#[derive(Debug)]
pub struct AttachReceiver<S = Socket> {
    stream: SplitStream<S>,
}

impl<S: Sink<Message, Error = tungstenite::Error> + Unpin> AttachSender<S> {
    /// Sends one frame.
    pub async fn send(&mut self, frame: AttachFrame) -> Result<(), AttachSocketError> {
        self.sink
            .send(frame.into_message())
            .await
            .map_err(AttachSocketError::Broken)
    }
}

impl<S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin> AttachReceiver<S> {
    /// The next frame; `None` when the other end has gone.
    pub async fn receive(&mut self) -> Result<Option<AttachFrame>, AttachSocketError> {
        next_frame(&mut self.stream).await
    }
}

async fn next_frame<S>(stream: &mut S) -> Result<Option<AttachFrame>, AttachSocketError>
where
    S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    loop {
        match stream.next().await {
            None | Some(Ok(Message::Close(_))) => return Ok(None),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(message)) => return AttachFrame::from_message(message).map(Some),
            Some(Err(error)) => return Err(AttachSocketError::Broken(error)),
        }
    }
}

impl AttachFrame {
    fn into_message(self) -> Message {
        let bytes = |kind: u8, mut bytes: Vec<u8>| {
            bytes.insert(0, kind);
            Message::Binary(bytes.into())
        };
        match self {
            Self::Input(data) => bytes(0, data),
            Self::Output(data) => bytes(1, data),
            Self::ErrorOutput(data) => bytes(2, data),
            Self::Control(control) => {
                Message::Text(serde_json::to_string(&control).unwrap_or_default().into())
            }
        }
    }

    fn from_message(message: Message) -> Result<Self, AttachSocketError> {
        match message {
            Message::Binary(data) => match data.split_first() {
                Some((0, rest)) => Ok(Self::Input(rest.to_vec())),
                Some((1, rest)) => Ok(Self::Output(rest.to_vec())),
                Some((2, rest)) => Ok(Self::ErrorOutput(rest.to_vec())),
                _ => Err(AttachSocketError::NotOurs("an unknown binary frame".into())),
            },
            Message::Text(text) => serde_json::from_str(&text)
                .map(Self::Control)
                .map_err(|error| AttachSocketError::NotOurs(error.to_string())),
            _ => Err(AttachSocketError::NotOurs("an unexpected frame".into())),
        }
    }
}
