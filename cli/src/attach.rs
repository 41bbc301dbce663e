//! A one-off pod's input and output joined to ours, until the pod says how it ended.
//!
//! Reading and sending run side by side: a program that answers while it is still being fed
//! (`app run cat < big > copy`) would otherwise stop both ends.

use std::io;

use fairway_api::client::{
    AttachControl, AttachFrame, AttachReceiver, AttachSender, AttachSocket, AttachSocketError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    failure::{Failure, Kind},
    terminal::{self, RawMode},
};

/// How much input goes into one frame, in bytes.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The program ended with this code.
    Exited(i64),
    /// The connection ended first.
    Lost,
}

/// Joins this process to the pod. With `whole_terminal` the pod gets every key and the size.
pub(crate) async fn join(socket: AttachSocket, whole_terminal: bool) -> Result<Ending, Failure> {
    let (sender, receiver) = socket.split();
    let listen = |kind| signal(kind).map_err(Failure::io("listen for signals"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let resized = listen(SignalKind::window_change())?;
    let raw = if whole_terminal {
        Some(RawMode::start().map_err(Failure::io("take over the terminal"))?)
    } else {
        None
    };
    let input = tokio::spawn(send_input(sender, resized, whole_terminal));
    let ending = tokio::select! {
        ending = receive_output(receiver) => ending,
        // Through here, so that the terminal is put back before the process ends.
        _ = terminate.recv() => Err(Failure::failed("stopped by a signal")),
        _ = hangup.recv() => Err(Failure::failed("the terminal was closed")),
    };
    input.abort();
    drop(raw);
    ending
}

/// Our input and window size go out until the input ends; then only the size. An error here shows
/// at the receiving side too, which reports it.
async fn send_input(mut sender: AttachSender, mut resized: Signal, whole_terminal: bool) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; INPUT_BYTES_MAX];
    let mut open = true;
    if whole_terminal && send_size(&mut sender).await.is_err() {
        return;
    }
    loop {
        let sent = tokio::select! {
            read = stdin.read(&mut buffer), if open => match read {
                Ok(length) if length > 0 => {
                    sender.send(AttachFrame::Input(buffer[..length].to_vec())).await
                }
                Ok(_) | Err(_) => {
                    open = false;
                    sender.send(AttachFrame::Control(AttachControl::EndOfInput)).await
                }
            },
            notice = resized.recv() => match notice {
                Some(()) if whole_terminal => send_size(&mut sender).await,
                Some(()) => Ok(()),
                None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send_size(sender: &mut AttachSender) -> Result<(), AttachSocketError> {
    match terminal::size() {
        Some((rows, columns)) => {
            sender
                .send(AttachFrame::Control(AttachControl::Resize {
                    rows,
                    columns,
                }))
                .await
        }
        None => Ok(()),
    }
}

async fn receive_output(mut receiver: AttachReceiver) -> Result<Ending, Failure> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    loop {
        match receiver.receive().await {
            Ok(Some(AttachFrame::Output(bytes))) => write(&mut stdout, &bytes).await?,
            Ok(Some(AttachFrame::ErrorOutput(bytes))) => write(&mut stderr, &bytes).await?,
            Ok(Some(AttachFrame::Control(AttachControl::Exit { code }))) => {
                return Ok(Ending::Exited(code));
            }
            Ok(Some(AttachFrame::Control(AttachControl::Failed { reason }))) => {
                return Err(Failure::failed(reason));
            }
            // What only our side says, and a broken connection: the caller asks how the pod is.
            Ok(Some(AttachFrame::Input(_) | AttachFrame::Control(_))) => {}
            Ok(None) | Err(AttachSocketError::Broken(_)) => return Ok(Ending::Lost),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn write(to: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> Result<(), Failure> {
    let written = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    written.await.map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::new(Kind::OutputClosed, "nobody reads the output any more")
        } else {
            Failure::io("pass on the program's output")(error)
        }
    })
}
