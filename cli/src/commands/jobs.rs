//! `jobs`, `jobs:info`, `jobs:start`, `jobs:suspend`, `jobs:resume`, `jobs:run`: commands by schedule
//! and in many pods.

use clap::{Args, Subcommand};
use fairway_api::{
    jobs::{
        COMPLETIONS_MAX, Concurrency, Job, JobPatch, Missed, NewRun, PARALLELISM_MAX, RETRIES_MAX,
    },
    names::{ConfigName, JobName, SizeName},
    secret::Secret,
};

use super::{
    run::{command_line, parse_variable, refuse_misplaced},
    runs,
};
use crate::{
    duration,
    failure::Failure,
    output::{pairs, table, time},
    scale,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(
        name = "jobs",
        visible_alias = "jobs:list",
        alias = "cron:list",
        alias = "cron"
    )]
    List(ListArgs),
    #[command(name = "jobs:info")]
    Info(JobArgs),
    #[command(name = "jobs:start", alias = "cron:run")]
    Start(StartArgs),
    #[command(name = "jobs:suspend", alias = "cron:suspend")]
    Suspend(SuspendArgs),
    #[command(name = "jobs:resume", alias = "cron:resume")]
    Resume(ResumeArgs),
    #[command(name = "jobs:run")]
    Run(RunArgs),
}

/// List the jobs that run by schedule, and how they went last
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app jobs
  app jobs --json | jq -r '.[] | select(.last_run.state == \"failed\").name'
Jobs stand in app.json as \"cron\" and are those of the current release.")]
pub(crate) struct ListArgs {}

/// Show a job: its schedule, its rules and its last run
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app jobs:info nightly")]
pub(crate) struct JobArgs {
    /// The job, as `app jobs` names it
    job: JobName,
}

/// Run a job now, whatever its schedule says
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app jobs:start nightly
  app jobs:start nightly --wait    # the exit code is the command's
A suspended job can be started too.")]
pub(crate) struct StartArgs {
    /// The job, as `app jobs` names it
    job: JobName,
    /// Wait for its end
    #[arg(long)]
    wait: bool,
}

/// Stop a job from running by schedule
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app jobs:suspend nightly
Stays so over pushes and rollbacks, until app jobs:resume. A run that has begun goes on.")]
pub(crate) struct SuspendArgs {
    /// The job, as `app jobs` names it
    job: JobName,
}

/// Let a suspended job run by schedule again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app jobs:resume nightly
The times that passed meanwhile are not made up for.")]
pub(crate) struct ResumeArgs {
    /// The job, as `app jobs` names it
    job: JobName,
}

/// Run a command in the background until it succeeds, in one pod or many
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app jobs:run --retries 3 -- ./import.sh
  app jobs:run --name import --completions 10 --parallelism 4 --timeout 1h -- ./import.sh
  app jobs:run --wait -- rake stats    # the exit code is the command's
