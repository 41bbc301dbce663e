//! The `app` command: what a developer types.
//!
//! It is a client of the public API and nothing else: it reads no database, starts no container
//! and can do nothing that a script with a token cannot.
//!
//! ```text
//! argv -> spelling (colon and space form) -> arguments (clap) -> commands/<noun>
//!                                             session (which server, which app) -> api::Client
//! ```
//! stdout is data, stderr is talk, and each kind of failure has its exit code ([`failure`]).

// How a command line becomes a command.
mod arguments;
mod help;
mod spelling;

// What a command works with.
mod credentials;
mod environment;
mod failure;
mod git;
mod git_login;
mod output;
mod remote;
mod session;

// The commands, and the parts that only one of them needs.
mod attach;
mod commands;
mod config_file;
mod log_lines;
mod scale;
mod terminal;

use std::{ffi::OsString, process::ExitCode};

/// Runs one command line, the program's name first, and gives its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(run(arguments.into_iter().collect()))
}

/// The whole command tree, for documentation and for tests that compare the two.
pub fn command() -> clap::Command {
    arguments::command()
}

fn run(arguments: Vec<OsString>) -> u8 {
    let outcome = arguments::parse(arguments).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(failure::Failure::io("start the runtime"))?;
        let session = session::Session::new(environment::Environment::read(), arguments.options);
        let outcome = runtime.block_on(commands::run(arguments.command, &session));
        // A read of standard input may still wait; nobody needs what it would bring.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
