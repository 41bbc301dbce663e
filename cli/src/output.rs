//! What the user sees: data on stdout, talk on stderr. The only place that prints.
//!
//! Nothing needs colour. Text that came from elsewhere loses its control characters before it
//! reaches a terminal, so that no commit message or log line can drive it.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::{Failure, Kind};

/// Where data goes, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Data as the API's JSON instead of text.
    pub(crate) json: bool,
    /// Stdout is a terminal, so text from elsewhere must not drive it.
    pub(crate) terminal: bool,
    /// Colour is wanted: a terminal, and no `NO_COLOR`.
    pub(crate) colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool, colour_allowed: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            json,
            terminal,
            colour: terminal && colour_allowed,
        }
    }

    /// Prints data: the value itself with `--json`, else what `text` makes of it.
    pub(crate) fn data<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let mut line = serde_json::to_string_pretty(value)
                .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
            line.push('\n');
            return self.raw(line.as_bytes());
        }
        self.text(&text(value))
    }

    /// Prints lines of text; a final line end is added where there is none.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let text = if self.terminal {
            harmless(text)
        } else {
            Cow::Borrowed(text)
        };
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.raw(format!("{text}{end}").as_bytes())
    }

    /// The answer to a change: what came of it with `--json`, else nothing, since talk said it.
    pub(crate) fn answer<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failure> {
        if self.json {
            self.data(value, |_| String::new())
        } else {
            Ok(())
        }
    }

    /// The answer of a call that has nothing to say: with `--json` an empty object.
    pub(crate) fn nothing(self) -> Result<(), Failure> {
        if self.json { self.raw(b"{}\n") } else { Ok(()) }
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(|error| {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    Failure::new(Kind::OutputClosed, "nobody reads the output any more")
                } else {
                    Failure::io("write to standard output")(error)
                }
            })
    }

    /// Says something to the person at the terminal.
    pub(crate) fn talk(self, text: impl AsRef<str>) {
        to_stderr(&format!("{}\n", text.as_ref()));
    }
}

/// Says what went wrong, in the shape that `git push` uses too.
pub(crate) fn complain(message: &str, hint: Option<&str>) {
    let mut text = String::new();
    for (number, line) in message.trim_end().lines().enumerate() {
        text.push_str(if number == 0 { " !     " } else { "       " });
        text.push_str(line);
        text.push('\n');
    }
    for line in hint.unwrap_or_default().lines() {
        text.push_str("       ");
        text.push_str(line);
        text.push('\n');
    }
    // A line of nothing but the margin would be trailing white space.
    let text: Vec<&str> = text.lines().map(str::trim_end).collect();
    to_stderr(&format!("{}\n", text.join("\n")));
}

fn to_stderr(text: &str) {
    let text = if io::stderr().is_terminal() {
        harmless(text)
    } else {
        Cow::Borrowed(text)
    };
    // With stderr gone there is nobody left to tell.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Rows under a header, columns aligned. Without rows it is empty, header and all.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| one_line(&cell)));
    }
    if table.row_count() == 0 {
        String::new()
    } else {
        trim_lines(&table.to_string())
    }
}

/// Names and values, one per line, values aligned.
pub(crate) fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0)
        + 2;
    rows.iter()
        .map(|(name, value)| {
            let value = value.trim_end().replace('\n', &format!("\n{:width$}", ""));
            format!("{:width$}{value}", format!("{name}:"))
        })
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// A time as people read it, always UTC so that two people see the same.
pub(crate) fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn one_line(cell: &str) -> String {
    cell.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn trim_lines(text: &str) -> String {
    text.lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned() + "\n")
        .collect()
}

/// The text without what would drive a terminal: of all control characters only line ends, tabs
/// and complete colour sequences (`ESC [ ... m`) stay.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour_sequence(rest) {
            clean.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if c == '\n' || c == '\t' || !c.is_control() {
            clean.push(c);
        } else if c != '\r' {
            clean.push('\u{fffd}');
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(clean)
}

/// The length of the colour sequence that `text` starts with.
fn colour_sequence(text: &str) -> Option<usize> {
    let body = text.strip_prefix("\u{1b}[")?;
    let end = body.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    body[end..]
        .starts_with('m')
        .then_some("\u{1b}[".len() + end + 1)
}

#[cfg(test)]
mod tests;
