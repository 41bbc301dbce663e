//! What operators type: verbs of the `fairway` command that are calls of the public API, with the
//! login of `app`. They can do nothing that a script with an admin's token cannot.

mod accounts;
mod events;
mod nodes;
mod rebalance;

use std::ffi::OsString;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{
    arguments::{self, Options},
    environment::Environment,
    failure::Failure,
    session::Session,
};

/// The name of the program that has these verbs.
const PROGRAM: &str = "fairway";

/// One parsed command line.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    about = "Operate a cluster",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(flatten)]
    output: OutputOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Nodes(nodes::Command),
    #[command(flatten)]
    Accounts(accounts::Command),
    #[command(flatten)]
    Events(events::Command),
    #[command(flatten)]
    Rebalance(rebalance::Command),
}

impl Command {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Nodes(command) => command.run(session).await,
            Self::Accounts(command) => command.run(session).await,
            Self::Events(command) => command.run(session).await,
            Self::Rebalance(command) => command.run(session).await,
        }
    }
}

/// Options of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct OutputOptions {
    /// Print data as the API's JSON
    #[arg(long, global = true)]
    json: bool,
}

/// The verbs as a command tree, for documentation and tests.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// True for a command line, the program's name first, that is one of an operator's verbs.
pub fn is_meant(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments
        .iter()
        .skip(1)
        .filter_map(|it| it.to_str())
        .collect();
    match words[..] {
        ["help", noun, ..] | [noun, ..] if noun == "nodes" || noun.starts_with("nodes:") => true,
        // The one verb that works without the API.
        ["account:reset-password", ..] | ["account", "reset-password", ..] => false,
        ["help", noun, ..] | [noun, ..] if noun == "account" || noun.starts_with("account:") => {
            true
        }
        ["events", ..] | ["help", "events", ..] => true,
        ["node:token", ..] | ["node", "token", ..] | ["help", "node", "token", ..] => true,
        _ => false,
    }
}

/// Runs one verb.
pub(crate) fn run(words: Vec<OsString>) -> Result<u8, Failure> {
    let parsed: Arguments = arguments::parse_as(&command(), words)?;
    let options = Options {
        json: parsed.output.json,
        ..Options::default()
    };
    let session = Session::new(Environment::read(), options);
    crate::block_on(async { parsed.command.run(&session).await.map(|()| 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn verbs_are_told_from_roles() {
        let meant = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            is_meant(&words)
        };
        for line in [
            "fairway nodes",
            "fairway nodes:drain a",
            "fairway nodes info a",
        ] {
            assert!(meant(line), "{line}");
        }
        for line in [
            "fairway node token",
            "fairway node:token --ttl 2h",
            "fairway help nodes",
            "fairway account",
            "fairway account add a@b",
            "fairway account:remove a@b",
            "fairway events -t",
        ] {
            assert!(meant(line), "{line}");
        }
        for line in [
            "fairway",
            "fairway up",
            "fairway node join x",
            "fairway node run",
            "fairway help",
            "fairway account:reset-password a@b",
            "fairway account reset-password a@b",
        ] {
            assert!(!meant(line), "{line}");
        }
    }
}
