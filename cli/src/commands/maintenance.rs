//! `maintenance`, `maintenance:on`, `maintenance:off`.

use clap::{Args, Subcommand};
use fairway_api::apps::{App, AppPatch};

use crate::{failure::Failure, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "maintenance")]
    Show(ShowArgs),
    #[command(name = "maintenance:on")]
    On(OnArgs),
    #[command(name = "maintenance:off")]
    Off(OffArgs),
}

/// Show whether maintenance mode is on
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app maintenance")]
pub(crate) struct ShowArgs {}

/// Answer every request with the maintenance page
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app maintenance:on -a shop")]
pub(crate) struct OnArgs {}

/// Let requests through again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app maintenance:off -a shop")]
pub(crate) struct OffArgs {}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Show(ShowArgs {}) => show(session).await,
            Self::On(OnArgs {}) => switch(true, session).await,
            Self::Off(OffArgs {}) => switch(false, session).await,
        }
    }
}

async fn show(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    session
        .output
        .data(&client.app(&app).await?, |app| word(app).to_owned())
}

async fn switch(on: bool, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let patch = AppPatch {
        maintenance: Some(on),
        ..AppPatch::default()
    };
    let app = client.update_app(&app, &patch).await?;
    session.output.talk(format!(
        "Maintenance mode of {} is {}.",
        app.name,
        word(&app)
    ));
    session.output.answer(&app)
}

fn word(app: &App) -> &'static str {
    if app.maintenance { "on" } else { "off" }
}
