//! Reads a Procfile: which process types an app has and how each is started.
//!
//! Pure: text in, types out. A line that is neither empty, a comment nor `type: command` is an
//! error that names the line, since a type that is silently left out is a service that silently
//! does not run.

use std::collections::BTreeMap;

use fairway_api::names::{InvalidName, ProcessType};

/// The largest Procfile that is read, in bytes; real ones have a few lines.
pub(crate) const PROCFILE_BYTES_MAX: usize = 64 * 1024;
/// The most process types of one app. Each is a row of the formation and a set of pods.
pub(crate) const PROCESS_TYPES_MAX: usize = 64;

/// What a Procfile declares, sorted by type.
pub(crate) type Procfile = BTreeMap<ProcessType, String>;

/// A Procfile that cannot be used. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProcfileError {
    /// A line without a colon.
    #[error(
        "Procfile line {line}: {text:?} is not of the form \"type: command\"; write for example \
         \"web: python app.py\""
    )]
    NoColon { line: usize, text: String },
    /// A type that is not a valid name.
    #[error("Procfile line {line}: {name}")]
    Name { line: usize, name: InvalidName },
    /// A type without a command.
    #[error("Procfile line {line}: the process type {process_type:?} has no command")]
    NoCommand { line: usize, process_type: String },
    /// The same type again.
    #[error(
        "Procfile line {line}: the process type {process_type:?} was declared before, on line \
         {first}; remove one of the two"
    )]
    Twice {
        line: usize,
        first: usize,
        process_type: String,
    },
    /// Nothing in it.
    #[error("the Procfile declares no process type; write for example \"web: python app.py\"")]
    Empty,
    /// More than [`PROCESS_TYPES_MAX`].
    #[error("the Procfile declares more than {PROCESS_TYPES_MAX} process types")]
    TooMany,
    /// Not text, or larger than [`PROCFILE_BYTES_MAX`].
    #[error("the Procfile must be UTF-8 text of at most {PROCFILE_BYTES_MAX} bytes")]
    NotText,
}

/// How much of a bad line an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// Reads a Procfile's bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<Procfile, ProcfileError> {
    if bytes.len() > PROCFILE_BYTES_MAX {
        return Err(ProcfileError::NotText);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ProcfileError::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut procfile = Procfile::new();
    let mut first_lines = BTreeMap::new();
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let content = raw.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (process_type, command) = entry(line, content)?;
        if let Some(first) = first_lines.insert(process_type.clone(), line) {
            let process_type = process_type.into();
            return Err(ProcfileError::Twice {
                line,
                first,
                process_type,
            });
        }
        procfile.insert(process_type, command);
        if procfile.len() > PROCESS_TYPES_MAX {
            return Err(ProcfileError::TooMany);
        }
    }
    if procfile.is_empty() {
        Err(ProcfileError::Empty)
    } else {
        Ok(procfile)
    }
}

fn entry(line: usize, content: &str) -> Result<(ProcessType, String), ProcfileError> {
    let Some((name, command)) = content.split_once(':') else {
        let text = content.chars().take(QUOTED_CHARS_MAX).collect();
        return Err(ProcfileError::NoColon { line, text });
    };
    let process_type: ProcessType = name
        .trim_end()
        .parse()
        .map_err(|name| ProcfileError::Name { line, name })?;
    let command = command.trim();
    if command.is_empty() {
        let process_type = process_type.into();
        return Err(ProcfileError::NoCommand { line, process_type });
    }
    Ok((process_type, command.to_owned()))
}

#[cfg(test)]
mod tests;
