//! Blacks out secret values in a stream of bytes, also where one spans two chunks.

use fairway_api::secret::Secret;

/// What stands in place of a secret.
const REDACTED: &[u8] = b"[redacted]";
/// Lines of a secret of several lines (a private key) are blacked out each on its own, since tools
/// indent or cut them; shorter ones are too common as plain text, in bytes.
const LINE_BYTES_MIN: usize = 8;

/// Finds the secrets. Holds back at most one byte less than the longest.
pub(super) struct Redactor {
    /// By first byte, longest first.
    secrets: Vec<Vec<Vec<u8>>>,
    /// The end of the input so far, where it could be the beginning of a secret.
    held: Vec<u8>,
}

impl Redactor {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        let mut by_first = vec![Vec::<Vec<u8>>::new(); 256];
        for secret in secrets.iter().map(Secret::expose) {
            let lines = secret
                .lines()
                .map(str::trim)
                .filter(|line| line.len() >= LINE_BYTES_MIN);
            for value in lines.chain([secret]) {
                if let Some(&first) = value.as_bytes().first() {
                    by_first[usize::from(first)].push(value.as_bytes().to_vec());
                }
            }
        }
        for values in &mut by_first {
            values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            values.dedup();
        }
        Self {
            secrets: by_first,
            held: Vec::new(),
        }
    }

    /// Takes the next chunk and gives what is safe to show.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.run(chunk, false)
    }

    /// Gives what was held back; the input has ended.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.run(&[], true)
    }

    fn run(&mut self, chunk: &[u8], ended: bool) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.held);
        input.extend_from_slice(chunk);
        let mut clear = Vec::with_capacity(input.len());
        let mut at = 0;
        while let Some(&first) = input.get(at) {
            let rest = &input[at..];
            match find(&self.secrets[usize::from(first)], rest, ended) {
                Found::Nothing => {
                    clear.push(first);
                    at += 1;
                }
                Found::Secret { length } => {
                    clear.extend_from_slice(REDACTED);
                    at += length;
                }
                Found::PerhapsMore => {
                    self.held = rest.to_vec();
                    break;
                }
            }
        }
        clear
    }
}

enum Found {
    Nothing,
    Secret {
        length: usize,
    },
    /// The input ends within what may become a secret.
    PerhapsMore,
}

fn find(secrets: &[Vec<u8>], rest: &[u8], ended: bool) -> Found {
    for secret in secrets {
        if rest.starts_with(secret) {
            return Found::Secret {
                length: secret.len(),
            };
        }
        if !ended && secret.starts_with(rest) {
            return Found::PerhapsMore;
        }
    }
    Found::Nothing
}
