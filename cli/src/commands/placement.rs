//! `placement`, `placement:set`, `placement:unset`: where pods may run.

use std::str::FromStr;

use clap::{Args, Subcommand};
use fairway_api::{
    names::{Architecture, LabelValue, ProcessType},
    placement::{
        Domain, Expression, Neighbour, NodeKind, Placement, PlacementSource, Priority, Spread,
        Strictness, Toleration, TypePlacement,
    },
};

use crate::{failure::Failure, output::table, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "placement", visible_alias = "placement:list")]
    List(ListArgs),
    #[command(name = "placement:set")]
    Set(Box<SetArgs>),
    #[command(name = "placement:unset")]
    Unset(UnsetArgs),
}

/// Show where the app's processes may run, and who says so
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app placement
  app placement --json | jq '.[] | select(.nowhere)'")]
pub(crate) struct ListArgs {}

/// Say where processes of a type may run, in place of all that app.json says of it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app placement:set web --require disk=ssd --prefer 'cores>8'
  app placement:set web --spread zone:hard --apart web:node
  app placement:set worker --pool batch --tolerate dedicated=batch --priority low
  app placement:set api --near cache:zone --apart other-app/api:node:hard
  app placement:set job --require '!spot'        # pods of jobs
  app placement:set one-off --kind bare-metal    # app run
Processes that run stay where they are; new ones follow. What is not named is not asked.")]
pub(crate) struct SetArgs {
    /// The process type; `job` for jobs, `one-off` for `app run`
    #[arg(value_name = "TYPE")]
    process_type: ProcessType,
    /// A label that a machine must have: KEY=VALUE, KEY, !KEY, 'KEY in (A, B)', 'KEY>NUMBER'
    #[arg(long, value_name = "LABEL")]
    require: Vec<Expression>,
    /// A label that a machine had better have
    #[arg(long, value_name = "LABEL")]
    prefer: Vec<Expression>,
    /// The pool of a machine
    #[arg(long, value_name = "POOL")]
    pool: Option<LabelValue>,
    /// What a machine is: vm or bare-metal
    #[arg(long, value_name = "KIND", value_parser = word::<NodeKind>)]
    kind: Option<NodeKind>,
    /// x86_64 (amd64), aarch64 (arm64) ...
    #[arg(long, value_name = "ARCHITECTURE")]
    architecture: Option<Architecture>,
    /// Spread evenly: DOMAIN[:SKEW][:hard], where DOMAIN is zone or node
    #[arg(long, value_name = "SPREAD", value_parser = spread)]
    spread: Vec<Spread>,
    /// Close to pods of a type: [APP/]TYPE:DOMAIN[:hard]
    #[arg(long, value_name = "PODS", value_parser = neighbour)]
    near: Vec<Neighbour>,
    /// Away from pods of a type, its own perhaps: [APP/]TYPE:DOMAIN[:hard]
    #[arg(long, value_name = "PODS", value_parser = neighbour)]
    apart: Vec<Neighbour>,
    /// A taint to bear: KEY[=VALUE][:EFFECT], or *
    #[arg(long, value_name = "TAINT")]
    tolerate: Vec<Toleration>,
    /// Who goes first: low, normal, high, critical
    #[arg(long, value_name = "PRIORITY", value_parser = word::<Priority>)]
    priority: Option<Priority>,
    /// How many may be missing because the platform moves them
    #[arg(long, value_name = "COUNT")]
    max_unavailable: Option<u32>,
}

/// Leave it to app.json again where processes of a type may run
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app placement:unset web")]
pub(crate) struct UnsetArgs {
    /// The process type
    #[arg(value_name = "TYPE")]
    process_type: ProcessType,
}

/// A word as the API has it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = serde_json::Value::String(text.to_ascii_lowercase());
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn spread(text: &str) -> Result<Spread, String> {
    let mut parts = text.split(':');
    let by = word::<Domain>(parts.next().unwrap_or_default())
        .map_err(|_| "write zone or node, perhaps with :SKEW and :hard".to_owned())?;
    let mut spread = Spread {
        by,
        max_skew: 1,
        mode: Strictness::Soft,
    };
    for part in parts {
        match (part, part.parse()) {
            (_, Ok(skew)) => spread.max_skew = skew,
            (mode, _) => spread.mode = word(mode).map_err(|_| "write :hard or :SKEW".to_owned())?,
        }
    }
    Ok(spread)
}

