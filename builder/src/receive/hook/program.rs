//! The program that git runs as its pre-receive hook. It knows nothing: it tells the builder what
//! git told it, prints what comes back, and ends as it is told. Whatever goes wrong refuses the
//! push, since a push that no builder agreed to must not move a ref.

use std::{
    env,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::ExitCode,
};

use super::wire::{
    Frame, HookRequest, SOCKET_VARIABLE, TOKEN_VARIABLE, UPDATES_BYTES_MAX, read_frame,
};

/// Runs as git's pre-receive hook: `fairway hook pre-receive`.
pub fn hook_main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let text = format!(
                " !     The push was not taken: the builder left in the middle of it ({error}).\n \
                 !     Push again.\n"
            );
            // When nobody reads this any more there is nobody to tell.
            drop(io::stderr().write_all(text.as_bytes()));
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<u8> {
    let variable = |name: &str| {
        env::var(name).map_err(|_| io::Error::other(format!("{name} is not set by the builder")))
    };
    let mut updates = Vec::new();
    let read = io::stdin()
        .take(UPDATES_BYTES_MAX)
        .read_to_end(&mut updates)?;
    if read as u64 == UPDATES_BYTES_MAX {
        return Err(io::Error::other(
            "it changes too many refs; push them in parts",
        ));
    }
    let request = HookRequest {
        token: variable(TOKEN_VARIABLE)?,
        quarantine: env::var("GIT_QUARANTINE_PATH").ok(),
        // A name that is not UTF-8 is no branch that deploys, so its exact bytes do not matter.
        updates: String::from_utf8_lossy(&updates).into_owned(),
    };
    let mut builder = UnixStream::connect(variable(SOCKET_VARIABLE)?)?;
    builder.write_all(&serde_json::to_vec(&request)?)?;
    builder.shutdown(Shutdown::Write)?;
    let mut from = io::BufReader::new(builder);
    loop {
        match read_frame(&mut from)? {
            Frame::Text(text) => io::stderr().write_all(&text)?,
            Frame::Exit(code) => return Ok(code),
        }
    }
}
