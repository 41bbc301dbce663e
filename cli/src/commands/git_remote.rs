//! `git:remote`, and the credential helper that git runs: `git:credential`.

use std::io::{self, Read};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::{
    failure::Failure,
    git,
    remote::ServerUrl,
    session::{REMOTE_DEFAULT, Session},
};

/// The most bytes that git's question may have; git itself writes a few hundred.
const QUESTION_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "git:remote")]
    Remote(RemoteArgs),
    #[command(name = "git:credential", hide = true)]
    Credential(CredentialArgs),
}

/// Make or change the git remote of this repository
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app git:remote -a shop           # the remote fairway, over HTTP
  app git:remote -a shop --ssh
  app git:remote -a shop-staging -r staging")]
pub(crate) struct RemoteArgs {
    /// Use SSH (needs app keys:add)
    #[arg(long)]
    ssh: bool,
}

/// Answer git's question for user and password (a git credential helper)
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  git config --global credential.http://localhost:7000.helper '!app git:credential'
app login sets this; git runs it.")]
pub(crate) struct CredentialArgs {
    /// What git wants
    operation: Operation,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Operation {
    Get,
    Store,
    Erase,
    Capability,
}

/// What `git:remote --json` prints.
#[derive(Debug, Serialize)]
struct Made<'a> {
    remote: &'a str,
    url: &'a str,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Remote(args) => remote(&args, session).await,
            Self::Credential(args) => credential(args.operation, session),
        }
    }
}

async fn remote(args: &RemoteArgs, session: &Session) -> Result<(), Failure> {
    if !git::in_repository() {
        return Err(Failure::usage("this directory is in no git repository").with_hint("git init"));
    }
    let name = session.remote_name().unwrap_or(REMOTE_DEFAULT);
    // `-r` names the remote to make here, not one to take the app from.
    let (client, app) = session.app_without_remote()?;
    let app = client.app(&app).await?;
    let url = if args.ssh {
        &app.git_ssh_url
    } else {
        &app.git_url
    };
    let urls: Vec<_> = git::remotes()
        .into_iter()
        .filter(|remote| remote.name == name)
        .collect();
    if urls.is_empty() {
        git::add_remote(name, url)?;
    } else {
        git::set_remote_url(name, url)?;
    }
    session
        .output
        .talk(format!("The git remote {name} is {url}"));
    session.output.answer(&Made { remote: name, url })?;
    Ok(())
}

/// Speaks git-credential(7): `key=value` lines in, `key=value` lines out. Without an answer git
/// asks the next helper, then the user.
fn credential(operation: Operation, session: &Session) -> Result<(), Failure> {
    let mut question = String::new();
    io::stdin()
        .take(QUESTION_BYTES_MAX)
        .read_to_string(&mut question)
        .map_err(Failure::io("read git's question"))?;
    let Some(server) = asked_server(&question) else {
        return Ok(());
    };
    match operation {
        Operation::Get => {
            let Some((user, token)) = session.git_login(&server)? else {
                return Ok(());
            };
            let answer = format!("username={user}\npassword={}\n", token.expose());
            session.output.raw(answer.as_bytes())
        }
        Operation::Erase => {
            if session.git_login(&server)?.is_some() {
                session.output.talk(format!(
                    "Fairway at {server} refused the stored token. Log in again: app login {server}"
                ));
            }
            Ok(())
        }
        Operation::Store | Operation::Capability => Ok(()),
    }
}

/// The server that git asks about, as far as git says it: scheme, host and port.
fn asked_server(question: &str) -> Option<ServerUrl> {
    let value = |key: &str| {
        let mut lines = question.lines().filter_map(|line| line.split_once('='));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    format!("{}://{}", value("protocol")?, value("host")?)
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_s_question_names_a_server() {
        for (question, expect) in [
            (
                "protocol=http\nhost=localhost:7000\n",
                Some("http://localhost:7000"),
            ),
            (
                "capability[]=authtype\nprotocol=https\nhost=f.example.com\npath=x.git\n",
                Some("https://f.example.com"),
            ),
            ("protocol=ssh\nhost=localhost\n", None),
            ("host=localhost\n", None),
            ("", None),
        ] {
            let server = asked_server(question).map(|server| server.to_string());
            assert_eq!(server.as_deref(), expect, "{question:?}");
        }
    }
}
