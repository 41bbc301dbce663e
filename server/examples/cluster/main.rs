//! Measures a controller with thousands of machines: `bin/bench cluster`.
//!
//! One process is a real controller on a real database. The other one speaks the agents' and the
//! router's real protocol to it over loopback, and does what it is told at once: the agents' own
//! work counts as nothing, so what is measured is the controller, its database and the protocol.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measurement prints figures, and ends when anything is wrong"
)]

mod agents;
mod controller;
mod load;
mod measured;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Measures a controller with thousands of machines.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The controller; prints its address
    Controller {
        /// Folder for its database
        #[arg(long)]
        data: PathBuf,
        /// How many machines may connect
        #[arg(long)]
        nodes: usize,
    },
    /// Agents, a router and users
    Load(load::Load),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    fairway_server::runtime::run(|shutdown| async move {
        match cli.role {
            Role::Controller { data, nodes } => controller::run(data, nodes, shutdown).await,
            Role::Load(load) => load.run().await,
        }
    })
}
