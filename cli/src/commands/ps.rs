//! `ps`, `ps:scale`, `ps:type`, `ps:restart`, `ps:stop`.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use fairway_api::{
    client::Client,
    dynos::{Dyno, DynoContainer, DynoState},
    formation::{Formation, FormationBatch, FormationUpdate},
    names::AppName,
    sizes::Size,
};

use crate::{
    failure::Failure,
    output::table,
    scale::{self, ScaleError},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "ps", visible_alias = "ps:list")]
    List(ListArgs),
    #[command(name = "ps:scale", visible_alias = "scale")]
    Scale(ScaleArgs),
    #[command(name = "ps:type", visible_alias = "ps:resize")]
    Type(TypeArgs),
    #[command(name = "ps:restart", visible_alias = "restart")]
    Restart(RestartArgs),
    #[command(name = "ps:stop", visible_alias = "stop", alias = "ps:kill")]
    Stop(StopArgs),
}

/// List the app's processes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app ps
  app ps --json | jq -r '.[] | select(.state == \"crashed\").name'")]
pub(crate) struct ListArgs {}

/// Set how many processes run, and how large they are
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app ps:scale                     # show
  app ps:scale web=3
  app ps:scale web+1 worker=0
  app ps:scale web=2 worker=1:standard-2x
All changes of one command take effect together or none does. Scaling restarts nothing that stays.")]
pub(crate) struct ScaleArgs {
    /// TYPE=COUNT, TYPE=COUNT:SIZE, TYPE+COUNT or TYPE-COUNT
    #[arg(value_name = "CHANGE")]
    changes: Vec<String>,
}

/// Set the size of processes, or list the sizes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app ps:type                      # the sizes there are
  app ps:type web=standard-2x
  app ps:type standard-2x          # every process type")]
pub(crate) struct TypeArgs {
    /// TYPE=SIZE, or one SIZE for all
    #[arg(value_name = "CHANGE")]
    changes: Vec<String>,
}

/// Replace processes by fresh ones
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app ps:restart                   # all of them
  app ps:restart web               # a process type
  app ps:restart web.1             # one process")]
pub(crate) struct RestartArgs {
    /// A process or process type; without it all
    process: Option<String>,
}

/// Stop a one-off process, or replace one of the formation
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app ps:stop run.4821
  app ps:stop web.1                # a fresh web.1 takes its place; to have fewer: app ps:scale web-1")]
pub(crate) struct StopArgs {
    /// The process, as `app ps` names it
    process: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Scale(args) if args.changes.is_empty() => show_formation(session).await,
            Self::Scale(args) => change(&args.changes, session).await,
            Self::Type(args) if args.changes.is_empty() => show_sizes(session).await,
            Self::Type(args) => resize(&args.changes, session).await,
            Self::Restart(args) => restart(args, session).await,
            Self::Stop(args) => stop(&args, session).await,
        }
    }
}

impl From<ScaleError> for Failure {
    fn from(error: ScaleError) -> Self {
        let failure = Self::usage(error.to_string());
        match error {
            ScaleError::Shape(_) | ScaleError::Count(_) => {
                failure.with_hint("app help ps:scale shows examples.")
            }
            ScaleError::TypeShape(_) | ScaleError::Name(_) => {
                failure.with_hint("app ps:type lists the sizes.")
            }
            ScaleError::Twice(_) => failure,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let dynos = client.dynos(&app).await?;
    if dynos.is_empty() {
        session.output.talk(format!(
            "{app} has no processes. After the first push: app ps:scale web=1"
        ));
    }
    let now = Utc::now();
    session.output.data(&dynos, |dynos| describe(dynos, now))
}

fn describe(dynos: &[Dyno], now: DateTime<Utc>) -> String {
    let pod = |dyno: &Dyno| {
        [
            dyno.name.clone(),
            state(dyno, now),
            format!(
                "v{}{}",
                dyno.release.version,
                if dyno.superseded { " (old)" } else { "" }
            ),
            dyno.size.to_string(),
            dyno.restarts.to_string(),
            dyno.node
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            dyno.command.clone(),
        ]
    };
    let rows = dynos.iter().flat_map(|dyno| {
        let containers = dyno.containers.iter().map(|it| container(dyno, it));
        std::iter::once(pod(dyno)).chain(containers)
    });
    let mut text = table(
        [
            "NAME", "STATE", "RELEASE", "SIZE", "RESTARTS", "NODE", "COMMAND",
        ],
        rows,
    );
    for dyno in dynos {
        if let Some(reason) = &dyno.reason {
            text.push_str(&format!("{}: {}\n", dyno.name, reason.trim_end()));
        }
    }
    text
}

/// One container of a pod that has several, by the name that `app logs -p` takes.
fn container(dyno: &Dyno, container: &DynoContainer) -> [String; 7] {
    let none = String::new;
    let what = match &container.image {
        Some(image) => format!("{} ({image})", container.command),
        None => container.command.clone(),
    };
    [
        format!("  {}/{}", dyno.name, container.name),
        container.state.to_string(),
        none(),
        none(),
        container.restarts.to_string(),
        none(),
        what.trim().to_owned(),
    ]
}

fn state(dyno: &Dyno, now: DateTime<Utc>) -> String {
    let word = match (dyno.state, dyno.exit_code) {
        (DynoState::Down, Some(code)) => return format!("exited {code}"),
        (DynoState::Starting, _) => "starting",
        (DynoState::Up, _) => "up",
        (DynoState::Crashed, _) => "crashed",
        (DynoState::Down, None) => "down",
        (DynoState::Stopping, _) => "stopping",
    };
    format!("{word} {}", age((now - dyno.updated_at).num_seconds()))
}

/// For how long, in the one unit that tells most.
fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{}s", seconds.max(0)),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        86_400.. => format!("{}d", seconds / 86_400),
    }
}

