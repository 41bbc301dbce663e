//! Unpacks gzip as it comes, in bounded memory: git packs the requests of a fetch.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

/// How much is unpacked at a time, in bytes. Deflate grows by at most a factor of about 1,030, so
/// the output of one step stays below 5 MiB whatever was sent.
const STEP_BYTES: usize = 4 * 1024;
/// The most bytes that a request may unpack to. A fetch into a clone with a million refs asks for
/// less.
const UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A decoder under way.
pub(super) struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    unpacked: u64,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self {
            decoder: MultiGzDecoder::new(Vec::new()),
            unpacked: 0,
        }
    }

    /// Cuts input into pieces that [`Self::push`] takes.
    pub(super) fn slices<'a>(&self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        input.chunks(STEP_BYTES)
    }

    /// Takes a piece of input and gives what came out of it.
    pub(super) fn push(&mut self, input: &[u8]) -> io::Result<Bytes> {
        self.decoder.write_all(input)?;
        self.decoder.flush()?;
        let plain = std::mem::take(self.decoder.get_mut());
        self.unpacked += plain.len() as u64;
        if self.unpacked > UNPACKED_BYTES_MAX {
            return Err(io::Error::other(
                "it unpacks to more than a request may have",
            ));
        }
        Ok(Bytes::from(plain))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::{Gunzip, STEP_BYTES};

    fn gunzip(input: &[u8], step: usize) -> std::io::Result<Vec<u8>> {
        let mut gunzip = Gunzip::new();
        let mut plain = Vec::new();
        for chunk in input.chunks(step) {
            for part in gunzip.slices(chunk) {
                plain.extend(gunzip.push(part)?);
            }
        }
        Ok(plain)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn comes_out_as_it_went_in_however_it_is_cut() {
        let plain: Vec<u8> = (0..100_000u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        for step in [1, 7, STEP_BYTES, 1 << 20] {
            assert_eq!(gunzip(&gzip(&plain), step).unwrap(), plain, "{step}");
        }
    }

    #[test]
    fn bad_input_and_bombs_are_errors() {
        assert!(gunzip(b"not gzip at all, really not", 4).is_err());
        let zeros = gzip(&vec![0; 70 * 1024 * 1024]);
        assert!(
            gunzip(&zeros, 4096)
                .unwrap_err()
                .to_string()
                .contains("more than")
        );
    }
}
