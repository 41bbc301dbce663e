//! `network`, `network:allow`, `network:deny`: which apps' pods may reach this one's.

use clap::{Args, Subcommand};
use fairway_api::{
    names::AppName,
    reach::{NetworkRule, NewNetworkRule},
};

use crate::{failure::Failure, output::table, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "network", visible_alias = "network:list")]
    List(ListArgs),
    #[command(name = "network:allow")]
    Allow(RuleArgs),
    #[command(name = "network:deny")]
    Deny(DenyArgs),
}

/// List which apps may reach this one, and which it may reach
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app network
Pods of one app always reach each other; pods of others only what is listed.")]
pub(crate) struct ListArgs {}

/// Let another app's pods connect to this app's
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app network:allow shop
  app network:allow shop --port 5432
The other app then finds this one as web.APP.internal.")]
pub(crate) struct RuleArgs {
    /// The app whose pods may connect
    #[arg(value_name = "OTHER")]
    other: AppName,
    /// Only to this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// Take such a permission back
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app network:deny shop
  app network:deny shop --port 5432
Without --port all that the other app was allowed goes.")]
pub(crate) struct DenyArgs {
    /// The app whose pods may not connect any more
    #[arg(value_name = "OTHER")]
    other: AppName,
    /// Only what was allowed for this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Allow(args) => allow(args, session).await,
            Self::Deny(args) => deny(&args, session).await,
        }
    }
}

fn shown(port: Option<u16>) -> String {
    port.map_or_else(|| "all".to_owned(), |port| port.to_string())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let rules = client.network_rules(&app).await?;
    session.output.data(&rules, |rules| {
        let rows = rules.iter().map(|rule| {
            [
                rule.from.name.to_string(),
                rule.to.name.to_string(),
                shown(rule.port),
            ]
        });
        table(["FROM", "TO", "PORT"], rows)
    })
}

async fn allow(args: RuleArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let new = NewNetworkRule {
        from: args.other.to_string(),
        port: args.port,
    };
    let rule = client.allow_network(&app, &new).await?;
    session.output.talk(format!(
        "Pods of {} may connect to {app} (ports: {}).",
        rule.from.name,
        shown(rule.port)
    ));
    session.output.answer(&rule)
}

async fn deny(args: &DenyArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let named = |rule: &NetworkRule| {
        rule.to.name == app
            && rule.from.name == args.other
            && (args.port.is_none() || rule.port == args.port)
    };
    let rules = client.network_rules(&app).await?;
    let mut denied = vec![];
    for rule in rules.into_iter().filter(named) {
        denied.push(client.deny_network(&app, rule.id).await?);
    }
    let other = &args.other;
    session.output.talk(if denied.is_empty() {
        format!("Nothing of that kind was allowed to {other}.")
    } else {
        format!("Pods of {other} may not connect to {app} any more.")
    });
    session.output.answer(&denied)
}
