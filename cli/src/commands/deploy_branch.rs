//! `deploy:branch`.

use clap::{Args, Subcommand};
use fairway_api::{
    apps::{App, AppPatch},
    names::BranchName,
};

use crate::{failure::Failure, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "deploy:branch")]
    DeployBranch(DeployBranchArgs),
}

/// Show or choose the branch whose pushes deploy
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app deploy:branch                # main or master, unless another was chosen
  app deploy:branch production
  app deploy:branch --default      # main or master again
Pushes to other branches are stored and not deployed.")]
pub(crate) struct DeployBranchArgs {
    /// The branch that deploys from now on
    branch: Option<BranchName>,
    /// Let main and master deploy, as for a new app
    #[arg(long, conflicts_with = "branch")]
    default: bool,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::DeployBranch(args) = self;
        let (client, app) = session.app()?;
        if args.branch.is_none() && !args.default {
            return session.output.data(&client.app(&app).await?, shown);
        }
        let patch = AppPatch {
            deploy_branch: Some(args.branch),
            ..AppPatch::default()
        };
        let app = client.update_app(&app, &patch).await?;
        let (branch, name) = (shown(&app), &app.name);
        session
            .output
            .talk(format!("Pushes to {branch} deploy {name} now."));
        session.output.answer(&app)
    }
}

fn shown(app: &App) -> String {
    app.deploy_branch
        .as_ref()
        .map_or("main or master".to_owned(), ToString::to_string)
}
