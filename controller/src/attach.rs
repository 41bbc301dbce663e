//! Joins a user's terminal to a pod: two WebSockets that come in at different times.
//!
//! The first end to arrive waits here for the other, with a limit. Then frames pass both ways as
//! they are, one at a time: an end that does not read holds back the one that writes. What the
//! frames mean is between the ends (`fairway_api::client::attach`); the controller only speaks when
//! it has to say that nobody came.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use fairway_api::ids::AttachId;
use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};

/// How long one end waits for the other: as long as the largest image may take to be pulled.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// How often an end is pinged, so that proxies and NAT tables keep a silent terminal open.
const PING_EVERY: Duration = Duration::from_secs(20);
/// An end that sent nothing, not even pongs, for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// How long a frame may take to be accepted. An end that reads nothing for so long is stuck: a
/// user who suspended the terminal for an hour has lost it.
const SEND_MAX: Duration = Duration::from_secs(60 * 60);
/// Frames that an end may send before the other is there (a window size, first input).
const EARLY_FRAMES_MAX: usize = 64;
/// Ends that may wait at once; each holds a socket.
const WAITING_MAX: usize = 1_000;
/// The most bytes of one message. Terminals send a few KiB.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Which end of an attached terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    User,
    Pod,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::User => Self::Pod,
            Self::Pod => Self::User,
        }
    }
}

/// Where ends wait for each other.
#[derive(Debug, Default)]
pub struct Rendezvous {
    waiting: Mutex<HashMap<(AttachId, End), oneshot::Sender<Arrival>>>,
}

/// What a waiting end is told.
#[derive(Debug)]
enum Arrival {
    Other(Box<WebSocket>),
    /// Nobody will come: why.
    Nobody(String),
}

impl Rendezvous {
    /// Brings one end. Returns when the terminal has ended, or when this end's part in it has: the
    /// first end to come does the work for both.
    pub async fn join(&self, id: AttachId, end: End, socket: WebSocket) {
        match self.take_seat(id, end) {
            Seat::First(place, arrival) => wait(place, arrival, socket).await,
            Seat::Second(first) => {
                if let Err(Arrival::Other(socket)) = first.send(Arrival::Other(Box::new(socket))) {
                    say_failed(*socket, "the other end of the terminal has gone").await;
                }
            }
            Seat::None => say_failed(socket, "this terminal is taken, or too many wait").await,
        }
    }

    fn take_seat(&self, id: AttachId, end: End) -> Seat<'_> {
        let mut waiting = self.lock();
        if let Some(first) = waiting.remove(&(id, end.other())) {
            return Seat::Second(first);
        }
        if waiting.len() >= WAITING_MAX || waiting.contains_key(&(id, end)) {
            return Seat::None;
        }
        let (sender, arrival) = oneshot::channel();
        waiting.insert((id, end), sender);
        Seat::First(
            Place {
                rendezvous: self,
                key: (id, end),
            },
            arrival,
        )
    }

    /// Tells the user's end, if it waits, that its pod will not come: why.
    pub fn fail(&self, id: AttachId, reason: &str) {
        if let Some(user) = self.lock().remove(&(id, End::User)) {
            drop(user.send(Arrival::Nobody(reason.into())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(AttachId, End), oneshot::Sender<Arrival>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an end finds when it comes.
enum Seat<'a> {
    First(Place<'a>, oneshot::Receiver<Arrival>),
    Second(oneshot::Sender<Arrival>),
    None,
}

/// A place in the map, given up when its holder leaves for whatever reason.
struct Place<'a> {
    rendezvous: &'a Rendezvous,
    key: (AttachId, End),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.rendezvous.lock();
        if waiting
            .get(&self.key)
            .is_some_and(oneshot::Sender::is_closed)
        {
            waiting.remove(&self.key);
        }
    }
}

/// Waits for the other end while looking after this one.
async fn wait(place: Place<'_>, mut arrival: oneshot::Receiver<Arrival>, mut socket: WebSocket) {
    let mut early = Vec::new();
    let deadline = time::sleep(WAIT_MAX);
    let mut ping = time::interval(PING_EVERY);
    tokio::pin!(deadline);
    let other = loop {
        tokio::select! {
            told = &mut arrival => break told.ok(),
            () = &mut deadline => break Some(Arrival::Nobody("the pod did not come up in time".into())),
            _ = ping.tick() => {
                if socket.send(Message::Ping(Bytes::new())).await.is_err() {
                    break None;
                }
            }
            message = socket.recv(), if early.len() < EARLY_FRAMES_MAX => match message {
                Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => early.push(message),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
            },
        }
    };
    drop(arrival);
    drop(place);
    match other {
        Some(Arrival::Other(other)) => pump(socket, *other, early).await,
        Some(Arrival::Nobody(reason)) => say_failed(socket, &reason).await,
        None => {}
    }
}

/// Passes frames both ways until one end closes, breaks or falls silent.
async fn pump(first: WebSocket, second: WebSocket, early: Vec<Message>) {
    let (mut to_first, mut from_first) = first.split();
    let (mut to_second, mut from_second) = second.split();
    for message in early {
        if send(&mut to_second, message).await.is_none() {
            return;
        }
    }
    let onward = forward(&mut from_first, &mut to_second);
    let back = forward(&mut from_second, &mut to_first);
    // What the one end sent before it left has passed on by then: `forward` ends only after it
    // delivered everything it read.
    tokio::select! {
        () = onward => {}
        () = back => {}
    }
    drop(time::timeout(PING_EVERY, to_first.close()).await);
    drop(time::timeout(PING_EVERY, to_second.close()).await);
}

/// Passes frames one way, and pings where they go: the pongs show the other direction that its
/// source is alive although it may have nothing to say.
async fn forward(from: &mut SplitStream<WebSocket>, to: &mut SplitSink<WebSocket, Message>) {
    let (mut heard, mut pinged) = (Instant::now(), Instant::now());
    loop {
        if pinged.elapsed() >= PING_EVERY {
            pinged = Instant::now();
            if send(to, Message::Ping(Bytes::new())).await.is_none() {
                return;
            }
        }
        let message = match time::timeout(PING_EVERY, from.next()).await {
            Err(_) if heard.elapsed() > SILENCE_MAX => return,
            Err(_) => continue,
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return,
            Ok(Some(Ok(message))) => message,
        };
        heard = Instant::now();
        let pass = matches!(message, Message::Binary(_) | Message::Text(_));
        if pass && send(to, message).await.is_none() {
            return;
        }
    }
}

async fn send(to: &mut SplitSink<WebSocket, Message>, message: Message) -> Option<()> {
    time::timeout(SEND_MAX, to.send(message)).await.ok()?.ok()
}

/// Ends a terminal that never began, in the words of `AttachControl::Failed`.
async fn say_failed(mut socket: WebSocket, reason: &str) {
    let control = serde_json::json!({ "kind": "failed", "reason": reason });
    drop(socket.send(Message::text(control.to_string())).await);
    drop(socket.send(Message::Close(None)).await);
}
