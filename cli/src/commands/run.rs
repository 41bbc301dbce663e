//! `run` and `run:detached`: one-off processes of the current release.

use std::{collections::BTreeMap, io, io::IsTerminal, time::Duration};

use clap::{Args, Subcommand};
use fairway_api::{
    client::{Client, ClientError},
    dynos::{Dyno, NewDyno, RUN_TTL_SECS_MAX},
    names::{AppName, ConfigName, ProcessType, SizeName},
    secret::Secret,
};

use crate::{
    attach::{self, Ending},
    failure::Failure,
    scale,
    session::Session,
    terminal,
};

/// How often the server is asked how a process ended whose connection broke.
const ENDING_LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How many times: long enough for a status to come in, too short to look like a hanging program.
const ENDING_LOOKS_MAX: u32 = 12;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "run", alias = "run:inside")]
    Attached(AttachedArgs),
    #[command(name = "run:detached")]
    Detached(DetachedArgs),
}

/// Run a command in a fresh process of the app, joined to this terminal
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app run bash
  app run -a shop python manage.py migrate
  app run 'echo $PORT | wc -c'     # one word is a shell command line
  app run worker                   # the command of a process type
  pg_dump db | app run 'psql $DATABASE_URL'
The exit code is that of the command. Options for app itself stand before the command.")]
pub(crate) struct AttachedArgs {
    /// Pass on the command's exit code; always done, accepted for scripts written for Heroku
    #[arg(short = 'x', long)]
    exit_code: bool,
    /// Give the command no terminal, even if there is one here
    #[arg(long)]
    no_tty: bool,
    #[command(flatten)]
    what: WhatArgs,
}

/// Run a command in the background; its output goes to the app's log
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app run:detached python manage.py import
  app logs -t -p \"$(app run:detached rake import)\"
  app run:detached --time-to-live 600 ./cleanup.sh")]
pub(crate) struct DetachedArgs {
    /// Stop it after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=i64::from(RUN_TTL_SECS_MAX)))]
    time_to_live: Option<u32>,
    #[command(flatten)]
    what: WhatArgs,
}

