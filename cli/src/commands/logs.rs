//! `logs`.

use clap::{Args, Subcommand, ValueEnum};
use fairway_api::logs::{LOG_SESSION_LINES_DEFAULT, LOG_SESSION_LINES_MAX, NewLogSession};
use futures_util::TryStreamExt;

use crate::{
    failure::Failure,
    log_lines::{self, Line, Lines},
    session::{Session, stream_url},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "logs")]
    Show(ShowArgs),
}

/// Show the app's log: its own output, the router's access lines, the platform's doings
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app logs                         # the last 100 lines
  app logs -t                      # and go on with new ones
  app logs -n 500 -p web
  app logs -t -p web.1 --source app
  app logs -p web.1/proxy          # one container of a process that has several
  app logs --json | jq -r 'select(.process == \"router\").text'")]
pub(crate) struct ShowArgs {
    /// Go on with new lines until interrupted
    #[arg(short, long)]
    tail: bool,
    /// How many past lines
    #[arg(short = 'n', long, alias = "lines", value_name = "LINES", default_value_t = LOG_SESSION_LINES_DEFAULT,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(LOG_SESSION_LINES_MAX)))]
    num: u32,
    /// Only this process (web.1), container (web.1/proxy) or process type (web); `router` has the access lines
    #[arg(
        short,
        long = "ps",
        visible_alias = "dyno",
        short_alias = 'd',
        value_name = "PROCESS"
    )]
    process: Option<String>,
    /// Only the app's own lines or only the platform's
    #[arg(short, long)]
    source: Option<Source>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Source {
    App,
    #[value(alias = "heroku")]
    Fairway,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Show(args) => show(args, session).await,
        }
    }
}

async fn show(args: ShowArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let order = NewLogSession {
        dyno: args.process,
        process_type: None,
        source: args.source.map(|source| match source {
            Source::App => "app".to_owned(),
            Source::Fairway => "fairway".to_owned(),
        }),
        lines: Some(args.num),
        tail: Some(args.tail),
    };
    let opened = client.open_logs(&app, &order).await?;
    let mut stream = client.stream(&stream_url(&opened.logplex_url)?).await?;
    let mut lines = Lines::default();
    let mut seen = false;
    while let Some(piece) = stream.try_next().await? {
        seen = true;
        print(&lines.take(&piece), session)?;
    }
    print(lines.end().as_slice(), session)?;
    if !seen && !args.tail {
        session.output.talk("There are no such lines yet.");
    }
    Ok(())
}

/// Prints whole lines. All of a piece at once: a log that is read fast must be written fast.
fn print(lines: &[String], session: &Session) -> Result<(), Failure> {
    let mut text = String::new();
    for line in lines {
        if session.output.json {
            let line = Line::parse(line).unwrap_or(Line {
                at: "",
                source: "",
                process: "",
                text: line,
            });
            text.push_str(&serde_json::to_string(&line).unwrap_or_default());
        } else if session.output.colour {
            text.push_str(&log_lines::colour(line));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    session.output.text(&text)
}
