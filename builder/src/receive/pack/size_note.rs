//! Adds to git's refusal of a pack that is too large how large it may be: git names what was left
//! of the limit, which tells nobody the limit. Pure.

use bytes::{BufMut, Bytes, BytesMut};

/// What git says of such a pack.
const REFUSAL: &[u8] = b"pack exceeds maximum allowed size";
/// The band of what is shown to whoever pushes.
const BAND_PROGRESS: u8 = 2;
/// The length of a packet's length.
const LENGTH_BYTES: usize = 4;

/// Passes the output of `git receive-pack` on, packet by packet.
pub(super) struct SizeNote {
    /// What is added, in lines.
    note: String,
    rest: BytesMut,
    /// It was added, or the output is not in packets: everything passes as it is.
    done: bool,
}

impl SizeNote {
    pub(super) fn new(note: String) -> Self {
        Self {
            note,
            rest: BytesMut::new(),
            done: false,
        }
    }

    /// What may be sent of the output so far.
    pub(super) fn pass(&mut self, bytes: Bytes) -> Bytes {
        if self.done && self.rest.is_empty() {
            return bytes;
        }
        self.rest.extend_from_slice(&bytes);
        let mut out = BytesMut::new();
        while !self.done {
            match length(&self.rest) {
                Some(Ok(length)) if self.rest.len() >= length => {
                    let packet = self.rest.split_to(length);
                    out.extend_from_slice(&packet);
                    self.done = is_refusal(&packet);
                    if self.done {
                        self.add(&mut out);
                    }
                }
                Some(Err(NotAPacket)) => self.done = true,
                Some(Ok(_)) | None => break,
            }
        }
        if self.done {
            out.extend_from_slice(&self.rest.split());
        }
        out.freeze()
    }

    fn add(&self, out: &mut BytesMut) {
        let length = LENGTH_BYTES + 1 + self.note.len();
        out.extend_from_slice(format!("{length:04x}").as_bytes());
        out.put_u8(BAND_PROGRESS);
        out.extend_from_slice(self.note.as_bytes());
    }
}

struct NotAPacket;

/// The length of the first packet, as soon as it has come.
fn length(bytes: &[u8]) -> Option<Result<usize, NotAPacket>> {
    let digits = bytes.get(..LENGTH_BYTES)?;
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| usize::from_str_radix(digits, 16).ok());
    // Those below four are marks without content.
    Some(number.map(|it| it.max(LENGTH_BYTES)).ok_or(NotAPacket))
}

fn is_refusal(packet: &[u8]) -> bool {
    packet.get(LENGTH_BYTES) == Some(&BAND_PROGRESS)
        && packet.windows(REFUSAL.len()).any(|part| part == REFUSAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_stands_behind_the_refusal_however_it_is_cut() {
        let refusal = "\u{2}fatal: pack exceeds maximum allowed size (4.95 MiB)\n";
        let refusal = format!("{:04x}{refusal}", refusal.len() + 4);
        let whole = format!("0000000b\u{2}before{refusal}0006\u{1}x0000");
        let expected = format!("0000000b\u{2}before{refusal}000a\u{2}note\n0006\u{1}x0000");
        for size in 1..whole.len() {
            let mut note = SizeNote::new("note\n".into());
            let mut out = Vec::new();
            for part in whole.as_bytes().chunks(size) {
                out.extend_from_slice(&note.pass(Bytes::copy_from_slice(part)));
            }
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn what_is_not_in_packets_passes_as_it_is() {
        let mut note = SizeNote::new("note".into());
        assert_eq!(note.pass(Bytes::from_static(b"error: x")), "error: x");
        assert_eq!(note.pass(Bytes::from_static(b"more")), "more");
    }
}
