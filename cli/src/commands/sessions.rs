//! `ps:exec`, `ps:forward`, `ps:copy`: ways into a process that runs.

use std::io;

use clap::{Args, Subcommand};
use fairway_api::{
    client::{AttachSocket, Client},
    sessions::{NewSession, Session as Opened, SessionPurpose},
};

use super::run::exit_code;
use crate::{
    attach::{self, Ending},
    copy,
    failure::Failure,
    forward::{self, PortPair},
    session::Session,
    terminal,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "ps:exec", visible_alias = "enter")]
    Exec(ExecArgs),
    #[command(name = "ps:forward")]
    Forward(ForwardArgs),
    #[command(name = "ps:copy")]
    Copy(CopyArgs),
}

/// Run a command, or a shell, beside a process that runs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app ps:exec                            # a shell in web.1
  app ps:exec -d worker.2 -- ps aux
  app ps:exec -c proxy -- nginx -T       # in a sidecar of web.1
  app ps:exec 'ls /tmp | wc -l'          # one word is a shell command line
  app ps:exec -- tar c . > backup.tar    # bytes pass unchanged
For a fresh process with the app's full size: app run. What the command started ends with it, and
when this terminal goes. The exit code is that of the command.")]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    /// Give the command no terminal, even if there is one here
    #[arg(long)]
    no_tty: bool,
    /// The command and its arguments; without it a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Make ports of a process reachable on this computer
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app ps:forward 5432                    # localhost:5432 is port 5432 of web.1
  app ps:forward 9000:8080,9229 -d web.2
  app ps:forward 0:8080 --json           # any free port here; says which
It listens on this computer alone, and ends with the process or with ctrl-c.")]
pub(crate) struct ForwardArgs {
    /// PORT or LOCAL:REMOTE, several with commas
    #[arg(value_name = "PORTS", required = true, value_delimiter = ',')]
    ports: Vec<PortPair>,
    #[command(flatten)]
    whose: WhoseArgs,
}

/// Copy a file or folder to or from a process
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app ps:copy web.1:/app/log/debug.log .
  app ps:copy ./fixtures web.1:/app/tmp
  app ps:copy worker.2:data.csv report.csv
One of the two stands in a process, as PROCESS:PATH. As with cp, a target that is a folder gets the
copy inside. Modes are kept, owners are not. Copies in a process are gone when it is replaced.")]
pub(crate) struct CopyArgs {
    /// What to copy: PATH or PROCESS:PATH
    source: String,
    /// Where to: PATH or PROCESS:PATH
    target: String,
    /// A container of the process other than the main one, as `app ps` names it
    #[arg(short, long)]
    container: Option<String>,
}

#[derive(Debug, Args)]
struct WhoseArgs {
    /// The process, as `app ps` names it
    #[arg(
        short,
        long,
        visible_alias = "process",
        value_name = "PROCESS",
        default_value = "web.1"
    )]
    dyno: String,
    /// A container of the process other than the main one, as `app ps` names it
    #[arg(short, long)]
    container: Option<String>,
}

impl Command {
    /// Runs it and gives the exit code: for `ps:exec` the command's own.
    pub(crate) async fn run(self, session: &Session) -> Result<u8, Failure> {
        match self {
            Self::Exec(args) => exec(args, session).await,
            Self::Forward(args) => forward(args, session).await.map(|()| 0),
            Self::Copy(args) => {
                let (client, app) = session.app()?;
                let copy = copy::plan(&args.source, &args.target)?;
                let door = Door {
                    client,
                    app,
                    dyno: copy.dyno.clone(),
                    container: args.container,
                };
                copy::run(&copy, &door, session).await.map(|()| 0)
            }
        }
    }
}

/// The way to one process.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) client: Client,
    pub(crate) app: fairway_api::names::AppName,
    pub(crate) dyno: String,
    pub(crate) container: Option<String>,
}

impl Door {
    /// Asks for a session.
    pub(crate) async fn open(&self, purpose: SessionPurpose) -> Result<Opened, Failure> {
        let new = NewSession {
            purpose,
            container: self.container.clone(),
        };
        Ok(self
            .client
            .open_session(&self.app, &self.dyno, &new)
            .await?)
    }

