//! `nodes:rebalance`.

use clap::{Args, Subcommand};
use fairway_api::rebalance::{MoveGain, PlannedMove, Rebalance};

use crate::{failure::Failure, output::table, session::Session};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "nodes:rebalance")]
    Rebalance(RebalanceArgs),
}

/// Move pods that run to better machines: ones that joined later, came back or are emptier
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes:rebalance --dry-run
  fairway nodes:rebalance
A few pods move at a time, each after the one that replaces it is up, of each type one in five
minutes, for an hour. To have it all the time: fairway up --rebalance")]
pub(super) struct RebalanceArgs {
    /// Only show what would be moved
    #[arg(long)]
    dry_run: bool,
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Rebalance(args) = self;
        let client = session.client()?;
        let plan = if args.dry_run {
            client.rebalance_plan().await?
        } else {
            client.rebalance().await?
        };
        session.output.talk(summary(&plan, args.dry_run));
        session.output.data(&plan, |plan| moves(&plan.moves))
    }
}

fn summary(plan: &Rebalance, dry_run: bool) -> String {
    match (plan.moves.len(), dry_run) {
        (0, _) => "All pods run where they should.".into(),
        (count, true) => format!("{count} pods had better run elsewhere."),
        (count, false) => format!("{count} pods move, a few at a time."),
    }
}

fn moves(moves: &[PlannedMove]) -> String {
    let rows = moves.iter().map(|it| {
        [
            it.app.name.to_string(),
            it.pod.clone(),
            it.from.to_string(),
            it.to.to_string(),
            gain(it.why).to_owned(),
        ]
    });
    table(["APP", "POD", "FROM", "TO", "WHY"], rows)
}

fn gain(gain: MoveGain) -> &'static str {
    match gain {
        MoveGain::Rule => "its machine is not what it requires",
        MoveGain::Spread => "its type stands uneven",
        MoveGain::Load => "the other machine is emptier",
    }
}
