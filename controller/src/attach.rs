//! Joins a user's terminal to a pod: two WebSockets that come in at different times.
//!
//! The first end to arrive waits here for the other, with a limit. Then frames pass both ways as
//! they are, one at a time: an end that does not read holds back the one that writes. What the
//! frames mean is between the ends (`fairway_api::client::attach`); the controller only speaks when
//! it has to say that nobody came.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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

/// How often an end is pinged, so that proxies and NAT tables keep a silent terminal open.
const PING_EVERY: Duration = Duration::from_secs(20);
/// An end that sent nothing, not even pongs, for this long is gone; unless it is given something
/// all that time that it does not take: then it is stuck, which [`SEND_MAX`] is for.
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

/// How long the ends of a rendezvous may take.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How long one end waits for the other.
    pub wait: Duration,
    /// How long neither may say anything to the other; `None` for as long as both live.
    pub idle: Option<Duration>,
    /// What an end is told that waited in vain.
    pub absent: String,
}

impl Terms {
    /// For the terminal of a one-off pod, which waits as long as the largest image may take to be
    /// pulled.
    pub fn one_off() -> Self {
        Self {
            wait: Duration::from_secs(10 * 60),
            idle: None,
            absent: "the pod did not come up in time".into(),
        }
    }
}

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
    /// The other's socket; what comes with it is dropped when the terminal has ended.
    Other(Box<WebSocket>, oneshot::Sender<()>),
    /// Nobody will come: why.
    Nobody(String),
}

impl Rendezvous {
    /// Brings one end. Returns when the terminal has ended. The first end to come does the work for
    /// both.
    pub async fn join(&self, id: AttachId, end: End, socket: WebSocket, terms: &Terms) {
        match self.take_seat(id, end) {
            Seat::First(place, arrival) => wait(place, arrival, socket, terms).await,
            Seat::Second(first) => {
                let (done, end) = oneshot::channel();
                match first.send(Arrival::Other(Box::new(socket), done)) {
                    Err(Arrival::Other(socket, _)) => {
                        say_failed(*socket, "the other end of the terminal has gone").await;
                    }
                    // Nothing is ever sent: it is dropped at the end.
                    _ => drop(end.await),
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
async fn wait(
    place: Place<'_>,
    mut arrival: oneshot::Receiver<Arrival>,
    mut socket: WebSocket,
    terms: &Terms,
) {
    let mut early = Vec::new();
    let deadline = time::sleep(terms.wait);
    let mut ping = time::interval(PING_EVERY);
    tokio::pin!(deadline);
    let other = loop {
        tokio::select! {
            told = &mut arrival => break told.ok(),
            () = &mut deadline => break Some(Arrival::Nobody(terms.absent.clone())),
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
        Some(Arrival::Other(other, _done)) => pump(socket, *other, early, terms.idle).await,
        Some(Arrival::Nobody(reason)) => say_failed(socket, &reason).await,
        None => {}
    }
}

/// What the two directions know of each other.
struct Flow {
    idle: Option<Duration>,
    /// When something last passed, either way.
    moved: Mutex<Instant>,
    /// Whether a frame waits to be taken by the first, and by the second end.
    stuck: [AtomicBool; 2],
}

impl Flow {
    fn moves(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_idle(&self) -> bool {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        self.idle.is_some_and(|idle| moved.elapsed() > idle)
    }
}

/// Why a direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Gone,
    Idle,
}

/// Passes frames both ways until one end closes, breaks or falls silent, or nothing passes for too
/// long.
async fn pump(first: WebSocket, second: WebSocket, early: Vec<Message>, idle: Option<Duration>) {
    let (mut to_first, mut from_first) = first.split();
    let (mut to_second, mut from_second) = second.split();
    for message in early {
        if send(&mut to_second, message).await.is_none() {
            return;
        }
    }
    let flow = Flow {
        idle,
        moved: Mutex::new(Instant::now()),
        stuck: [AtomicBool::new(false), AtomicBool::new(false)],
    };
    let onward = forward(&mut from_first, &mut to_second, &flow, 1);
    let back = forward(&mut from_second, &mut to_first, &flow, 0);
    // What the one end sent before it left has passed on by then: `forward` ends only after it
    // delivered everything it read.
    let stop = tokio::select! {
        stop = onward => stop,
        stop = back => stop,
    };
    if let (Stop::Idle, Some(idle)) = (stop, idle) {
        let minutes = idle.as_secs() / 60;
        let told = failed(&format!("nothing was said for {minutes} minutes"));
        for end in [&mut to_first, &mut to_second] {
            drop(time::timeout(PING_EVERY, end.send(Message::text(told.clone()))).await);
        }
    }
    drop(time::timeout(PING_EVERY, to_first.close()).await);
    drop(time::timeout(PING_EVERY, to_second.close()).await);
}

/// Passes frames one way, to end number `target`, and pings it: the pongs show the other direction
/// that its source is alive although it may have nothing to say.
async fn forward(
    from: &mut SplitStream<WebSocket>,
    to: &mut SplitSink<WebSocket, Message>,
    flow: &Flow,
    target: usize,
) -> Stop {
    let source_is_stuck = || flow.stuck[1 - target].load(Ordering::Relaxed);
    let (mut heard, mut pinged) = (Instant::now(), Instant::now());
    loop {
        if pinged.elapsed() >= PING_EVERY {
            pinged = Instant::now();
            if send(to, Message::Ping(Bytes::new())).await.is_none() {
                return Stop::Gone;
            }
        }
        let message = match time::timeout(PING_EVERY, from.next()).await {
            Err(_) if flow.is_idle() => return Stop::Idle,
            Err(_) if heard.elapsed() > SILENCE_MAX && !source_is_stuck() => return Stop::Gone,
            Err(_) => continue,
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Stop::Gone,
            Ok(Some(Ok(message))) => message,
        };
        heard = Instant::now();
        if !matches!(message, Message::Binary(_) | Message::Text(_)) {
            // Pongs come all the time and are nothing that is said.
            if flow.is_idle() {
                return Stop::Idle;
            }
            continue;
        }
        flow.moves();
        flow.stuck[target].store(true, Ordering::Relaxed);
        if send(to, message).await.is_none() {
            return Stop::Gone;
        }
        flow.stuck[target].store(false, Ordering::Relaxed);
    }
}

async fn send(to: &mut SplitSink<WebSocket, Message>, message: Message) -> Option<()> {
    time::timeout(SEND_MAX, to.send(message)).await.ok()?.ok()
}

/// Ends a terminal that never began, in the words of `AttachControl::Failed`.
async fn say_failed(mut socket: WebSocket, reason: &str) {
    drop(socket.send(Message::text(failed(reason))).await);
    drop(socket.send(Message::Close(None)).await);
}

fn failed(reason: &str) -> String {
    serde_json::json!({ "kind": "failed", "reason": reason }).to_string()
}
