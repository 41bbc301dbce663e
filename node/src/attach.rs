//! Joins a process to the user's terminal: a one-off pod's main one, or a session's command.
//!
//! ```text
//! user <--> controller <--AttachSocket--> session <--Attached--> process
//! ```
//! What goes through here is not logged: it is the user's own session.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fairway_api::client::{AttachControl, AttachFrame, AttachSocket};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::engine::{Attached, AttachedOutput, Engine};

/// Pieces of input that wait for the process to read.
const INPUT_PIECES_MAX: usize = 16;
/// How long the other end may take to close after the last frame, in seconds. Closing first while
/// input is still coming would make the kernel throw the last frame away.
const CLOSE_SECS: u64 = 5;
/// What a terminal sends for end of input.
const END_OF_TRANSMISSION: &[u8] = b"\x04";

/// The pod task's hold on a session.
#[derive(Debug)]
pub(crate) struct Session {
    /// How the process ended: makes the session say so and close.
    pub(crate) exit: oneshot::Sender<i64>,
    /// Fires when the user's end goes away first.
    pub(crate) gone: oneshot::Receiver<()>,
}

/// What has the terminal's size.
#[derive(Debug, Clone)]
pub(crate) enum Screen {
    Container(String),
    Exec(String),
}

/// Tells the user that the pod could not run.
pub(crate) async fn fail(socket: &mut AttachSocket, reason: String) {
    let frame = AttachFrame::Control(AttachControl::Failed { reason });
    if socket.send(frame).await.is_ok() {
        close(socket).await;
    }
}

/// Carries bytes both ways until the process ends or the user goes.
pub(crate) fn join(
    engine: Arc<Engine>,
    container: String,
    tty: bool,
    attached: Attached,
    socket: AttachSocket,
    shutdown: CancellationToken,
) -> Session {
    let (exit, exited) = oneshot::channel();
    let (leave, gone) = oneshot::channel();
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        let screen = Screen::Container(container);
        let exited = async { exited.await.ok() };
        if carry(engine, screen, tty, attached, socket, exited)
            .await
            .is_none()
        {
            // The receiver is gone only if the pod is.
            let _ = leave.send(());
        }
    }));
    Session { exit, gone }
}

/// Carries bytes both ways until the process has closed its output and `exited` says how it ended;
/// `None` if the user went away before.
pub(crate) async fn carry(
    engine: Arc<Engine>,
    screen: Screen,
    tty: bool,
    attached: Attached,
    socket: AttachSocket,
    exited: impl Future<Output = Option<i64>>,
) -> Option<()> {
    let (input, pieces) = mpsc::channel(INPUT_PIECES_MAX);
    let _writing = AbortOnDropHandle::new(tokio::spawn(write_input(attached.input, pieces)));
    let mut joined = Joined {
        engine,
        screen,
        tty,
        socket,
        input: Some(input),
        held: None,
    };
    joined.run(attached.output, exited).await
}

/// Writes input as the process takes it. A task of its own: a process that does not read must not
/// keep its output from flowing.
async fn write_input(mut process: impl AsyncWrite + Unpin, mut pieces: mpsc::Receiver<Vec<u8>>) {
    while let Some(piece) = pieces.recv().await {
        if process.write_all(&piece).await.is_err() {
            return;
        }
    }
    drop(process.shutdown().await);
}

struct Joined {
    engine: Arc<Engine>,
    screen: Screen,
    tty: bool,
    socket: AttachSocket,
    /// `None` after the end of input.
    input: Option<mpsc::Sender<Vec<u8>>>,
    /// Input that does not fit yet; while there is some, no more is read.
    held: Option<Vec<u8>>,
}

impl Joined {
    /// `None` if the user's end went away before the process ended.
    async fn run(
        &mut self,
        mut output: AttachedOutput,
        exited: impl Future<Output = Option<i64>>,
    ) -> Option<()> {
        loop {
            let full = self.input.clone().filter(|_| self.held.is_some());
            tokio::select! {
                piece = output.next() => match piece {
                    Ok(Some((error_output, bytes))) => self.print(error_output, bytes).await?,
                    // The engine going away ends the output too; the exit code tells.
                    Ok(None) | Err(_) => break,
                },
                frame = self.socket.receive(), if full.is_none() => {
                    self.take(frame.ok().flatten()?).await;
                }
                room = async { full.as_ref()?.reserve().await.ok() }, if full.is_some() => {
                    let piece = self.held.take().unwrap_or_default();
                    if let Some(room) = room {
                        room.send(piece);
                    }
                }
            }
        }
        let last = match self.exit_code(exited).await? {
            Some(code) => AttachControl::Exit { code },
            None => AttachControl::Failed {
                reason: "the process's exit code is not known".into(),
            },
        };
        self.socket.send(AttachFrame::Control(last)).await.ok()?;
        close(&mut self.socket).await;
        Some(())
    }

    /// Waits for the end of a process that has closed its output; `None` if the user goes first.
    async fn exit_code(
        &mut self,
        exited: impl Future<Output = Option<i64>>,
    ) -> Option<Option<i64>> {
        let mut exited = std::pin::pin!(exited);
        loop {
            tokio::select! {
                biased;
                code = &mut exited => return Some(code),
                frame = self.socket.receive() => drop(frame.ok().flatten()?),
            }
        }
    }

    async fn print(&mut self, error_output: bool, bytes: Bytes) -> Option<()> {
        let bytes = Vec::from(bytes);
        let frame = if error_output {
            AttachFrame::ErrorOutput(bytes)
        } else {
            AttachFrame::Output(bytes)
        };
        self.socket.send(frame).await.ok()
    }

    async fn take(&mut self, frame: AttachFrame) {
        match frame {
            AttachFrame::Input(bytes) => self.feed(bytes),
            AttachFrame::Control(AttachControl::EndOfInput) => {
                if self.tty {
                    self.feed(END_OF_TRANSMISSION.to_vec());
                } else {
                    self.input = None;
                }
            }
            AttachFrame::Control(AttachControl::Resize { rows, columns }) => {
                let resized = match &self.screen {
                    Screen::Container(id) => self.engine.resize(id, rows, columns).await,
                    Screen::Exec(id) => self.engine.resize_exec(id, rows, columns).await,
                };
                if let Err(error) = resized {
                    tracing::debug!(screen = ?self.screen, "cannot resize: {error}");
                }
            }
            // Not the user's to send.
            AttachFrame::Output(_)
            | AttachFrame::ErrorOutput(_)
            | AttachFrame::Control(
                AttachControl::EndOfOutput
                | AttachControl::Exit { .. }
                | AttachControl::Failed { .. },
            ) => {}
        }
    }

    fn feed(&mut self, bytes: Vec<u8>) {
        let Some(input) = &self.input else { return };
        match input.try_send(bytes) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(bytes)) => self.held = Some(bytes),
            // The process has closed its input: what is typed goes nowhere, as in any pipe.
            Err(mpsc::error::TrySendError::Closed(_)) => self.input = None,
        }
    }
}

/// Reads on until the other end closes.
async fn close(socket: &mut AttachSocket) {
    let rest = async { while let Ok(Some(_)) = socket.receive().await {} };
    drop(timeout(Duration::from_secs(CLOSE_SECS), rest).await);
}
