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
mod copy;
mod duration;
mod event_list;
mod forward;
mod log_lines;
mod scale;
mod span;
mod terminal;

// The operator's verbs of the `fairway` command.
pub mod operator;

use std::{ffi::OsString, process::ExitCode};

/// Runs one command line, the program's name first, and gives its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(run(arguments.into_iter().collect()))
}

/// The whole command tree, for documentation and for tests that compare the two.
pub fn command() -> clap::Command {
    arguments::command()
}

/// Runs one of the operator's verbs of `fairway`, the program's name first.
pub fn operate(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(code_of(operator::run(arguments.into_iter().collect())))
}

fn run(arguments: Vec<OsString>) -> u8 {
    code_of(arguments::parse(arguments).and_then(|arguments| {
        let session = session::Session::new(environment::Environment::read(), arguments.options);
        block_on(commands::run(arguments.command, &session))
    }))
}

fn block_on(
    command: impl Future<Output = Result<u8, failure::Failure>>,
) -> Result<u8, failure::Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failure::Failure::io("start the runtime"))?;
    let outcome = runtime.block_on(command);
    // A read of standard input may still wait; nobody needs what it would bring.
    runtime.shutdown_background();
    outcome
}

fn code_of(outcome: Result<u8, failure::Failure>) -> u8 {
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
