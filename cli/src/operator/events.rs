//! `events` of the whole cluster.

use clap::{Args, Subcommand};

use crate::{
    event_list::{self, Wanted},
    failure::Failure,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "events")]
    List(ListArgs),
}

/// Show what happened to all apps and to the machines; what was seen last first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway events
  fairway events -t --type lost-machine,evicted,preempted,unplaced
  fairway events --type node.lost,node.returned,nodes.mass-failure")]
pub(super) struct ListArgs {
    #[command(flatten)]
    wanted: Wanted,
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::List(args) = self;
        event_list::show(session, &session.client()?, None, args.wanted).await
    }
}
