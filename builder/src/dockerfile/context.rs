//! Packs a source tree as the context of a Docker build, as a stream: what is sent is read as the
//! engine takes it, so that a large tree needs no memory.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::ignore::Ignore;
use crate::lifecycle::confined::{Entry, Folder, Kind};

/// How much goes to the engine at a time, in bytes.
const CHUNK_BYTES: usize = 128 * 1024;
/// How many chunks wait when the engine is slower than the disk.
const CHUNKS_WAITING_MAX: usize = 8;
/// Sent even when `.dockerignore` excludes them: the engine needs them for the build itself.
const ALWAYS: [&str; 2] = ["Dockerfile", ".dockerignore"];

/// The tar stream of a source tree. An error in it ends the request to the engine.
pub(crate) fn stream(source: PathBuf, ignore: Ignore) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        let mut writer = ChunkWriter {
            sender: sender.clone(),
            chunk: Vec::new(),
        };
        let packed = pack(&source, &ignore, &mut writer).and_then(|()| writer.flush());
        if let Err(error) = packed {
            // When nobody receives any more, nobody has to know.
            drop(sender.blocking_send(Err(error)));
        }
    });
    receiver
}

/// Writes the tree as a tar. All files belong to root and are dated alike, as their content alone
/// decides whether the engine's cache can be used.
fn pack(source: &Path, ignore: &Ignore, writer: &mut dyn Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(writer);
    pack_folder(&Folder::open(source)?, "", ignore, &mut tar)?;
    tar.finish()
}

fn pack_folder(
    folder: &Folder,
    at: &str,
    ignore: &Ignore,
    tar: &mut tar::Builder<&mut dyn Write>,
) -> io::Result<()> {
    for entry in folder.entries()? {
        let Some(name) = entry.name.to_str() else {
            let text = format!("the file name {:?} is not UTF-8", entry.name);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        let path = if at.is_empty() {
            name.to_owned()
        } else {
            format!("{at}/{name}")
        };
        let excluded = ignore.excludes(&path) && !ALWAYS.contains(&path.as_str());
        if entry.kind == Kind::Folder && (!excluded || ignore.has_exceptions()) {
            if !excluded {
                append(folder, &entry, &path, tar)?;
            }
            pack_folder(&folder.folder(&entry.name)?, &path, ignore, tar)?;
        } else if entry.kind != Kind::Folder && !excluded {
            append(folder, &entry, &path, tar)?;
        }
    }
    Ok(())
}

fn append(
    folder: &Folder,
    entry: &Entry,
    path: &str,
    tar: &mut tar::Builder<&mut dyn Write>,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_size(0);
    match entry.kind {
        Kind::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, path, io::empty())
        }
        Kind::Link => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, folder.link(&entry.name)?)
        }
        Kind::File => {
            let file = folder.file(&entry.name)?;
            header.set_size(file.metadata()?.len());
            tar.append_data(&mut header, path, file)
        }
        Kind::Other => Ok(()),
    }
}

/// Passes on what is written, in chunks.
struct ChunkWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(buffer);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine stopped reading");
        self.sender.blocking_send(Ok(chunk)).map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[tokio::test]
    async fn the_context_holds_what_is_not_ignored() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "Dockerfile",
            "app.py",
            "docs/a.md",
            "docs/keep.md",
            "node_modules/x/y.js",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "content").unwrap();
        }
        symlink("app.py", dir.path().join("link")).unwrap();
        let ignore = Ignore::parse("node_modules\nDockerfile\ndocs\n!docs/keep.md").unwrap();
        let mut chunks = stream(dir.path().to_owned(), ignore);
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            bytes.extend(chunk.unwrap());
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().into_owned())
            .collect();
        let want = ["Dockerfile", "app.py", "docs/keep.md", "link"];
        assert_eq!(names, want.map(PathBuf::from));
    }
}