fn neighbour(text: &str) -> Result<Neighbour, String> {
    let form = || "write [APP/]TYPE:DOMAIN, where DOMAIN is zone or node".to_owned();
    let mut parts = text.split(':');
    let of = parts.next().unwrap_or_default();
    let (app, process_type) = match of.split_once('/') {
        Some((app, process_type)) => (Some(parse(app)?), process_type),
        None => (None, of),
    };
    let by = word(parts.next().ok_or_else(form)?).map_err(|_| form())?;
    let mode = match parts.next() {
        Some(mode) => word(mode).map_err(|_| "write :hard or nothing after it".to_owned())?,
        None => Strictness::Soft,
    };
    if parts.next().is_some() {
        return Err(form());
    }
    Ok(Neighbour {
        app,
        process_type: parse(process_type)?,
        by,
        mode,
    })
}

fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Set(args) => set(*args, session).await,
            Self::Unset(args) => unset(&args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let all = client.placements(&app).await?;
    session.output.data(&all, |all| {
        let rows = all.iter().map(|row| {
            [
                row.process_type.to_string(),
                row.placement.to_string(),
                source(row.source).to_owned(),
                note(row).unwrap_or_default(),
            ]
        });
        table(["TYPE", "WHERE", "SAID BY", "NOTE"], rows)
    })
}

fn source(source: PlacementSource) -> &'static str {
    match source {
        PlacementSource::App => "placement:set",
        PlacementSource::Release => "app.json",
        PlacementSource::Default => "-",
    }
}

fn note(row: &TypePlacement) -> Option<String> {
    let why = row.nowhere.as_ref()?;
    Some(format!("no machine is such: {}", why.replace('\n', "; ")))
}

async fn set(args: SetArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let process_type = args.process_type;
    let placement = Placement {
        require: args.require,
        prefer: args.prefer,
        pool: args.pool,
        kind: args.kind,
        architecture: args.architecture,
        spread: args.spread,
        near: args.near,
        apart: args.apart,
        tolerate: args.tolerate,
        priority: args.priority.unwrap_or_default(),
        max_unavailable: args.max_unavailable,
    };
    let set = client
        .set_placement(&app, &process_type, &placement)
        .await?;
    let talk = |text: String| session.output.talk(text);
    talk(format!(
        "New processes of {process_type}: {}.",
        set.placement
    ));
    if let Some(note) = note(&set) {
        talk(format!("Warning: {note}"));
    }
    session.output.answer(&set)
}

async fn unset(args: &UnsetArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let left = client.unset_placement(&app, &args.process_type).await?;
    session.output.talk(format!(
        "New processes of {}: {}, as app.json says.",
        args.process_type, left.placement
    ));
    session.output.answer(&left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_shown() {
        for (text, shown) in [
            ("zone", "by zone"),
            ("node:hard", "by node (hard)"),
            ("zone:2:hard", "by zone within 2 (hard)"),
        ] {
            assert_eq!(spread(text).unwrap().to_string(), shown);
        }
        for (text, shown) in [
            ("cache:zone", "cache by zone"),
            ("shop/web:node:hard", "shop/web by node"),
        ] {
            let read = neighbour(text).unwrap();
            assert_eq!(read.to_string(), shown);
            assert_eq!(read.mode == Strictness::Hard, text.ends_with("hard"));
        }
        for wrong in ["rack", "zone:soft:x", ""] {
            assert!(spread(wrong).is_err(), "{wrong}");
        }
        for wrong in ["web", "web:rack", "a b:zone", "web:node:hard:x", ":node"] {
            assert!(neighbour(wrong).is_err(), "{wrong}");
        }
        assert!(word::<Priority>("urgent").is_err());
        assert_eq!(word::<NodeKind>("bare-metal"), Ok(NodeKind::BareMetal));
    }
}
