//! Copying to and from a process: a tar archive through a session, made and taken apart here.

mod pack;
mod unpack;

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use fairway_api::{
    client::{AttachControl, AttachFrame, AttachReceiver, AttachSender},
    sessions::SessionPurpose,
};
use tokio::{io::AsyncWriteExt as _, sync::mpsc};

use crate::{commands::Door, failure::Failure, session::Session};

/// Pieces of an archive between the disk and the network.
const PIECES_MAX: usize = 16;
/// The most bytes of one piece.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// What a shell says for a program that is not there.
const NO_SUCH_PROGRAM: i64 = 127;

/// What is to be copied where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) dyno: String,
    remote: String,
    local: PathBuf,
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToPod,
    FromPod,
}

/// Reads the two paths of the command line.
pub(crate) fn plan(source: &str, target: &str) -> Result<Copy, Failure> {
    let (dyno, remote, local, direction) = match (in_process(source), in_process(target)) {
        (Some((dyno, path)), None) => (dyno, path, target, Direction::FromPod),
        (None, Some((dyno, path))) => (dyno, path, source, Direction::ToPod),
        (Some(_), Some(_)) => {
            return Err(Failure::usage("both paths stand in a process")
                .with_hint("Copy here first, then there."));
        }
        (None, None) => {
            return Err(
                Failure::usage("neither path stands in a process").with_hint(
                    "Write one as web.1:/app/file. A file here with such a name: ./web.1:x",
                ),
            );
        }
    };
    if remote.is_empty() || local.is_empty() {
        return Err(Failure::usage("a path is empty"));
    }
    Ok(Copy {
        dyno: dyno.into(),
        remote: remote.into(),
        local: local.into(),
        direction,
    })
}

/// `web.1:/app/x` as process and path.
fn in_process(text: &str) -> Option<(&str, &str)> {
    let (name, path) = text.split_once(':')?;
    let (kind, number) = name.rsplit_once('.')?;
    let is_kind = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = !kind.is_empty()
        && kind.chars().all(is_kind)
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit());
    fits.then_some((name, path))
}

pub(crate) async fn run(copy: &Copy, door: &Door, session: &Session) -> Result<(), Failure> {
    session.refuse_json("copies files and prints nothing", "ps has JSON")?;
    let path = copy.remote.clone();
    let skipped = match copy.direction {
        Direction::FromPod => {
            let target = target_here(&copy.local, &copy.remote)?;
            let (socket, name) = door.dial(SessionPurpose::CopyFrom { path }).await?;
            let (sender, receiver) = socket.split();
            receive(sender, receiver, target, &name).await?
        }
        Direction::ToPod => {
            pack::look(&copy.local)?;
            let (socket, name) = door.dial(SessionPurpose::CopyTo { path }).await?;
            let (sender, receiver) = socket.split();
            send(sender, receiver, copy, &name).await?
        }
    };
    for skipped in &skipped {
        session.output.talk(format!("left out {skipped}"));
    }
    if skipped.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} of the copy {} left out, all else is there",
        skipped.len(),
        if skipped.len() == 1 {
            "entry was"
        } else {
            "entries were"
        }
    )))
}

/// Where a copy goes here: into a folder that is there, else to that name.
fn target_here(local: &Path, remote: &str) -> Result<PathBuf, Failure> {
    if local.is_dir() {
        return Ok(local.join(last_name(remote).unwrap_or("root")));
    }
    let parent = local.parent().filter(|it| !it.as_os_str().is_empty());
    let wants_folder = local.to_string_lossy().ends_with('/');
    if wants_folder || parent.is_some_and(|parent| !parent.is_dir()) {
        return Err(Failure::failed(format!(
            "there is no folder {}",
            if wants_folder {
                local
            } else {
                parent.unwrap_or(local)
            }
            .display()
        )));
    }
    Ok(local.into())
}

/// The last part of a path in a process; `None` if it has no name of its own.
fn last_name(path: &str) -> Option<&str> {
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    (!matches!(name, "" | "." | "..")).then_some(name)
}

async fn receive(
    sender: AttachSender,
    mut receiver: AttachReceiver,
    target: PathBuf,
    name: &str,
) -> Result<Vec<String>, Failure> {
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    let unpacking =
        tokio::task::spawn_blocking(move || unpack::unpack(Pieces::new(taken), &target));
    let mut pieces = Some(pieces);
    let mut stderr = tokio::io::stderr();
    let code = loop {
        match receiver.receive().await? {
            Some(AttachFrame::Output(bytes)) => {
                // The other side of the channel is gone when unpacking failed; it says why below.
                if let Some(open) = &pieces
                    && open.send(bytes).await.is_err()
                {
                    pieces = None;
                    break None;
                }
            }
            Some(AttachFrame::ErrorOutput(bytes)) => stderr.write_all(&bytes).await?,
            Some(AttachFrame::Control(AttachControl::Exit { code })) => break Some(code),
            Some(AttachFrame::Control(AttachControl::Failed { reason })) => {
                return Err(Failure::failed(reason));
            }
            Some(_) => {}
            None => {
                return Err(Failure::failed(format!(
                    "the connection to {name} was lost"
                )));
            }
        }
    };
    drop(pieces);
    drop(sender);
    let unpacked = unpacking
        .await
        .map_err(|error| Failure::failed(format!("unpacking failed: {error}")))?;
    match code {
        Some(code) if code != 0 => Err(ended(name, code)),
        _ => unpacked,
    }
}

