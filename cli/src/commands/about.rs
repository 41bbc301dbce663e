//! `status`, `version`, `completions`, `help`: about this program and its server.

use clap::{Args, Subcommand};
use clap_complete::Shell;
use serde::Serialize;

use crate::{failure::Failure, output::pairs, session::Session, spelling};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "status")]
    Status(StatusArgs),
    #[command(name = "version")]
    Version(VersionArgs),
    #[command(name = "completions", visible_alias = "autocomplete")]
    Completions(CompletionsArgs),
    #[command(name = "help")]
    Help(HelpArgs),
}

/// Show which server and account are used, and whether the server answers
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app status")]
pub(crate) struct StatusArgs {}

/// Show the version of this program
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app version")]
pub(crate) struct VersionArgs {}

/// Print the completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app completions bash > ~/.local/share/bash-completion/completions/app
  app completions zsh > \"${fpath[1]}/_app\"
  app completions fish > ~/.config/fish/completions/app.fish
The space form of the commands is completed: app ps scale.")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Show help, in general or on one command
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app help
  app help ps:scale
  app help ps scale")]
pub(crate) struct HelpArgs {
    /// The command
    command: Vec<String>,
}

/// What `status --json` prints.
#[derive(Debug, Serialize)]
struct Status {
    url: String,
    account: String,
    version: &'static str,
}

/// What `version --json` prints.
#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Status(StatusArgs {}) => status(session).await,
            Self::Version(VersionArgs {}) => {
                let version = Version {
                    version: env!("CARGO_PKG_VERSION"),
                };
                session
                    .output
                    .data(&version, |version| format!("app {}", version.version))
            }
            Self::Completions(args) => completions(args.shell, session),
            // `spelling` has turned every `help` into `--help` before this could be reached.
            Self::Help(HelpArgs { command }) => Err(Failure::usage(format!(
                "there is no help on {:?}",
                command.join(" ")
            ))),
        }
    }
}

async fn status(session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let account = client.account().await?;
    let status = Status {
        url: client.base().as_str().trim_end_matches('/').to_owned(),
        account: account.email.to_string(),
        version: env!("CARGO_PKG_VERSION"),
    };
    session.output.data(&status, |status| {
        pairs([
            ("Server", format!("{} (answers)", status.url)),
            ("Account", status.account.clone()),
            ("This program", status.version.to_owned()),
        ])
    })
}

fn completions(shell: Shell, session: &Session) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut spelling::space_form(&crate::command()),
        "app",
        &mut script,
    );
    session.output.raw(&script)
}
