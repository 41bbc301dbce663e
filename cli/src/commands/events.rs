//! `events`: who did what to the app, when and why.

use clap::{Args, Subcommand};

use crate::{
    failure::Failure,
    output::{table, time},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "events")]
    List(ListArgs),
}

/// Show what happened to the app and who did it, newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app events
  app events --json | jq -r '.[] | select(.kind == \"pod.crashed\").message'")]
pub(crate) struct ListArgs {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 30)]
    num: usize,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(args) => list(&args, session).await,
        }
    }
}

async fn list(args: &ListArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let mut events = client.events(&app).await?;
    events.truncate(args.num);
    session.output.data(&events, |events| {
        let rows = events.iter().map(|event| {
            [
                time(event.created_at),
                event.actor.clone(),
                event.kind.clone(),
                event.message.clone(),
            ]
        });
        table(["AT", "BY", "WHAT", "MESSAGE"], rows)
    })
}
