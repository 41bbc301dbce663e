//! What builds print: one file per build, appended while it runs, followed from any byte.
//!
//! The first [`HEAD_BYTES_MAX`] bytes go to the file as they come. Builders keep to
//! `BUILD_OUTPUT_BYTES_MAX` themselves; should one not, only the newest [`TAIL_BYTES_MAX`] bytes past
//! the head are held, and written below a line that says how much was cut when the push ends: the
//! end is what says why a build failed.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use fairway_api::{builds::BUILD_OUTPUT_BYTES_MAX, ids::BuildId};
use futures_util::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
};

/// Bytes of the end that are kept of an output that is too long.
const TAIL_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the beginning: all that a builder may send, and room for what the controller adds about
/// the release.
const HEAD_BYTES_MAX: u64 = BUILD_OUTPUT_BYTES_MAX + 1024 * 1024;
/// Bytes that a follower is sent at once.
const CHUNK_BYTES_MAX: u64 = 64 * 1024;

/// The outputs of all builds.
#[derive(Debug)]
pub struct BuildOutputs {
    folder: PathBuf,
    /// Those that still grow or are being followed.
    open: Mutex<HashMap<BuildId, Arc<Output>>>,
}

/// An output that grows.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    writer: Mutex<Writer>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    /// In the file, whole and readable.
    bytes: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Writer {
    file: Option<File>,
    bytes: u64,
    /// The newest bytes past the head.
    tail: VecDeque<u8>,
    /// Bytes that left the tail again.
    cut: u64,
}

impl BuildOutputs {
    /// Opens the folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.into(),
            open: Mutex::default(),
        })
    }

    /// Appends to a build's output. Its followers have it before this returns.
    pub async fn append(&self, build: BuildId, bytes: impl Into<Bytes>) -> io::Result<()> {
        let (output, bytes) = (self.output(build)?, bytes.into());
        let write = tokio::task::spawn_blocking(move || output.append(&bytes));
        write.await.map_err(io::Error::other)?
    }

    /// Ends an output: followers get the rest and then the end. Calling it again does no harm.
    pub fn close(&self, build: BuildId) {
        if let Some(output) = self.lock().remove(&build)
            && let Err(error) = output.close()
        {
            tracing::warn!(%build, "cannot write the end of a build's output: {error}");
        }
    }

    /// Removes an output, for good.
    pub async fn forget(&self, build: BuildId) {
        self.close(build);
        match tokio::fs::remove_file(self.path(build)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%build, "cannot remove a build's output: {error}");
            }
            _ => {}
        }
    }

    /// What is there from byte `offset` on; empty for an output that is not kept any more.
    pub fn read(
        &self,
        build: BuildId,
        offset: u64,
    ) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let bytes = fs::metadata(self.path(build)).map_or(0, |metadata| metadata.len());
        let (_, progress) = watch::channel(Progress {
            bytes,
            closed: true,
        });
        stream(self.path(build), progress, offset)
    }

    /// What is there from byte `offset` on and what comes, until the output is closed. Look up
    /// after this call whether the push has ended already, and close the output if it has: it could
    /// have ended just before.
    pub fn follow(
        &self,
        build: BuildId,
        offset: u64,
    ) -> io::Result<impl Stream<Item = io::Result<Bytes>> + use<>> {
        let output = self.output(build)?;
        Ok(stream(
            output.path.clone(),
            output.progress.subscribe(),
            offset,
        ))
    }

    fn output(&self, build: BuildId) -> io::Result<Arc<Output>> {
        let mut open = self.lock();
        if let Some(output) = open.get(&build) {
            return Ok(Arc::clone(output));
        }
        let output = Arc::new(Output::open(self.path(build))?);
        open.insert(build, Arc::clone(&output));
        Ok(output)
    }

    fn path(&self, build: BuildId) -> PathBuf {
        self.folder.join(format!("{build}.log"))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BuildId, Arc<Output>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// Goes on where the file ends: the build may have begun before this process.
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        let writer = Writer {
            file: Some(file),
            bytes,
            ..Writer::default()
        };
        let (progress, _) = watch::channel(Progress {
            bytes,
            closed: false,
        });
        Ok(Self {
            path,
            writer: Mutex::new(writer),
            progress,
        })
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let result = writer.append(bytes);
        let bytes = writer.bytes;
        self.progress.send_modify(|progress| progress.bytes = bytes);
        result
    }

    fn close(&self) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let result = writer.close();
        let bytes = writer.bytes;
        self.progress.send_replace(Progress {
            bytes,
            closed: true,
        });
        result
    }
}

impl Writer {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = usize::try_from(HEAD_BYTES_MAX.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.write(head)?;
        if !rest.is_empty() && self.tail.is_empty() && self.cut == 0 {
            self.write(b"\n !     The output is too long; its end follows when the push ends.\n")?;
        }
        self.tail.extend(rest);
        let cut = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..cut);
        self.cut += cut as u64;
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if self.cut > 0 {
            let note = format!(" !     {} bytes were cut here.\n", self.cut);
            self.write(note.as_bytes())?;
        }
        let tail: Vec<u8> = std::mem::take(&mut self.tail).into();
        self.write(&tail)?;
        self.file = None;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(file) = self.file.as_mut().filter(|_| !bytes.is_empty()) {
            file.write_all(bytes)?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Reads the file as far as it has come, then waits for more.
fn stream(
    path: PathBuf,
    progress: watch::Receiver<Progress>,
    offset: u64,
) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let start = (path, progress, offset, None::<tokio::fs::File>);
    futures_util::stream::try_unfold(start, |(path, mut progress, offset, file)| async move {
        loop {
            let Progress { bytes, closed } = *progress.borrow_and_update();
            if offset < bytes {
                let mut file = match file {
                    Some(file) => file,
                    None => open_at(&path, offset).await?,
                };
                let mut chunk = Vec::new();
                let wanted = (bytes - offset).min(CHUNK_BYTES_MAX);
                let read = (&mut file).take(wanted).read_to_end(&mut chunk).await?;
                if read == 0 {
                    return Ok(None);
                }
                let next = (path, progress, offset + read as u64, Some(file));
                return Ok(Some((Bytes::from(chunk), next)));
            }
            // A sender that is gone without a last word is a process that ends.
            if closed || progress.changed().await.is_err() {
                return Ok(None);
            }
        }
    })
}

async fn open_at(path: &Path, offset: u64) -> io::Result<tokio::fs::File> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(io::SeekFrom::Start(offset)).await?;
    Ok(file)
}

#[cfg(test)]
mod tests;
