//! `builds`, `builds:info`, `builds:output`, `builds:cancel`.

use clap::{Args, Subcommand};
use fairway_api::{
    builds::{Build, BuildPhase},
    client::Client,
    names::AppName,
};
use futures_util::TryStreamExt;

use crate::{
    failure::Failure,
    output::{pairs, table, time},
    session::{Session, stream_url},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "builds", visible_alias = "builds:list")]
    List(ListArgs),
    #[command(name = "builds:info")]
    Info(InfoArgs),
    #[command(name = "builds:output")]
    Output(OutputArgs),
    #[command(name = "builds:cancel")]
    Cancel(CancelArgs),
}

/// List the app's builds, newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app builds
  app builds --json | jq -r '.[0].failure'")]
pub(crate) struct ListArgs {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 15)]
    num: usize,
}

/// Show a build
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app builds:info                  # the newest
  app builds:info 0193a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b")]
pub(crate) struct InfoArgs {
    /// Its id, the start of it, or `current`
    #[arg(default_value = "current")]
    build: String,
}

/// Show a build's output, and follow it while it runs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app builds:output                # the newest, for example after a lost connection
  app builds:output 0193a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b
The exit code is 1 if the build failed.")]
pub(crate) struct OutputArgs {
    /// Its id, the start of it, or `current`
    #[arg(default_value = "current")]
    build: String,
}

/// Cancel a build that has not ended
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app builds:cancel
  app builds:cancel 0193a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b")]
pub(crate) struct CancelArgs {
    /// Its id, the start of it, or `current`
    #[arg(default_value = "current")]
    build: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(args) => list(&args, session).await,
            Self::Info(args) => info(&args, session).await,
            Self::Output(args) => output(&args, session).await,
            Self::Cancel(args) => cancel(&args, session).await,
        }
    }
}

async fn list(args: &ListArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let mut builds = client.builds(&app).await?;
    builds.truncate(args.num);
    if builds.is_empty() {
        session.output.talk(format!(
            "{app} was never built. Deploy: git push fairway main"
        ));
    }
    session.output.data(&builds, |builds| {
        let rows = builds.iter().map(|build| {
            [
                build.id.to_string(),
                phase(build.phase).to_owned(),
                commit(build),
                build.user.email.to_string(),
                time(build.created_at),
            ]
        });
        table(["ID", "STATUS", "COMMIT", "BY", "AT"], rows)
    })
}

fn phase(phase: BuildPhase) -> &'static str {
    match phase {
        BuildPhase::Queued => "queued",
        BuildPhase::Running => "running",
        BuildPhase::Succeeded => "succeeded",
        BuildPhase::Failed => "failed",
        BuildPhase::Cancelled => "cancelled",
    }
}

/// The short commit and what its message says.
fn commit(build: &Build) -> String {
    let id: String = build
        .source_blob
        .version
        .iter()
        .flat_map(|id| id.chars().take(8))
        .collect();
    let summary = build
        .source_blob
        .version_description
        .as_deref()
        .unwrap_or_default();
    format!("{id} {summary}").trim().to_owned()
}

async fn info(args: &InfoArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let build = find(&client, &app, &args.build).await?;
    session.output.data(&build, describe)
}

fn describe(build: &Build) -> String {
    let mut rows = vec![
        ("Build", build.id.to_string()),
        ("Status", phase(build.phase).to_owned()),
        ("Commit", commit(build)),
        ("Source", build.source_blob.url.clone()),
        ("By", build.user.email.to_string()),
        ("Started", time(build.created_at)),
    ];
    rows.extend(
        build
            .phase
            .ended()
            .then(|| ("Ended", time(build.updated_at))),
    );
    rows.extend(build.failure.clone().map(|why| ("Failure", why)));
    let packs: Vec<&str> = build
        .buildpacks
        .iter()
        .flatten()
        .map(|pack| pack.name.as_str())
        .collect();
    rows.extend((!packs.is_empty()).then(|| ("Buildpacks", packs.join(", "))));
    rows.extend(
        build
            .release
            .as_ref()
            .map(|release| ("Release", release.id.to_string())),
    );
    pairs(rows)
}

/// The build that a user means. An id names it by itself; its start only if no other has the same.
async fn find(client: &Client, app: &AppName, wanted: &str) -> Result<Build, Failure> {
    if let Ok(id) = wanted.parse() {
        return Ok(client.build(app, id).await?);
    }
    let builds = client.builds(app).await?;
    let current = wanted == "current";
    let wanted = wanted.to_ascii_lowercase();
    let mut matching = builds
        .into_iter()
        .filter(|build| current || build.id.to_string().starts_with(&wanted));
    match (matching.next(), matching.next()) {
        (Some(build), None) => Ok(build),
        (Some(newest), Some(_)) if current => Ok(newest),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "several builds of {app} start with {wanted}"
        ))),
        (None, _) if current => Err(Failure::not_found(format!("{app} was never built"))
            .with_hint("Deploy: git push fairway main")),
        (None, _) => Err(Failure::not_found(format!("{app} has no build {wanted}"))
            .with_hint(format!("app builds -a {app} lists them."))),
    }
}

async fn output(args: &OutputArgs, session: &Session) -> Result<(), Failure> {
    session.refuse_json("prints what the build printed", "builds:info has JSON")?;
    let (client, app) = session.app()?;
    let build = find(&client, &app, &args.build).await?;
    let mut stream = client
        .stream(&stream_url(&build.output_stream_url)?)
        .await?;
    while let Some(piece) = stream.try_next().await? {
        session.output.raw(&piece)?;
    }
    let build = client.build(&app, build.id).await?;
    match build.phase {
        BuildPhase::Failed => {
            let why = build
                .failure
                .unwrap_or_else(|| "its output says why".into());
            Err(Failure::failed(format!("the build failed: {why}")))
        }
        BuildPhase::Cancelled => Err(Failure::failed("the build was cancelled")),
        BuildPhase::Queued | BuildPhase::Running => {
            Err(Failure::failed("the output ended before the build did")
                .with_hint(format!("Go on: app builds:output {} -a {app}", build.id)))
        }
        BuildPhase::Succeeded => Ok(()),
    }
}

async fn cancel(args: &CancelArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let build = find(&client, &app, &args.build).await?;
    if build.phase.ended() {
        return Err(Failure::failed(format!(
            "build {} has ended already: {}",
            build.id,
            phase(build.phase)
        )));
    }
    let build = client.cancel_build(&app, build.id).await?;
    session
        .output
        .talk(format!("Cancelling build {} of {app}.", build.id));
    session.output.answer(&build)
}
