//! Archives of volumes, by tar: it knows owners, links, sparse files and extended attributes, and
//! holds one piece at a time.

use std::{io, path::Path, process::Stdio};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
};
use tokio_util::io::ReaderStream;

use super::programs::{command, said};

/// How much is read at a time, in bytes.
const PIECE_BYTES: usize = 128 * 1024;
/// The most that tar may say, in bytes; the rest is nothing new.
const SAID_BYTES_MAX: u64 = 64 * 1024;

/// What is in a directory. The stream ends with an error if tar did not get to the end.
pub(super) fn pack(data: &Path) -> Result<impl Stream<Item = io::Result<Bytes>> + use<>, String> {
    let mut child = command("tar")
        .args([
            "--create",
            "--numeric-owner",
            "--xattrs",
            "--sparse",
            "--directory",
        ])
        .arg(data)
        .arg(".")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run tar: {error}"))?;
    let output = child.stdout.take().ok_or("tar has no output")?;
    let pieces = ReaderStream::with_capacity(output, PIECE_BYTES);
    let end = stream::once(ended(child)).filter_map(async |ended| match ended {
        Ok(()) => None,
        Err(why) => Some(Err(io::Error::other(why))),
    });
    Ok(pieces.chain(end))
}

/// Fills a directory from an archive.
pub(super) async fn unpack<E: std::fmt::Display>(
    data: &Path,
    archive: impl Stream<Item = Result<Bytes, E>>,
) -> Result<(), String> {
    let mut child = command("tar")
        .args([
            "--extract",
            "--numeric-owner",
            "--xattrs",
            "--same-permissions",
            "--directory",
        ])
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run tar: {error}"))?;
    let mut input = child.stdin.take().ok_or("tar has no input")?;
    tokio::pin!(archive);
    let mut broken = None;
    while let Some(piece) = archive.next().await {
        match piece {
            // A tar that gave up says why at its end.
            Ok(piece) if input.write_all(&piece).await.is_err() => break,
            Ok(_) => {}
            Err(error) => {
                broken = Some(format!("the archive broke off: {error}"));
                break;
            }
        }
    }
    drop(input);
    match broken {
        Some(why) => Err(why),
        None => ended(child).await,
    }
}

/// Waits for tar; what it said if it failed.
async fn ended(mut child: Child) -> Result<(), String> {
    let mut words = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        drop(stderr.take(SAID_BYTES_MAX).read_to_end(&mut words).await);
    }
    match child.wait().await {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(said(&words)),
        Err(error) => Err(format!("lost tar: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn what_is_packed_is_what_is_unpacked() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("a")).unwrap();
        fs::write(from.path().join("a/file"), vec![7; 300_000]).unwrap();
        std::os::unix::fs::symlink("a/file", from.path().join("link")).unwrap();
        unpack(to.path(), pack(from.path()).unwrap()).await.unwrap();
        assert_eq!(fs::read(to.path().join("link")).unwrap(), vec![7; 300_000]);
        let missing = pack(&from.path().join("missing")).unwrap();
        let end = missing
            .map(|piece| piece.map(drop))
            .collect::<Vec<_>>()
            .await;
        let error = end.last().unwrap().as_ref().unwrap_err().to_string();
        assert!(error.contains("tar:"), "{error}");
        let half = stream::iter([Ok(Bytes::from_static(b"no archive")), Err("gone")]);
        let error = unpack(to.path(), half).await.unwrap_err();
        assert_eq!(error, "the archive broke off: gone");
        let nonsense = stream::iter([Ok::<_, &str>(Bytes::from(vec![9; 5000]))]);
        assert!(unpack(to.path(), nonsense).await.is_err());
    }
}