#[derive(Debug, Args)]
struct WhatArgs {
    /// The size of the process: standard-2x (see app ps:type)
    #[arg(short, long, value_parser = scale::parse_size)]
    size: Option<SizeName>,
    /// Set a variable for this process only; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    env: Vec<(ConfigName, Secret)>,
    /// Take size and name from this process type
    #[arg(long = "type", value_name = "TYPE")]
    process_type: Option<ProcessType>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Command {
    /// Runs it and gives the exit code: the program's own where it is joined.
    pub(crate) async fn run(self, session: &Session) -> Result<u8, Failure> {
        match self {
            Self::Attached(args) => attached(args, session).await,
            Self::Detached(args) => detached(args, session).await.map(|()| 0),
        }
    }
}

async fn attached(args: AttachedArgs, session: &Session) -> Result<u8, Failure> {
    session.refuse_json("prints what the command prints", "run:detached has JSON")?;
    let whole_terminal = terminal::is_whole() && !args.no_tty;
    let mut order = args.what.order()?;
    order.attach = true;
    order.force_no_tty = !whole_terminal;
    if let Some(term) = session.environment.term.as_ref().filter(|_| whole_terminal) {
        let name = "TERM".parse()?;
        order
            .env
            .entry(name)
            .or_insert_with(|| Secret::new(term.clone()));
    }
    let (client, app) = session.app()?;
    let dyno = client.run(&app, &order).await?;
    if io::stderr().is_terminal() {
        session.output.talk(format!(
            "Running {} on {app}, {} ({})",
            order.command, dyno.name, dyno.size
        ));
    }
    let Some(url) = &dyno.attach_url else {
        return Err(Failure::failed(format!(
            "the server started {} without a terminal",
            dyno.name
        ))
        .with_hint(format!("Its output: app logs -a {app} -p {}", dyno.name)));
    };
    let socket = client
        .attach(url)
        .await
        .map_err(|error| still_running(error.into(), &app, &dyno))?;
    match attach::join(socket, whole_terminal).await? {
        Ending::Exited(code) => Ok(exit_code(code)),
        Ending::Lost => ending_of(&client, &app, &dyno).await,
    }
}

/// The connection is gone: the server may know how the process ended, now or in a moment.
async fn ending_of(client: &Client, app: &AppName, dyno: &Dyno) -> Result<u8, Failure> {
    for _ in 0..ENDING_LOOKS_MAX {
        let seen = client.dyno(app, &dyno.name).await;
        match seen.map(|dyno| dyno.exit_code) {
            Ok(Some(code)) => return Ok(exit_code(code.into())),
            // Still running as far as the server knows, or the server is on its way back.
            Ok(None) | Err(ClientError::Unreachable { .. }) => {
                tokio::time::sleep(ENDING_LOOK_INTERVAL).await;
            }
            Err(_) => break,
        }
    }
    let lost = Failure::failed(format!("the connection to {} was lost", dyno.name));
    Err(still_running(lost, app, dyno))
}

fn still_running(failure: Failure, app: &AppName, dyno: &Dyno) -> Failure {
    let name = &dyno.name;
    failure.with_hint(format!(
        "It may still be running: app ps -a {app} shows it, app logs -a {app} -p {name} has its output,\napp ps:stop -a {app} {name} ends it."
    ))
}

/// A process's exit code as ours; one that does not fit still says failure.
pub(super) fn exit_code(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(1)
}

async fn detached(args: DetachedArgs, session: &Session) -> Result<(), Failure> {
    let mut order = args.what.order()?;
    order.time_to_live = args.time_to_live;
    let (client, app) = session.app()?;
    let dyno = client.run(&app, &order).await?;
    session.output.talk(format!(
        "Running {} on {app}. Its output: app logs -t -a {app} -p {}",
        order.command, dyno.name
    ));
    session.output.data(&dyno, |dyno| dyno.name.clone())
}

impl WhatArgs {
    fn order(self) -> Result<NewDyno, Failure> {
        refuse_misplaced(&self.command)?;
        Ok(NewDyno {
            command: command_line(&self.command)?,
            attach: false,
            force_no_tty: false,
            env: self.env.into_iter().collect::<BTreeMap<_, _>>(),
            size: self.size,
            process_type: self.process_type,
            time_to_live: None,
        })
    }
}

/// Heroku takes `-a APP` after the command, most tools pass it on. Guessing wrong would run the
/// command on another app, so neither is done.
pub(super) fn refuse_misplaced(command: &[String]) -> Result<(), Failure> {
    let named = command.windows(2).find_map(|pair| {
        let [option, value] = pair else { return None };
        let ours = matches!(option.as_str(), "-a" | "--app");
        (ours && value.parse::<AppName>().is_ok()).then(|| format!("{option} {value}"))
    });
    let glued = command
        .iter()
        .find(|word| word.starts_with("--app="))
        .cloned();
    match named.or(glued) {
        Some(words) => Err(Failure::usage(format!(
            "{words} stands after the command; whose is it?"
        ))
        .with_hint(format!(
            "For app: app run {words} COMMAND ...\nFor the command, in quotes: app run 'COMMAND ... {words}'"
        ))),
        None => Ok(()),
    }
}

/// One word is a shell command line and stays as it is; several words reach the program as exactly
/// these words. Variables in front of the program stay variables.
pub(super) fn command_line(words: &[String]) -> Result<String, Failure> {
    if let [line] = words {
        return Ok(line.clone());
    }
    let mut program_seen = false;
    let quoted = words.iter().map(|word| {
        let variable = word
            .split_once('=')
            .filter(|(name, _)| !program_seen && name.parse::<ConfigName>().is_ok());
        match variable {
            Some((name, value)) => Ok(format!("{name}={}", shlex::try_quote(value)?)),
            None => {
                program_seen = true;
                shlex::try_quote(word).map(Into::into)
            }
        }
    });
    let quoted: Result<Vec<String>, shlex::QuoteError> = quoted.collect();
    quoted
        .map(|words| words.join(" "))
        .map_err(|error| Failure::usage(format!("the command: {error}")))
}

pub(super) fn parse_variable(text: &str) -> Result<(ConfigName, Secret), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let name = name
        .parse::<ConfigName>()
        .map_err(|error| error.to_string())?;
    Ok((name, Secret::new(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_shell_command_line() {
        for (words, expect) in [
            (&["echo $PORT | wc"][..], "echo $PORT | wc"),
            (&["ls", "-la", "/tmp"], "ls -la /tmp"),
            (&["sh", "-c", "echo $A; exit 7"], "sh -c 'echo $A; exit 7'"),
            (&["echo", "it's"], "echo \"it's\""),
            (
                &["RAILS_ENV=test it", "rake", "A=b"],
                "RAILS_ENV='test it' rake 'A=b'",
            ),
            (&["echo", ""], "echo ''"),
        ] {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            assert_eq!(command_line(&words).unwrap(), expect, "{words:?}");
        }
    }

    #[test]
    fn an_app_after_the_command_is_refused() {
        for (words, refused) in [
            (&["rails", "console", "-a", "shop"][..], true),
            (&["rails", "console", "--app", "shop"], true),
            (&["rails", "console", "--app=shop"], true),
            (&["ls", "-a"], false),
            (&["ls", "-a", "/tmp"], false),
            (&["ls", "-la"], false),
        ] {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            assert_eq!(refuse_misplaced(&words).is_err(), refused, "{words:?}");
        }
    }

    #[test]
    fn exit_codes_are_passed_on() {
        for (code, expect) in [(0, 0), (7, 7), (137, 137), (255, 255), (256, 1), (-1, 1)] {
            assert_eq!(exit_code(code), expect, "{code}");
        }
    }
}