fn ended(name: &str, code: i64) -> Failure {
    let failure = Failure::failed(format!("copying failed in {name} (exit code {code})"));
    if code == NO_SUCH_PROGRAM {
        failure.with_hint("The image needs tar and sh for that.")
    } else {
        failure
    }
}

async fn send(
    mut sender: AttachSender,
    mut receiver: AttachReceiver,
    copy: &Copy,
    name: &str,
) -> Result<Vec<String>, Failure> {
    let lost = || Failure::failed(format!("the connection to {name} was lost"));
    let mut stderr = tokio::io::stderr();
    // First it says what the target is: that decides under which name the archive goes.
    let top = loop {
        match receiver.receive().await?.ok_or_else(lost)? {
            AttachFrame::Output(bytes) if bytes.starts_with(b"d") => {
                break pack::own_name(&copy.local)?;
            }
            AttachFrame::Output(_) => {
                break last_name(&copy.remote)
                    .ok_or_else(|| Failure::usage(format!("{} is no name", copy.remote)))?
                    .into();
            }
            AttachFrame::ErrorOutput(bytes) => stderr.write_all(&bytes).await?,
            AttachFrame::Control(AttachControl::Exit { code }) => return Err(ended(name, code)),
            AttachFrame::Control(AttachControl::Failed { reason }) => {
                return Err(Failure::failed(reason));
            }
            AttachFrame::Input(_) | AttachFrame::Control(_) => {}
        }
    };
    let (pieces, mut made) = mpsc::channel(PIECES_MAX);
    let source = copy.local.clone();
    let packing =
        tokio::task::spawn_blocking(move || pack::pack(&source, &top, Collector::new(pieces)));
    // A task of its own: tar may have something to say while it is being fed.
    let feeding = tokio::spawn(async move {
        while let Some(piece) = made.recv().await {
            sender.send(AttachFrame::Input(piece)).await?;
        }
        let end = AttachFrame::Control(AttachControl::EndOfInput);
        sender.send(end).await?;
        Ok::<_, Failure>(sender)
    });
    let code = loop {
        match receiver.receive().await?.ok_or_else(lost)? {
            AttachFrame::ErrorOutput(bytes) => stderr.write_all(&bytes).await?,
            AttachFrame::Control(AttachControl::Exit { code }) => break code,
            AttachFrame::Control(AttachControl::Failed { reason }) => {
                return Err(Failure::failed(reason));
            }
            AttachFrame::Output(_) | AttachFrame::Input(_) | AttachFrame::Control(_) => {}
        }
    };
    feeding.abort();
    if code != 0 {
        return Err(ended(name, code));
    }
    packing
        .await
        .map_err(|error| Failure::failed(format!("packing failed: {error}")))?
}

/// An archive that comes in pieces, for a reader that waits.
struct Pieces {
    taken: mpsc::Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Pieces {
    fn new(taken: mpsc::Receiver<Vec<u8>>) -> Self {
        Self {
            taken,
            piece: io::Cursor::default(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.piece.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.taken.blocking_recv() {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

/// An archive that goes out in pieces as it is made, at the pace of the network.
struct Collector {
    pieces: mpsc::Sender<Vec<u8>>,
    piece: Vec<u8>,
}

impl Collector {
    fn new(pieces: mpsc::Sender<Vec<u8>>) -> Self {
        Self {
            pieces,
            piece: Vec::with_capacity(PIECE_BYTES_MAX),
        }
    }
}

impl Write for Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES_MAX - self.piece.len();
        let taken = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES_MAX {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES_MAX));
        self.pieces
            .blocking_send(piece)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_paths_stands_in_a_process() {
        for (source, target, expect) in [
            (
                "web.1:/app/x",
                ".",
                Some(("web.1", "/app/x", ".", Direction::FromPod)),
            ),
            (
                "./a",
                "worker-2.10:b",
                Some(("worker-2.10", "b", "./a", Direction::ToPod)),
            ),
            (
                "./web.1:x",
                "web.1:x",
                Some(("web.1", "x", "./web.1:x", Direction::ToPod)),
            ),
            ("C.x:a", "b", None),
            ("a", "b", None),
            ("web.1:a", "web.2:b", None),
            ("web.1:", "b", None),
            ("", "web.1:a", None),
        ] {
            let plan = plan(source, target).ok();
            let plan = plan.as_ref().map(|it| {
                (
                    it.dyno.as_str(),
                    it.remote.as_str(),
                    it.local.to_str().unwrap(),
                    it.direction,
                )
            });
            assert_eq!(plan, expect, "{source} {target}");
        }
    }

    #[test]
    fn a_copy_goes_where_cp_puts_it() {
        let dir = tempfile::tempdir().unwrap();
        let here = |name: &str| dir.path().join(name);
        std::fs::create_dir(here("there")).unwrap();
        for (local, remote, expect) in [
            ("there", "/app/x", Some("there/x")),
            ("there", "/", Some("there/root")),
            ("new", "/app/x", Some("new")),
            ("new/", "/app/x", None),
            ("no/new", "/app/x", None),
        ] {
            let target = target_here(&here(local), remote).ok();
            assert_eq!(target, expect.map(here), "{local} {remote}");
        }
    }
}
