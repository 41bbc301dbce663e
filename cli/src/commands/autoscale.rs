//! `autoscale`, `autoscale:set`, `autoscale:off`: counts that follow what is measured.

mod wishes;

use clap::{Args, Subcommand};
use fairway_api::{
    autoscale::{Autoscale, Autoscaling, DOWN_AFTER_SECS_DEFAULT},
    names::{AppName, ConfigName, ProcessType},
};

use self::wishes::{
    OneWindow, QueueChange, QueueUrl, Target, header, millis, number, percent, queue_url, window,
};
use crate::{failure::Failure, output::table, session::Session, span::Span};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "autoscale", visible_alias = "autoscale:list")]
    List(ListArgs),
    #[command(name = "autoscale:set", visible_alias = "autoscale:enable")]
    Set(Box<SetArgs>),
    #[command(name = "autoscale:off", visible_alias = "autoscale:disable")]
    Off(OffArgs),
}

/// Show what is autoscaled, and why the counts are what they are
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app autoscale
  app autoscale --json | jq '.[0].last.reason'")]
pub(crate) struct ListArgs {}

/// Let the count of a process type follow what is measured
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app autoscale:set web --min 2 --max 10 --cpu 70
  app autoscale:set web --max 20 --concurrency 20 --p95 300ms
  app autoscale:set web --min 0 --max 1          # asleep without requests, woken by the next
  app autoscale:set web --cpu off                # take a target out again
  app autoscale:set web --window 'mon-fri 08:00-18:00 Europe/Berlin 3-10'
  app autoscale:set worker --min 0 --max 8 --queue http://web.a.internal:8080/jobs --queue-target 20
Targets are means per process; the one that asks for most wins. What is not named stays as it is.")]
pub(crate) struct SetArgs {
    /// The process type
    #[arg(value_name = "TYPE")]
    process_type: ProcessType,
    /// The fewest processes; 0 lets web sleep (first: 1)
    #[arg(long, value_name = "COUNT")]
    min: Option<u32>,
    /// The most processes
    #[arg(long, value_name = "COUNT")]
    max: Option<u32>,
    /// CPU, in percent of what the size has
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    cpu: Option<Target>,
    /// Memory, in percent of what the size has
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    memory: Option<Target>,
    /// Requests per second
    #[arg(long, value_name = "COUNT", value_parser = number)]
    rps: Option<Target>,
    /// Latency that 95 % of requests stay below: 300ms, 2s
    #[arg(long, value_name = "TIME", value_parser = millis)]
    p95: Option<Target>,
    /// Requests open at a time
    #[arg(long, value_name = "COUNT", value_parser = number)]
    concurrency: Option<Target>,
    /// Where the length of a queue is read: a name of the app's own, or a public address; or off
    #[arg(long, value_name = "URL", value_parser = queue_url)]
    queue: Option<QueueUrl>,
    /// Waiting jobs per process
    #[arg(long, value_name = "COUNT")]
    queue_target: Option<u32>,
    /// Where in the answer the number is: /json/pointer or a metric's name (first: it is the answer)
    #[arg(long, value_name = "PLACE")]
    queue_value: Option<String>,
    /// A header of the request, with the config var that holds its value; several times for several
    #[arg(long, value_name = "HEADER=CONFIG_VAR", value_parser = header)]
    queue_header: Vec<(String, ConfigName)>,
    /// Other bounds at times: DAYS FROM-TO ZONE MIN-MAX, or off; several times for several
    #[arg(long, value_name = "WINDOW", value_parser = window)]
    window: Vec<OneWindow>,
    /// How long fewer must have been enough before some end: 90s, 5m, 1h
    #[arg(long, value_name = "TIME")]
    down_after: Option<Span>,
}

/// Keep the count of a process type as it is now
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app autoscale:off web
  app ps:scale web=3               # from then on it is yours again")]
