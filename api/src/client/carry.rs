//! A byte stream (a TCP connection) over an [`AttachSocket`], with both half-closes.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::attach::{
    AttachControl, AttachFrame, AttachReceiver, AttachSender, AttachSocket, AttachSocketError,
};

/// How much is read into one frame, in bytes.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// Which end of the socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What it reads goes out as input.
    User,
    /// What it reads goes out as output.
    Pod,
}

impl AttachSocket {
    /// Carries bytes between the socket and `stream` until both directions have ended or the other
    /// end has gone. Each direction waits for its reader, so that neither end collects more than a
    /// piece; gives why the other end could not go on, if it said so.
    pub async fn carry<T>(self, stream: T, side: Side) -> Result<Option<String>, AttachSocketError>
    where
        T: AsyncRead + AsyncWrite + Send,
    {
        let (sender, receiver) = self.split();
        let (from, to) = tokio::io::split(stream);
        let mut out = std::pin::pin!(read(from, sender, side));
        let mut back = std::pin::pin!(write(to, receiver));
        tokio::select! {
            sent = &mut out => match sent {
                // The half that was read to its end; the other may go on for long. Its sender is
                // kept: dropping it would close the socket.
                Ok(_sender) => back.await.map(Ended::reason),
                Err(error) => Err(error),
            },
            ended = &mut back => match ended? {
                Ended::Output => out.await.map(|_sender| None),
                over => Ok(over.reason()),
            },
        }
    }
}

/// How the direction from the socket ended.
enum Ended {
    /// The other end has no more to say.
    Output,
    /// Nobody is there any more, or our own stream takes no more.
    Over,
    Failed(String),
}

impl Ended {
    fn reason(self) -> Option<String> {
        match self {
            Self::Failed(reason) => Some(reason),
            Self::Output | Self::Over => None,
        }
    }
}

async fn read(
    mut from: impl AsyncRead + Unpin,
    mut sender: AttachSender,
    side: Side,
) -> Result<AttachSender, AttachSocketError> {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    loop {
        // A connection that broke says no more either.
        let length = from.read(&mut buffer).await.unwrap_or(0);
        let bytes = buffer[..length].to_vec();
        let frame = match (length, side) {
            (0, Side::User) => AttachFrame::Control(AttachControl::EndOfInput),
            (0, Side::Pod) => AttachFrame::Control(AttachControl::EndOfOutput),
            (_, Side::User) => AttachFrame::Input(bytes),
            (_, Side::Pod) => AttachFrame::Output(bytes),
        };
        sender.send(frame).await?;
        if length == 0 {
            return Ok(sender);
        }
    }
}

async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut receiver: AttachReceiver,
) -> Result<Ended, AttachSocketError> {
    loop {
        match receiver.receive().await? {
            Some(AttachFrame::Input(bytes) | AttachFrame::Output(bytes)) => {
                if to.write_all(&bytes).await.is_err() {
                    return Ok(Ended::Over);
                }
            }
            Some(AttachFrame::Control(AttachControl::EndOfInput | AttachControl::EndOfOutput)) => {
                drop(to.shutdown().await);
                return Ok(Ended::Output);
            }
            Some(AttachFrame::Control(AttachControl::Failed { reason })) => {
                return Ok(Ended::Failed(reason));
            }
            Some(AttachFrame::Control(_) | AttachFrame::ErrorOutput(_)) => {}
            None => return Ok(Ended::Over),
        }
    }
}
