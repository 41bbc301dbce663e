//! `domains`, `domains:add`, `domains:remove`.

use clap::{Args, Subcommand};
use fairway_api::{
    domains::{DomainKind, NewDomain},
    names::Hostname,
};

use crate::{failure::Failure, output::table, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "domains", visible_alias = "domains:list")]
    List(ListArgs),
    #[command(name = "domains:add")]
    Add(AddArgs),
    #[command(name = "domains:remove")]
    Remove(RemoveArgs),
}

/// List the app's hostnames
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app domains")]
pub(crate) struct ListArgs {}

/// Claim a hostname for the app
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app domains:add www.example.com
Then point the hostname's DNS at the target that this prints.")]
pub(crate) struct AddArgs {
    /// The hostname
    hostname: Hostname,
}

/// Give a hostname up
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app domains:remove www.example.com")]
pub(crate) struct RemoveArgs {
    /// The hostname
    hostname: Hostname,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Add(args) => add(args, session).await,
            Self::Remove(args) => remove(&args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let domains = client.domains(&app).await?;
    session.output.data(&domains, |domains| {
        let rows = domains.iter().map(|domain| {
            let kind = match domain.kind {
                DomainKind::BuiltIn => "built-in",
                DomainKind::Custom => "custom",
            };
            let target = domain.cname.clone().unwrap_or_default();
            [
                domain.hostname.to_string(),
                kind.to_owned(),
                domain.status.clone(),
                target,
            ]
        });
        table(["HOSTNAME", "KIND", "STATUS", "DNS TARGET"], rows)
    })
}

async fn add(args: AddArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let domain = client
        .add_domain(
            &app,
            &NewDomain {
                hostname: args.hostname,
            },
        )
        .await?;
    session
        .output
        .talk(format!("Added {} to {app}.", domain.hostname));
    if let Some(target) = &domain.cname {
        session
            .output
            .talk(format!("Point its DNS (a CNAME record) at {target}"));
    }
    session.output.answer(&domain)
}

async fn remove(args: &RemoveArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let domain = client.remove_domain(&app, &args.hostname).await?;
    session
        .output
        .talk(format!("Removed {} from {app}.", domain.hostname));
    session.output.answer(&domain)
}