async fn show_formation(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let formation = client.formation(&app).await?;
    if formation.is_empty() {
        session
            .output
            .talk(format!("{app} has no process types yet; push it first."));
    }
    session
        .output
        .data(&formation, |formation| one_line(formation))
}

/// What `ps:scale` takes back as its arguments.
fn one_line(formation: &[Formation]) -> String {
    formation
        .iter()
        .map(|row| format!("{}={}:{}", row.process_type, row.quantity, row.size))
        .collect::<Vec<_>>()
        .join(" ")
}

async fn change(changes: &[String], session: &Session) -> Result<(), Failure> {
    let updates = scale::all(changes, scale::parse_scale)?;
    let (client, app) = session.app()?;
    apply(&client, &app, updates, session).await
}

async fn resize(changes: &[String], session: &Session) -> Result<(), Failure> {
    if let [size] = changes
        && !size.contains('=')
    {
        let size = scale::parse_size(size)?;
        let (client, app) = session.app()?;
        let present = client.formation(&app).await?.into_iter();
        let updates = present.map(|row| FormationUpdate {
            process_type: row.process_type,
            quantity: None,
            size: Some(size.clone()),
        });
        return apply(&client, &app, updates.collect(), session).await;
    }
    let updates = scale::all(changes, scale::parse_type)?;
    let (client, app) = session.app()?;
    apply(&client, &app, updates, session).await
}

async fn apply(
    client: &Client,
    app: &AppName,
    updates: Vec<FormationUpdate>,
    session: &Session,
) -> Result<(), Failure> {
    let formation = client.scale(app, &FormationBatch { updates }).await?;
    session
        .output
        .talk(format!("Scaled {app}. Watch it: app ps -a {app}"));
    session
        .output
        .data(&formation, |formation| one_line(formation))
}

async fn show_sizes(session: &Session) -> Result<(), Failure> {
    const MIB: u64 = 1024 * 1024;
    let sizes = session.client()?.sizes().await?;
    session.output.data(&sizes, |sizes: &Vec<Size>| {
        let rows = sizes.iter().map(|size| {
            [
                size.name.to_string(),
                format!("{} MiB", size.resources.memory_bytes / MIB),
                format!(
                    "{}.{:02}",
                    size.resources.cpu_millis / 1_000,
                    size.resources.cpu_millis % 1_000 / 10
                ),
                size.resources.pids.to_string(),
            ]
        });
        table(["SIZE", "MEMORY", "CPU CORES", "PROCESSES"], rows)
    })
}

async fn restart(args: RestartArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    client.restart(&app, args.process.as_deref()).await?;
    let what = args.process.unwrap_or_else(|| "all processes".into());
    session.output.talk(format!("Restarting {what} of {app}."));
    session.output.nothing()
}

async fn stop(args: &StopArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    client.stop_dyno(&app, &args.process).await?;
    session
        .output
        .talk(format!("Stopping {} of {app}.", args.process));
    session.output.nothing()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_stand_below_their_process() {
        let id = "00000000-0000-7000-8000-000000000001";
        let at = "2026-11-21T21:30:43Z";
        let container = |name: &str, state: &str, image: Option<&str>| {
            json!({ "name": name, "state": state, "reason": null, "restarts": 1,
                    "command": "serve", "image": image })
        };
        let dyno: Dyno = serde_json::from_value(json!({
            "id": id, "app": { "id": id, "name": "shop" }, "name": "web.1", "type": "web",
            "command": "serve", "size": "nano", "state": "up",
            "release": { "id": id, "version": 7 }, "attach_url": null, "reason": null,
            "restarts": 1, "exit_code": null, "superseded": false, "node": "one",
            "containers": [container("main", "up", None),
                           container("proxy", "crashed", Some("nginx:1.27"))],
            "created_at": at, "updated_at": at,
        }))
        .unwrap();
        let text = describe(&[dyno], at.parse().unwrap());
        let words: Vec<Vec<&str>> = text
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(words[0][..3], ["web.1", "up", "0s"]);
        assert_eq!(words[1], ["web.1/main", "up", "1", "serve"]);
        assert_eq!(
            words[2],
            ["web.1/proxy", "crashed", "1", "serve", "(nginx:1.27)"]
        );
    }
}
