//! The commands, one file per noun. Each file has its verbs as an enum, their arguments with help
//! and examples, and what they do.

mod about;
mod accounts;
mod apps;
mod authorizations;
mod autoscale;
mod builds;
mod config_vars;
mod deploy;
mod deploy_branch;
mod dns;
mod domains;
mod events;
mod features;
mod git_remote;
mod jobs;
mod keys;
mod logs;
mod maintenance;
mod metrics;
mod network;
mod placement;
mod ps;
mod releases;
mod run;
mod runs;
mod sessions;
mod volumes;

use clap::Subcommand;
pub(crate) use sessions::Door;

use crate::{failure::Failure, session::Session};

/// All commands. Names are in colon form; `spelling` turns the space form into it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Accounts(accounts::Command),
    #[command(flatten)]
    Authorizations(authorizations::Command),
    #[command(flatten)]
    Apps(apps::Command),
    #[command(flatten)]
    Maintenance(maintenance::Command),
    #[command(flatten)]
    Ps(ps::Command),
    #[command(flatten)]
    Sessions(sessions::Command),
    #[command(flatten)]
    Autoscale(autoscale::Command),
    #[command(flatten)]
    Placement(placement::Command),
    #[command(flatten)]
    Metrics(metrics::Command),
    #[command(flatten)]
    Run(run::Command),
    #[command(flatten)]
    Runs(runs::Command),
    #[command(flatten)]
    Jobs(jobs::Command),
    #[command(flatten)]
    Logs(logs::Command),
    #[command(flatten)]
    ConfigVars(config_vars::Command),
    #[command(flatten)]
    Volumes(volumes::Command),
    #[command(flatten)]
    Builds(builds::Command),
    #[command(flatten)]
    Releases(releases::Command),
    #[command(flatten)]
    Domains(domains::Command),
    #[command(flatten)]
    Network(network::Command),
    #[command(flatten)]
    Dns(dns::Command),
    #[command(flatten)]
    Keys(keys::Command),
    #[command(flatten)]
    GitRemote(git_remote::Command),
    #[command(flatten)]
    Deploy(deploy::Command),
    #[command(flatten)]
    DeployBranch(deploy_branch::Command),
    #[command(flatten)]
    Features(features::Command),
    #[command(flatten)]
    Events(events::Command),
    #[command(flatten)]
    About(about::Command),
}

/// Runs a command and gives the exit code.
pub(crate) async fn run(command: Command, session: &Session) -> Result<u8, Failure> {
    let done = match command {
        // The only ones whose exit code may be that of something else.
        Command::Run(command) => return command.run(session).await,
        Command::Jobs(command) => return command.run(session).await,
        Command::Runs(command) => command.run(session).await,
        Command::Sessions(command) => return command.run(session).await,
        Command::Accounts(command) => command.run(session).await,
        Command::Authorizations(command) => command.run(session).await,
        Command::Apps(command) => command.run(session).await,
        Command::Maintenance(command) => command.run(session).await,
        Command::Ps(command) => command.run(session).await,
        Command::Autoscale(command) => command.run(session).await,
        Command::Placement(command) => command.run(session).await,
        Command::Metrics(command) => command.run(session).await,
        Command::Logs(command) => command.run(session).await,
        Command::ConfigVars(command) => command.run(session).await,
        Command::Volumes(command) => command.run(session).await,
        Command::Builds(command) => command.run(session).await,
        Command::Releases(command) => command.run(session).await,
        Command::Domains(command) => command.run(session).await,
        Command::Network(command) => command.run(session).await,
        Command::Dns(command) => command.run(session).await,
        Command::Keys(command) => command.run(session).await,
        Command::GitRemote(command) => command.run(session).await,
        Command::Deploy(command) => command.run(session).await,
        Command::DeployBranch(command) => command.run(session).await,
        Command::Features(command) => command.run(session).await,
        Command::Events(command) => command.run(session).await,
        Command::About(command) => command.run(session).await,
    };
    done.map(|()| 0)
}
