//! `features`, `features:enable`, `features:disable`.

use clap::{Args, Subcommand};

use crate::{failure::Failure, output::table, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "features")]
    List(ListArgs),
    #[command(name = "features:enable")]
    Enable(NameArgs),
    #[command(name = "features:disable")]
    Disable(DisableArgs),
}

/// List what can be switched on for the app
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app features")]
pub(crate) struct ListArgs {}

/// Switch a feature on
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app features:enable http-session-affinity
With session affinity a cookie keeps each client at the web process that answered it first.")]
pub(crate) struct NameArgs {
    /// The feature
    #[arg(value_name = "FEATURE")]
    feature: String,
}

/// Switch a feature off
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app features:disable http-session-affinity")]
pub(crate) struct DisableArgs {
    /// The feature
    #[arg(value_name = "FEATURE")]
    feature: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Enable(args) => set(&args.feature, true, session).await,
            Self::Disable(args) => set(&args.feature, false, session).await,
        }
    }
}

fn word(enabled: bool) -> &'static str {
    if enabled { "on" } else { "off" }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let features = client.features(&app).await?;
    session.output.data(&features, |features| {
        let rows = features.iter().map(|it| {
            [
                it.name.clone(),
                word(it.enabled).into(),
                it.description.clone(),
            ]
        });
        table(["FEATURE", "STATE", "WHAT IT DOES"], rows)
    })
}

async fn set(feature: &str, enabled: bool, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let set = client.set_feature(&app, feature, enabled).await?;
    let word = word(set.enabled);
    session
        .output
        .talk(format!("{} of {app} is {word}.", set.name));
    session.output.answer(&set)
}
