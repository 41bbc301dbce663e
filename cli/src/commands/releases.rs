//! `releases`, `releases:info`, `rollback`.

use std::time::Duration;

use clap::{Args, Subcommand};
use fairway_api::{
    client::Client,
    names::AppName,
    releases::{Release, ReleaseStatus, Rollback},
};

use crate::{
    failure::Failure,
    output::{pairs, table, time},
    session::Session,
};

/// How often a release that is on its way is looked at.
const RELEASE_LOOK_INTERVAL: Duration = Duration::from_millis(300);
/// How long `rollback` waits for the new release. The server ends a deployment long before that;
/// this only keeps a broken server from holding the command for ever.
const RELEASE_WAIT_SECS_MAX: u64 = 30 * 60;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "releases", visible_alias = "releases:list")]
    List(ListArgs),
    #[command(name = "releases:info")]
    Info(InfoArgs),
    #[command(name = "rollback", visible_alias = "releases:rollback")]
    Rollback(RollbackArgs),
}

/// List the app's releases, newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app releases
  app releases -n 5
The images of the newest releases are kept; a release is expired when its image is not, and no
rollback goes to it.")]
pub(crate) struct ListArgs {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 15)]
    num: usize,
}

/// Show a release
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app releases:info                # the current one
  app releases:info v7")]
pub(crate) struct InfoArgs {
    /// v7, 7 or an id; without it the current one
    release: Option<String>,
}

/// Go back to an earlier release: its image, config and process types
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app rollback                     # to the last good release before the current one
  app rollback v7
A rollback is a new release with a new number; nothing is lost. It waits until the release runs.")]
pub(crate) struct RollbackArgs {
    /// v7, 7 or an id
    release: Option<String>,
    /// Do not wait until the release runs
    #[arg(long)]
    no_wait: bool,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(args) => list(&args, session).await,
            Self::Info(args) => info(args, session).await,
            Self::Rollback(args) => rollback(args, session).await,
        }
    }
}

async fn list(args: &ListArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let mut releases = client.releases(&app).await?;
    let all = releases.len();
    releases.truncate(args.num);
    if all == 0 {
        session.output.talk(format!(
            "{app} has no releases yet. Deploy: git push fairway main"
        ));
    } else if all > releases.len() {
        session.output.talk(format!(
            "The newest {} of {all}; -n {all} shows all.",
            releases.len()
        ));
    }
    session.output.data(&releases, |releases| {
        let rows = releases.iter().map(|release| {
            [
                format!("v{}", release.version),
                status(release).to_owned(),
                release.description.clone(),
                release.user.email.to_string(),
                time(release.created_at),
            ]
        });
        table(["VERSION", "STATUS", "DESCRIPTION", "BY", "AT"], rows)
    })
}

fn status(release: &Release) -> &'static str {
    match release.status {
        ReleaseStatus::Succeeded if release.current => "current",
        ReleaseStatus::Succeeded if release.image.is_some() && !release.eligible_for_rollback => {
            "expired"
        }
        ReleaseStatus::Succeeded => "succeeded",
        ReleaseStatus::Pending => "pending",
        ReleaseStatus::Failed => "failed",
    }
}

async fn info(args: InfoArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let release = match args.release {
        Some(release) => client.release(&app, &release).await?,
        None => current(client.releases(&app).await?)
            .ok_or_else(|| Failure::not_found(format!("{app} has no current release")))?,
    };
    session.output.data(&release, describe)
}

fn current(releases: Vec<Release>) -> Option<Release> {
    releases.into_iter().find(|release| release.current)
}

fn describe(release: &Release) -> String {
    let mut rows = vec![
        ("Release", format!("v{}", release.version)),
        ("Status", status(release).to_owned()),
        ("Description", release.description.clone()),
        ("By", release.user.email.to_string()),
        ("At", time(release.created_at)),
    ];
    rows.extend(release.failure.clone().map(|why| ("Failure", why)));
    rows.extend(
        release
            .commit
            .as_ref()
            .map(|commit| ("Commit", commit.to_string())),
    );
    rows.extend(
        release
            .image
            .as_ref()
            .map(|image| ("Image", image.to_string())),
    );
    rows.push(("Config version", release.config_version.to_string()));
    let types: Vec<String> = release
        .process_types
        .iter()
        .map(|(name, command)| format!("{name}: {command}"))
        .collect();
    if !types.is_empty() {
        rows.push(("Processes", types.join("\n")));
    }
    pairs(rows)
}

async fn rollback(args: RollbackArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let target = match args.release {
        Some(release) => release,
        None => previous(&client.releases(&app).await?)
            .map(|release| format!("v{}", release.version))
            .ok_or_else(|| {
                Failure::not_found(format!("{app} has no earlier release to go back to"))
                    .with_hint(format!("app releases -a {app} lists what there is."))
            })?,
    };
    let mut release = client
        .roll_back(
            &app,
            &Rollback {
                release: target.clone(),
            },
        )
        .await?;
    session.output.talk(format!(
        "Rolling {app} back to {target} as v{}.",
        release.version
    ));
    if !args.no_wait {
        release = settled(&client, &app, release).await?;
    }
    session.output.answer(&release)?;
    match release.status {
        ReleaseStatus::Pending => Ok(()),
        ReleaseStatus::Succeeded => {
            session.output.talk(format!("v{} runs.", release.version));
            Ok(())
        }
        ReleaseStatus::Failed => {
            let why = release
                .failure
                .unwrap_or_else(|| "the server does not say why".into());
            Err(
                Failure::failed(format!("v{} failed: {why}", release.version)).with_hint(format!(
                    "The app runs on as before. More: app logs -a {app} -n 100"
                )),
            )
        }
    }
}

/// The newest release before the current one that worked and has something to run.
fn previous(releases: &[Release]) -> Option<&Release> {
    let current = releases.iter().find(|release| release.current)?.version;
    releases
        .iter()
        .filter(|release| release.version < current && release.image.is_some())
        .filter(|release| release.eligible_for_rollback)
        .filter(|release| release.status == ReleaseStatus::Succeeded)
        .max_by_key(|release| release.version)
}

/// Waits until the release has succeeded or failed.
async fn settled(client: &Client, app: &AppName, release: Release) -> Result<Release, Failure> {
    let version = format!("v{}", release.version);
    let waiting = async {
        let mut release = release;
        while release.status == ReleaseStatus::Pending {
            tokio::time::sleep(RELEASE_LOOK_INTERVAL).await;
            release = client.release(app, &version).await?;
        }
        Ok(release)
    };
    match tokio::time::timeout(Duration::from_secs(RELEASE_WAIT_SECS_MAX), waiting).await {
        Ok(settled) => settled,
        Err(_) => Err(Failure::failed(format!("{version} is still on its way"))
            .with_hint(format!("Look again: app releases:info {version} -a {app}"))),
    }
}
