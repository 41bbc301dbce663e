//! What passes between the hook program that git runs and the builder that made git run it, over a
//! Unix socket: one JSON document there, frames back.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// Environment variable with the path of the socket.
pub(crate) const SOCKET_VARIABLE: &str = "FAIRWAY_HOOK_SOCKET";
/// Environment variable with the token that says which push the hook belongs to.
pub(crate) const TOKEN_VARIABLE: &str = "FAIRWAY_HOOK_TOKEN";

/// The most bytes of git's list of ref updates: ten thousand refs with long names.
pub(crate) const UPDATES_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The most bytes of a request: the list as JSON, where a byte may take two, and the rest.
pub(crate) const REQUEST_BYTES_MAX: u64 = 3 * UPDATES_BYTES_MAX;
/// The most bytes of one text frame.
pub(crate) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// What the hook tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HookRequest {
    pub(crate) token: String,
    /// Where git keeps the pushed objects until the hook has agreed (`GIT_QUARANTINE_PATH`).
    pub(crate) quarantine: Option<String>,
    /// Standard input of the hook: the ref updates.
    pub(crate) updates: String,
}

/// What the builder answers, any number of texts and then one exit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// For the user, byte by byte.
    Text(Vec<u8>),
    /// Zero lets git move the refs.
    Exit(u8),
}

/// The kind byte of a text frame; four bytes of length follow, most significant first.
const TEXT: u8 = b't';
/// The kind byte of an exit frame; one byte follows.
const EXIT: u8 = b'x';

/// A text frame. Longer texts have to be cut by the caller.
pub(crate) fn text_frame(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    let length = u32::try_from(text.len()).unwrap_or(0).to_be_bytes();
    [&[TEXT], &length[..], text].concat()
}

/// An exit frame.
pub(crate) fn exit_frame(code: u8) -> Vec<u8> {
    vec![EXIT, code]
}

/// Reads the next frame.
pub(crate) fn read_frame(from: &mut impl Read) -> io::Result<Frame> {
    let mut kind = [0; 1];
    from.read_exact(&mut kind)?;
    match kind[0] {
        TEXT => {
            let mut length = [0; 4];
            from.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length > TEXT_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut text = vec![0; length];
            from.read_exact(&mut text)?;
            Ok(Frame::Text(text))
        }
        EXIT => {
            let mut code = [0; 1];
            from.read_exact(&mut code)?;
            Ok(Frame::Exit(code[0]))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, TEXT_BYTES_MAX, exit_frame, read_frame, text_frame};

    #[test]
    fn frames_come_out_as_they_went_in() {
        let bytes = [text_frame(b"one\n"), text_frame(b""), exit_frame(3)].concat();
        let mut from = bytes.as_slice();
        assert_eq!(
            read_frame(&mut from).unwrap(),
            Frame::Text(b"one\n".to_vec())
        );
        assert_eq!(read_frame(&mut from).unwrap(), Frame::Text(Vec::new()));
        assert_eq!(read_frame(&mut from).unwrap(), Frame::Exit(3));
        assert!(read_frame(&mut from).is_err());
    }

    #[test]
    fn broken_frames_are_errors() {
        for bytes in [
            &b"q"[..],
            b"t\0\0",
            b"t\xff\xff\xff\xff",
            b"t\0\0\0\x02a",
            b"x",
        ] {
            assert!(read_frame(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
        assert_eq!(
            text_frame(&vec![b'a'; TEXT_BYTES_MAX + 9]).len(),
            TEXT_BYTES_MAX + 5
        );
    }
}
