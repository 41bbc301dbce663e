//! `events`: who did what to the app, when and why.

use clap::{Args, Subcommand};

use crate::{
    event_list::{self, Wanted},
    failure::Failure,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "events")]
    List(ListArgs),
}

/// Show what happened to the app, who did it and why; what was seen last first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app events
  app events -t                               # the last 30, then new ones as they come
  app events --type out-of-memory,signal -p web
  app events --type pod.crashed -n 100
  app events --json | jq -r '.[] | select(.cause.type == \"check-failed\").cause.response'
  app events -t --json | jq -r .message       # a document a line
Types of causes: out-of-memory, signal, exit, stopped, check-failed, image-pull-failed,
start-failed, back-off, unplaced, evicted, preempted, lost-machine, drained, rebalanced")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    wanted: Wanted,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(args) => {
                let (client, app) = session.app()?;
                event_list::show(session, &client, Some(&app), args.wanted).await
            }
        }
    }
}
