//! `dns`, `dns:set`, `dns:unset`: names of things outside, for the app's pods.

use clap::{Args, Subcommand};
use fairway_api::{
    names::ServiceName,
    network::ExternalTarget,
    reach::{ExternalNameInfo, NewExternalName},
};

use crate::{failure::Failure, output::table, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "dns", visible_alias = "dns:list")]
    List(ListArgs),
    #[command(name = "dns:set")]
    Set(SetArgs),
    #[command(name = "dns:unset")]
    Unset(UnsetArgs),
}

/// List the app's names for things outside
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app dns
Names of the app's own pods (web.APP.internal) need no entry.")]
pub(crate) struct ListArgs {}

/// Say what NAME.APP.internal stands for
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app dns:set db db.example.com
  app dns:set cache 10.1.2.3 10.1.2.4")]
pub(crate) struct SetArgs {
    /// The first part of the name
    name: ServiceName,
    /// A hostname, or IPv4 addresses
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

/// Forget a name
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app dns:unset db")]
pub(crate) struct UnsetArgs {
    /// The first part of the name
    name: ServiceName,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Set(args) => set(args, session).await,
            Self::Unset(args) => unset(&args, session).await,
        }
    }
}

fn shown(target: &ExternalTarget) -> String {
    match target {
        ExternalTarget::Hostname(hostname) => hostname.to_string(),
        ExternalTarget::Addresses(all) => {
            let all: Vec<_> = all.iter().map(ToString::to_string).collect();
            all.join(" ")
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let names = client.external_names(&app).await?;
    session
        .output
        .data(&names, |names: &Vec<ExternalNameInfo>| {
            let rows = names
                .iter()
                .map(|name| [name.dns.clone(), shown(&name.target)]);
            table(["NAME", "TARGET"], rows)
        })
}

async fn set(args: SetArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let mut new = NewExternalName::default();
    let addresses: Result<Vec<_>, _> = args.targets.iter().map(|text| text.parse()).collect();
    match (addresses, args.targets.as_slice()) {
        (Ok(addresses), _) => new.addresses = addresses,
        (Err(_), [hostname]) => {
            let hostname = hostname.parse();
            new.hostname = Some(hostname.map_err(|error| Failure::usage(format!("{error}")))?);
        }
        (Err(_), _) => {
            return Err(Failure::usage(
                "a name stands for one hostname, or for IPv4 addresses",
            ));
        }
    }
    let name = client.set_external_name(&app, &args.name, &new).await?;
    session
        .output
        .talk(format!("{} is now {}.", name.dns, shown(&name.target)));
    session.output.answer(&name)
}

async fn unset(args: &UnsetArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let name = client.remove_external_name(&app, &args.name).await?;
    session.output.talk(format!("Forgot {}.", name.dns));
    session.output.answer(&name)
}
