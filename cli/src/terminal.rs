//! The user's terminal: raw mode while a remote program has it, its size, and questions.

use std::{
    fs,
    io::{self, IsTerminal},
    path::Path,
};

use fairway_api::secret::Secret;
use rustix::termios::{self, OptionalActions, Termios};

use crate::failure::Failure;

/// The most bytes of a password or token that are read from standard input.
const PASSWORD_BYTES_MAX: u64 = 16 * 1024;

/// True when a program at the other end can have the whole terminal.
pub(crate) fn is_whole() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// True when the user can be asked something.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Raw mode: every key goes to the program at the other end. Ends when dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Starts it.
    pub(crate) fn start() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // If the terminal has gone there is nothing to restore, and no error to report.
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before).unwrap_or_default();
    }
}

/// Rows and columns of the terminal; `None` when it does not say.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Asks for a line.
pub(crate) fn ask(prompt: &str) -> Result<String, Failure> {
    dialoguer::Input::new()
        .with_prompt(prompt)
        .interact_text()
        .map_err(not_answered)
}

/// Asks for a password, unseen.
pub(crate) fn ask_password(prompt: &str, twice: bool) -> Result<Secret, Failure> {
    let password = dialoguer::Password::new().with_prompt(prompt);
    let password = if twice {
        password.with_confirmation("Once more", "The two differ")
    } else {
        password
    };
    password.interact().map(Secret::new).map_err(not_answered)
}

/// Asks a question that is answered with yes or no.
pub(crate) fn confirm(prompt: &str) -> Result<bool, Failure> {
    dialoguer::Confirm::new()
        .with_prompt(prompt)
        .default(true)
        .interact()
        .map_err(not_answered)
}

/// A secret from standard input: its first line.
pub(crate) fn read_secret() -> Result<Secret, Failure> {
    first_line(&read_input()?, "standard input")
}

/// Several secrets from standard input, one per line.
pub(crate) fn read_secrets<const COUNT: usize>() -> Result<[Secret; COUNT], Failure> {
    let lines: Vec<Secret> = read_input()?.lines().map(Secret::new).collect();
    lines
        .try_into()
        .map_err(|_| Failure::usage(format!("standard input must have {COUNT} lines")))
}

/// A secret from a file, whose first line it is; `-` is standard input.
pub(crate) fn secret_in(file: &Path) -> Result<Secret, Failure> {
    if file == Path::new("-") {
        return read_secret();
    }
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(Failure::io(format!("read {name}")))?;
    first_line(&text, &name)
}

fn read_input() -> Result<String, Failure> {
    use io::Read;
    let mut text = String::new();
    io::stdin()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(Failure::io("read standard input"))?;
    Ok(text)
}

fn first_line(text: &str, place: &str) -> Result<Secret, Failure> {
    match text.lines().next() {
        None | Some("") => Err(Failure::usage(format!(
            "{place} was empty; it should hold the secret"
        ))),
        Some(secret) => Ok(Secret::new(secret)),
    }
}

fn not_answered(error: dialoguer::Error) -> Failure {
    Failure::failed(format!("nothing was answered: {error}"))
}
