//! The `fairway` command: `up` for everything in one process, or one role at a time.
//!
//! This file only parses the command line and picks the role.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use fairway_server::{
    accounts::ResetPasswordArgs,
    roles::{BuilderArgs, ControllerArgs, NodeCommand, RegistryArgs, RouterArgs},
    runtime,
    settings::Settings,
    telemetry, up,
};

/// Fairway: git push to your own machines.
#[derive(Debug, Parser)]
#[command(name = "fairway", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole platform on this machine
    Up(Box<Settings>),
    /// Run the controller: database, API, dashboard and scheduling
    Controller(ControllerArgs),
    /// Run a builder: git over SSH and HTTP, and image builds
    Builder(BuilderArgs),
    /// Run an OCI registry
    Registry(RegistryArgs),
    /// Run an edge router
    Router(RouterArgs),
    /// Let this machine join a cluster, run its agent
    #[command(subcommand)]
    Node(NodeCommand),
    /// List machines; nodes:info, :cordon, :uncordon, :drain, :remove, :label, :taint
    Nodes,
    /// List accounts; account:add, account:remove
    Account,
    /// Set a new password for an account whose password was lost, and print it
    #[command(name = "account:reset-password")]
    ResetPassword(ResetPasswordArgs),
    /// Called by git; not for people
    #[command(hide = true)]
    Hook {
        /// Which hook git runs.
        name: String,
    },
}

fn main() -> ExitCode {
    // Operators' verbs are calls of the API, and are parsed where `app` parses its own.
    let arguments = colon_form(std::env::args_os().collect());
    if fairway_cli::operator::is_meant(&arguments) {
        return fairway_cli::operate(arguments);
    }
    let cli = Cli::parse_from(arguments);
    // The hook runs inside each push and must not pay for a runtime or a log.
    if let Command::Hook { name: _ } = cli.command {
        return fairway_builder::hook_main();
    }
    telemetry::init();
    runtime::run(|shutdown| async move {
        match cli.command {
            Command::Up(settings) => up::run(*settings, shutdown).await,
            Command::Controller(args) => args.run(shutdown).await,
            Command::Builder(args) => args.run(shutdown).await,
            Command::Registry(args) => args.run(shutdown).await,
            Command::Router(args) => args.run(shutdown).await,
            Command::Node(command) => command.run(shutdown).await,
            Command::ResetPassword(args) => args.run().await,
            // They were dealt with above.
            Command::Hook { .. } | Command::Nodes | Command::Account => Ok(()),
        }
    })
}

/// The one verb with a colon that is parsed here is understood with a space too.
fn colon_form(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if let [_, noun, verb, ..] = arguments.as_slice()
        && noun == "account"
        && verb == "reset-password"
    {
        arguments.splice(1..3, ["account:reset-password".into()]);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
