//! Keeps the output of one build within a number of bytes: the beginning as it comes, the end once
//! it is over, and in between a line that says what is missing.

use std::collections::VecDeque;

/// How much of the end is kept, in bytes: an error and what led to it.
const TAIL_BYTES: usize = 256 * 1024;
/// Room for the two lines that tell of the cut, in bytes.
const NOTES_BYTES: u64 = 1024;

/// Counts what passes.
pub(super) struct Clip {
    limit: u64,
    head_left: u64,
    tail: VecDeque<u8>,
    dropped: u64,
    clipping: bool,
}

impl Clip {
    /// Lets at most `limit` bytes through in all.
    pub(super) fn new(limit: u64) -> Self {
        let head_left = limit.saturating_sub(TAIL_BYTES as u64 + NOTES_BYTES);
        Self {
            limit,
            head_left,
            tail: VecDeque::new(),
            dropped: 0,
            clipping: false,
        }
    }

    /// Passes on what may be shown now.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let fits = usize::try_from(self.head_left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let (head, rest) = bytes.split_at(fits);
        out.extend_from_slice(head);
        self.head_left -= fits as u64;
        if rest.is_empty() {
            return;
        }
        if !self.clipping {
            self.clipping = true;
            let mib = self.limit / (1024 * 1024);
            let note = format!(
                "\n !     The output is over {mib} MiB; its end follows when the build is over.\n"
            );
            out.extend_from_slice(note.as_bytes());
        }
        // Only the last bytes of the rest can stay, so nothing else is copied.
        let keep = &rest[rest.len().saturating_sub(TAIL_BYTES)..];
        let surplus = (self.tail.len() + keep.len()).saturating_sub(TAIL_BYTES);
        self.dropped += (surplus + rest.len() - keep.len()) as u64;
        self.tail.drain(..surplus);
        self.tail.extend(keep);
    }

    /// Passes on the end that was kept.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.dropped > 0 {
            let note = format!(
                " !     {} bytes of output were left out here.\n",
                self.dropped
            );
            out.extend_from_slice(note.as_bytes());
        }
        out.extend(std::mem::take(&mut self.tail));
    }
}