Each pod finds its number, from 0, in FAIRWAY_RUN_INDEX, and how many there are in
FAIRWAY_RUN_COMPLETIONS. Pods of a lost machine are made again elsewhere.")]
pub(crate) struct RunArgs {
    /// What its pods are called in the log: import.4821
    #[arg(long)]
    name: Option<JobName>,
    /// How many pods have to succeed [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(COMPLETIONS_MAX)))]
    completions: Option<u32>,
    /// How many run at a time [default: all of them, at most 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(PARALLELISM_MAX)))]
    parallelism: Option<u32>,
    /// How often a pod that fails is tried again [default: 0]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=i64::from(RETRIES_MAX)))]
    retries: Option<u32>,
    /// End it after so long: 90, 90s, 15m, 2h [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = duration::parse_secs)]
    timeout: Option<u32>,
    /// Wait for its end
    #[arg(long)]
    wait: bool,
    /// The size of the pods: standard-2x (see app ps:type)
    #[arg(short, long, value_parser = scale::parse_size)]
    size: Option<SizeName>,
    /// Set a variable for these pods only; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    env: Vec<(ConfigName, Secret)>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Command {
    /// Runs it and gives the exit code: that of the run where it is waited for.
    pub(crate) async fn run(self, session: &Session) -> Result<u8, Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await.map(|()| 0),
            Self::Info(args) => info(&args, session).await.map(|()| 0),
            Self::Start(args) => start(&args, session).await,
            Self::Suspend(args) => suspend(&args.job, true, session).await.map(|()| 0),
            Self::Resume(args) => suspend(&args.job, false, session).await.map(|()| 0),
            Self::Run(args) => run(args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let jobs = client.jobs(&app).await?;
    if jobs.is_empty() {
        session.output.talk(format!(
            "{app} has no jobs. Add \"cron\" to its app.json and push it."
        ));
    }
    session.output.data(&jobs, |jobs| describe(jobs))
}

fn describe(jobs: &[Job]) -> String {
    let rows = jobs.iter().map(|job| {
        let last = job.last_run.as_ref();
        [
            job.name.to_string(),
            schedule(job),
            next(job),
            last.map(runs::state).unwrap_or_default(),
            last.map(|run| time(run.created_at)).unwrap_or_default(),
            job.command.clone(),
        ]
    });
    table(
        ["NAME", "SCHEDULE", "NEXT", "LAST", "BEGAN", "COMMAND"],
        rows,
    )
}

fn schedule(job: &Job) -> String {
    match job.time_zone.as_str() {
        "UTC" => job.schedule.clone(),
        zone => format!("{} {zone}", job.schedule),
    }
}

fn next(job: &Job) -> String {
    match job.next_run_at {
        _ if job.suspended => "suspended".into(),
        Some(at) => time(at),
        None => "never".into(),
    }
}

async fn info(args: &JobArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let job = client.job(&app, args.job.as_str()).await?;
    session.output.data(&job, |job| {
        let last = job.last_run.as_ref();
        pairs([
            ("Name", job.name.to_string()),
            ("Command", job.command.clone()),
            ("Schedule", format!("{} {}", job.schedule, job.time_zone)),
            ("Next", next(job)),
            ("Size", job.size.to_string()),
            ("Concurrency", concurrency(job.concurrency).into()),
            ("Missed", missed(job.missed).into()),
            ("Retries", job.retries.to_string()),
            ("Timeout", duration::show(job.timeout)),
            (
                "Last run",
                last.map_or_else(|| "none".into(), runs::one_line),
            ),
        ])
    })
}

fn concurrency(rule: Concurrency) -> &'static str {
    match rule {
        Concurrency::Allow => "allow: runs may overlap",
        Concurrency::Forbid => "forbid: a time is skipped while the run before goes on",
        Concurrency::Replace => "replace: a new run ends the one before",
    }
}

fn missed(rule: Missed) -> &'static str {
    match rule {
        Missed::RunOnce => "run-once: one run for all times that were missed",
        Missed::Skip => "skip",
    }
}

async fn start(args: &StartArgs, session: &Session) -> Result<u8, Failure> {
    let (client, app) = session.app()?;
    let run = client.start_job(&app, args.job.as_str()).await?;
    runs::follow(&client, &app, run, args.wait, session).await
}

async fn suspend(job: &JobName, suspended: bool, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let patch = JobPatch { suspended };
    let job = client.update_job(&app, job.as_str(), &patch).await?;
    session.output.talk(if suspended {
        format!("{} of {app} does not run by schedule any more.", job.name)
    } else {
        format!("{} of {app} runs next at {}.", job.name, next(&job))
    });
    session.output.answer(&job)
}

async fn run(args: RunArgs, session: &Session) -> Result<u8, Failure> {
    refuse_misplaced(&args.command)?;
    let new = NewRun {
        command: command_line(&args.command)?,
        name: args.name,
        env: args.env.into_iter().collect(),
        size: args.size,
        completions: args.completions,
        parallelism: args.parallelism,
        retries: args.retries,
        timeout: args.timeout,
    };
    let (client, app) = session.app()?;
    let run = client.start_run(&app, &new).await?;
    runs::follow(&client, &app, run, args.wait, session).await
}