pub(crate) struct OffArgs {
    /// The process type
    #[arg(value_name = "TYPE")]
    process_type: ProcessType,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Set(args) => set(&args, session).await,
            Self::Off(args) => off(&args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let all = client.autoscaling(&app).await?;
    if all.is_empty() {
        session.output.talk(format!(
            "Nothing of {app} is autoscaled. For example: app autoscale:set web --min 1 --max 5 \
             --cpu 70"
        ));
    }
    session.output.data(&all, |all| describe(all))
}

fn describe(all: &[Autoscaling]) -> String {
    let rows = all.iter().map(|row| {
        let policy = &row.policy;
        [
            row.process_type.to_string(),
            row.quantity.to_string(),
            format!("{} to {}", policy.min, policy.max),
            targets(policy),
            format!("{} s", policy.down_after_secs),
        ]
    });
    let mut text = table(["TYPE", "NOW", "BOUNDS", "TARGETS", "DOWN AFTER"], rows);
    for row in all {
        for window in &row.policy.windows {
            let within = row.policy.within(Some(window));
            text.push_str(&format!(
                "{}: {} to {} {window}\n",
                row.process_type, within.min, within.max
            ));
        }
        if let Some(last) = &row.last {
            text.push_str(&format!("{}: {}\n", row.process_type, last.reason));
        }
    }
    text
}

fn targets(policy: &Autoscale) -> String {
    let named = [
        (policy.cpu, "% CPU"),
        (policy.memory, "% memory"),
        (policy.rps, " requests/s"),
        (policy.p95_ms, " ms p95"),
        (policy.concurrency, " open requests"),
    ];
    let named = named
        .iter()
        .filter_map(|(value, unit)| Some(format!("{}{unit}", (*value)?)));
    let queue = policy.queue.as_ref();
    let queue = queue.map(|queue| format!("{} waiting jobs", queue.target));
    named.chain(queue).collect::<Vec<_>>().join(", ")
}

async fn set(args: &SetArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let known = client.autoscaling(&app).await?.into_iter();
    let known = known.map(|row| (row.process_type, row.policy));
    let mut known = known.filter(|(process_type, _)| *process_type == args.process_type);
    let policy = merged(args, known.next().map(|(_, policy)| policy), &app)?;
    let row = client
        .set_autoscaling(&app, &args.process_type, &policy)
        .await?;
    session.output.talk(format!(
        "{} of {app} is autoscaled between {} and {}. Watch it: app autoscale -a {app}",
        row.process_type, row.policy.min, row.policy.max
    ));
    session.output.answer(&row)
}

/// What is asked for now: what is named, and for the rest what there was.
fn merged(args: &SetArgs, before: Option<Autoscale>, app: &AppName) -> Result<Autoscale, Failure> {
    let max = args.max.or(before.as_ref().map(|it| it.max));
    let Some(max) = max else {
        return Err(Failure::usage(format!(
            "{} of {app} is not autoscaled yet: say how many there may be at most",
            args.process_type
        ))
        .with_hint(format!(
            "app autoscale:set {} --min 1 --max 5 --cpu 70",
            args.process_type
        )));
    };
    let before = before.unwrap_or(Autoscale {
        min: 1,
        max,
        cpu: None,
        memory: None,
        rps: None,
        p95_ms: None,
        concurrency: None,
        queue: None,
        windows: vec![],
        down_after_secs: DOWN_AFTER_SECS_DEFAULT,
    });
    // What is too long for the number is too long for the API too, which says so.
    let down_after = (args.down_after).map(|it| u32::try_from(it.0.as_secs()).unwrap_or(u32::MAX));
    let target = |new: Option<Target>, old: Option<u32>| new.map_or(old, |new| new.0);
    let change = QueueChange {
        url: args.queue.clone(),
        target: args.queue_target,
        value: args.queue_value.clone(),
        headers: args.queue_header.clone(),
    };
    let windows = match args.window.is_empty() {
        true => before.windows,
        // `off` among others takes the old ones out, and so does naming any.
        false => args.window.iter().filter_map(|it| it.0.clone()).collect(),
    };
    Ok(Autoscale {
        queue: change.merged(before.queue).map_err(Failure::usage)?,
        windows,
        min: args.min.unwrap_or(before.min),
        max,
        cpu: target(args.cpu, before.cpu),
        memory: target(args.memory, before.memory),
        rps: target(args.rps, before.rps),
        p95_ms: target(args.p95, before.p95_ms),
        concurrency: target(args.concurrency, before.concurrency),
        down_after_secs: down_after.unwrap_or(before.down_after_secs),
    })
}

async fn off(args: &OffArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let row = client.end_autoscaling(&app, &args.process_type).await?;
    session.output.talk(format!(
        "{} of {app} is no longer autoscaled and stays at {}.",
        row.process_type, row.quantity
    ));
    session.output.answer(&row)
}
