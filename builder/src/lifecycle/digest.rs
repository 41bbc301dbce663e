//! SHA-256 digests as OCI writes them, of bytes and of what passes through a writer.

use std::io::{self, Write};

use fairway_api::names::Digest;
use sha2::{Digest as _, Sha256};

/// The digest of these bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> Digest {
    named(Sha256::digest(bytes).as_slice())
}

fn named(hash: &[u8]) -> Digest {
    format!("sha256:{}", hex::encode(hash))
        .parse()
        .expect("a SHA-256 has 32 bytes, so 64 digits")
}

/// Passes bytes on, and counts and digests them.
pub(crate) struct DigestWriter<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> DigestWriter<W> {
    /// Starts with nothing written.
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    /// The writer behind, and digest and number of the bytes that went to it.
    pub(crate) fn finish(self) -> (W, Digest, u64) {
        (
            self.inner,
            named(self.hasher.finalize().as_slice()),
            self.bytes,
        )
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_digests_what_it_passes_on() {
        let mut writer = DigestWriter::new(Vec::new());
        writer.write_all(b"hello ").unwrap();
        writer.write_all(b"world").unwrap();
        let (bytes, digest, count) = writer.finish();
        assert_eq!((bytes.as_slice(), count), (b"hello world".as_slice(), 11));
        assert_eq!(digest, of_bytes(b"hello world"));
        let known = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
        assert_eq!(digest.as_str(), known);
    }
}
