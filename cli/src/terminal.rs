//! The user's terminal: raw mode while a remote program has it, its size, and questions.

use std::io::{self, IsTerminal};

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

/// Reads a password or token from standard input, up to its line end.
pub(crate) fn read_secret() -> Result<Secret, Failure> {
    use io::Read;
    let mut text = String::new();
    io::stdin()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(Failure::io("read standard input"))?;
    let secret = text.lines().next().unwrap_or_default();
    if secret.is_empty() {
        return Err(Failure::usage(
            "standard input was empty; it should hold the secret",
        ));
    }
    Ok(Secret::new(secret))
}

fn not_answered(error: dialoguer::Error) -> Failure {
    Failure::failed(format!("nothing was answered: {error}"))
}
