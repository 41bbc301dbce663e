//! `run:list`, `run:info`, `run:stop`: what was run beside the process types, and how it ended.

use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use fairway_api::{
    client::{Client, ClientError},
    jobs::{Run, RunState},
    names::AppName,
};

use crate::{
    duration,
    failure::Failure,
    output::{pairs, table, time},
    session::Session,
};

/// How often the server is asked whether a run has ended that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many runs the list shows.
const RUNS_SHOWN: usize = 30;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(
        name = "run:list",
        visible_alias = "runs",
        alias = "jobs:runs",
        alias = "jobs:history"
    )]
    List(ListArgs),
    #[command(name = "run:info", alias = "runs:info")]
    Info(InfoArgs),
    #[command(name = "run:stop", alias = "runs:stop", alias = "jobs:stop")]
    Stop(StopArgs),
}

/// List runs of jobs and one-off commands, the newest first, also those that have ended
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app run:list
  app run:list --job nightly
  app run:list --json | jq -r '.[] | select(.state == \"failed\").name'")]
pub(crate) struct ListArgs {
    /// Only runs of this job
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
}

/// Show a run: its state, exit code and who started it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app run:info run.4821
  app logs -p nightly.10001        # what it wrote")]
pub(crate) struct InfoArgs {
    /// The run, as `app run:list` names it
    #[arg(value_name = "RUN")]
    name: String,
}

/// End a run
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app run:stop run.4821
  app run:stop nightly.10001")]
pub(crate) struct StopArgs {
    /// The run, as `app run:list` names it
    #[arg(value_name = "RUN")]
    name: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(args) => list(args, session).await,
            Self::Info(args) => info(&args, session).await,
            Self::Stop(args) => stop(&args, session).await,
        }
    }
}

async fn list(args: ListArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let mut runs = client.runs(&app).await?;
    if let Some(job) = &args.job {
        runs.retain(|run| run.job.as_ref().is_some_and(|it| it.as_str() == job));
    }
    if runs.is_empty() {
        session
            .output
            .talk(format!("Nothing was run on {app} lately."));
    }
    if !session.output.json {
        runs.truncate(RUNS_SHOWN);
    }
    session.output.data(&runs, |runs| {
        let rows = runs.iter().map(|run| {
            [
                run.name.clone(),
                state(run),
                time(run.created_at),
                took(run),
                format!("v{}", run.release.version),
                run.actor.clone(),
                run.command.clone(),
            ]
        });
        table(
            ["NAME", "STATE", "BEGAN", "TOOK", "RELEASE", "BY", "COMMAND"],
            rows,
        )
    })
}

/// The state with what says most beside it.
pub(super) fn state(run: &Run) -> String {
    match (run.state, run.exit_code) {
        (RunState::Failed, Some(code)) => format!("failed ({code})"),
        (RunState::Running, _) if run.completions > 1 => {
            format!("running {}/{}", run.succeeded, run.completions)
        }
        (state, _) => state.to_string(),
    }
}

/// A run in a line.
pub(super) fn one_line(run: &Run) -> String {
    let (state, began) = (state(run), time(run.created_at));
    format!("{} {state}, began {began}, took {}", run.name, took(run))
}

fn took(run: &Run) -> String {
    if run.state == RunState::Missed {
        return String::new();
    }
    let until = run.ended_at.unwrap_or_else(Utc::now);
    let secs = (until - run.created_at).num_seconds().max(0);
    duration::show(u32::try_from(secs).unwrap_or(u32::MAX))
}

async fn info(args: &InfoArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let run = client.run_info(&app, &args.name).await?;
    session.output.data(&run, describe)
}

fn describe(run: &Run) -> String {
    let mut rows = vec![
        ("Name", run.name.clone()),
        ("State", state(run)),
        ("Reason", run.reason.clone().unwrap_or_default()),
        (
            "Exit code",
            run.exit_code.map(|it| it.to_string()).unwrap_or_default(),
        ),
        ("Command", run.command.clone()),
        ("Release", format!("v{}", run.release.version)),
        ("Size", run.size.to_string()),
        ("Started by", run.actor.clone()),
        ("Scheduled", run.scheduled_at.map(time).unwrap_or_default()),
        ("Began", time(run.created_at)),
        ("Ended", run.ended_at.map(time).unwrap_or_default()),
        ("Took", took(run)),
        ("Timeout", duration::show(run.timeout)),
    ];
    if run.completions > 1 || run.retries > 0 {
        rows.push((
            "Pods",
            format!(
                "{} of {} succeeded, {} run, {} at a time",
                run.succeeded, run.completions, run.active, run.parallelism
            ),
        ));
        rows.push((
            "Tries",
            format!("{} failed, {} allowed each", run.failed, run.retries + 1),
        ));
    }
    if run.skipped > 0 {
        rows.push(("Skipped", format!("{} scheduled times", run.skipped)));
    }
    rows.retain(|(_, value)| !value.is_empty());
    pairs(rows)
}

async fn stop(args: &StopArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let run = client.stop_run(&app, &args.name).await?;
    session
        .output
        .talk(format!("Stopping {} of {app}.", run.name));
    session.output.answer(&run)
}

/// Says that a run has begun, and waits for its end if that is wanted. Gives the exit code.
pub(super) async fn follow(
    client: &Client,
    app: &AppName,
    run: Run,
    wait: bool,
    session: &Session,
) -> Result<u8, Failure> {
    session.output.talk(format!(
        "Running {} on {app}. Its output: app logs -t -a {app} -p {}",
        run.command, run.name
    ));
    if !wait {
        session.output.data(&run, |run| run.name.clone())?;
        return Ok(0);
    }
    let ended = ended(client, app, run).await?;
    session.output.talk(one_line(&ended));
    if let Some(reason) = &ended.reason {
        session.output.talk(format!("{}: {reason}", ended.name));
    }
    session.output.answer(&ended)?;
    Ok(match (ended.state, ended.exit_code) {
        (RunState::Succeeded, _) => 0,
        (_, Some(code)) => u8::try_from(code)
            .ok()
            .filter(|code| *code != 0)
            .unwrap_or(1),
        _ => 1,
    })
}

async fn ended(client: &Client, app: &AppName, mut run: Run) -> Result<Run, Failure> {
    let id = run.id.to_string();
    while !run.state.has_ended() {
        tokio::time::sleep(LOOK_INTERVAL).await;
        match client.run_info(app, &id).await {
            Ok(seen) => run = seen,
            // It is on its way back; the run goes on without it.
            Err(ClientError::Unreachable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(run)
}