    /// Asks for a session of one stream and dials it.
    pub(crate) async fn dial(
        &self,
        purpose: SessionPurpose,
    ) -> Result<(AttachSocket, String), Failure> {
        let opened = self.open(purpose).await?;
        let socket = self.client.attach(&opened.url).await?;
        Ok((socket, opened.dyno.name))
    }
}

fn door(whose: WhoseArgs, session: &Session) -> Result<Door, Failure> {
    let (client, app) = session.app()?;
    Ok(Door {
        client,
        app,
        dyno: whose.dyno,
        container: whose.container,
    })
}

async fn exec(args: ExecArgs, session: &Session) -> Result<u8, Failure> {
    session.refuse_json("prints what the command prints", "ps has JSON")?;
    let tty = terminal::is_whole() && !args.no_tty;
    let purpose = SessionPurpose::Exec {
        command: words(args.command),
        tty,
        term: session.environment.term.clone().filter(|_| tty),
    };
    let door = door(args.whose, session)?;
    let (socket, name) = door.dial(purpose).await?;
    match attach::join(socket, tty).await? {
        Ending::Exited(code) => Ok(exit_code(code)),
        Ending::Lost => Err(Failure::failed(format!(
            "the connection to {name} was lost, and with it the command"
        ))),
    }
}

/// One word that is no plain program's name is a shell command line, as `app run` has it.
fn words(command: Vec<String>) -> Vec<String> {
    let is_line = |word: &str| {
        word.chars()
            .any(|c| c.is_whitespace() || "|&;<>()$`\\\"'*?[#~=%".contains(c))
    };
    match command.as_slice() {
        [line] if is_line(line) => ["sh", "-c", line].map(Into::into).into(),
        _ => command,
    }
}

async fn forward(args: ForwardArgs, session: &Session) -> Result<(), Failure> {
    let listeners = forward::listen(&args.ports).await?;
    let door = door(args.whose, session)?;
    let mut ports: Vec<u16> = listeners.iter().map(|it| it.remote).collect();
    ports.sort_unstable();
    ports.dedup();
    let opened = door.open(SessionPurpose::Forward { ports }).await?;
    for it in &listeners {
        session.output.talk(format!(
            "localhost:{} is port {} of {}",
            it.local, it.remote, opened.dyno.name
        ));
    }
    if session.output.json {
        session
            .output
            .data(&forward::shown(&listeners), |_| String::new())?;
    }
    let forwarding = forward::run(door.client, opened, listeners, session.output);
    tokio::select! {
        ended = forwarding => ended,
        stopped = tokio::signal::ctrl_c() => stopped.map_err(Failure::io("listen for signals")),
    }
}

impl std::str::FromStr for PortPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        let port = |text: &str| text.parse::<u16>().map_err(|_| io_hint(text));
        let (local, remote) = (port(local)?, port(remote)?);
        if remote == 0 {
            return Err("the process's port must be from 1 to 65535".into());
        }
        Ok(Self { local, remote })
    }
}

fn io_hint(text: &str) -> String {
    format!("{text:?} is no port; write 5432 or 9000:5432")
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_may_be_a_shell_command_line() {
        for (given, expect) in [
            (&[][..], &[][..]),
            (&["ls"], &["ls"]),
            (&["/bin/ls"], &["/bin/ls"]),
            (&["ls", "a b"], &["ls", "a b"]),
            (&["ls /tmp"], &["sh", "-c", "ls /tmp"]),
            (&["echo $PORT"], &["sh", "-c", "echo $PORT"]),
            (&["A=1"], &["sh", "-c", "A=1"]),
        ] {
            let given: Vec<String> = given.iter().map(ToString::to_string).collect();
            assert_eq!(words(given), expect);
        }
    }

    #[test]
    fn ports_are_read_as_heroku_reads_them() {
        for (text, expect) in [
            ("5432", Some((5432, 5432))),
            ("9000:8080", Some((9000, 8080))),
            ("0:8080", Some((0, 8080))),
            ("0", None),
            ("80:", None),
            ("x", None),
            ("70000", None),
        ] {
            let pair = text.parse::<PortPair>().ok();
            assert_eq!(pair.map(|it| (it.local, it.remote)), expect, "{text}");
        }
    }
}
