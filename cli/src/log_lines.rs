//! Log lines as they arrive: bytes in pieces become lines, lines get a colour per process or
//! become JSON. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use owo_colors::{AnsiColors, OwoColorize};
use serde::Serialize;

/// The longest line that is waited for, in bytes; a server that never ends a line must not fill
/// our memory. Four times what the platform keeps of one.
const LINE_BYTES_MAX: usize = 4 * fairway_api::logs::LOG_LINE_BYTES_MAX;

/// Colours that are readable on light and dark backgrounds, and not red: red means trouble.
const COLOURS: [AnsiColors; 6] = [
    AnsiColors::Cyan,
    AnsiColors::Yellow,
    AnsiColors::Green,
    AnsiColors::Magenta,
    AnsiColors::Blue,
    AnsiColors::BrightCyan,
];

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes the next piece and gives the lines that it completes, without their ends.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(piece);
        let mut lines = Vec::new();
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|&byte| byte == b'\n') {
            lines.push(text(&self.rest[start..start + length]));
            start += length + 1;
        }
        self.rest.drain(..start);
        if self.rest.len() > LINE_BYTES_MAX {
            lines.extend(self.end());
        }
        lines
    }

    /// What is left when the stream has ended.
    pub(crate) fn end(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| text(&rest))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\r')
        .to_owned()
}

/// A line taken apart: `2026-11-21T21:30:43.123456+00:00 app[web.1]: text`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) at: &'a str,
    pub(crate) source: &'a str,
    pub(crate) process: &'a str,
    pub(crate) text: &'a str,
}

impl<'a> Line<'a> {
    /// Takes a line apart; `None` if it is not of that shape.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (at, rest) = line.split_once(' ')?;
        let (source, rest) = rest.split_once('[')?;
        let (process, text) = rest.split_once("]:")?;
        let text = text.strip_prefix(' ').unwrap_or(text);
        (!source.contains(' ')).then_some(Self {
            at,
            source,
            process,
            text,
        })
    }
}

/// The line with its head in the colour of its process: `web.1` and `web.2` differ, and each
/// keeps its colour from one command to the next.
pub(crate) fn colour(line: &str) -> String {
    let Some(parsed) = Line::parse(line) else {
        return line.to_owned();
    };
    let head = line.strip_suffix(parsed.text).unwrap_or(line);
    let mut hasher = DefaultHasher::new();
    parsed.process.hash(&mut hasher);
    let place = usize::try_from(hasher.finish() % 6).unwrap_or_default();
    let colour = COLOURS.get(place).copied().unwrap_or(AnsiColors::Cyan);
    format!("{}{}", head.color(colour), parsed.text)
}

#[cfg(test)]
mod tests;
