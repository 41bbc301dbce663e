//! `apps`, `create`, `destroy`, `info`, `rename`, `open`.

use std::process::{Command as Process, Stdio};

use clap::{Args, Subcommand};
use fairway_api::{
    apps::{App, AppPatch, NewApp},
    names::AppName,
};

use crate::{
    failure::Failure,
    git,
    output::{pairs, table, time},
    session::{REMOTE_DEFAULT, Session},
    terminal,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "apps", visible_alias = "apps:list", alias = "list")]
    List(ListArgs),
    #[command(name = "create", visible_alias = "apps:create")]
    Create(CreateArgs),
    #[command(name = "info", visible_alias = "apps:info")]
    Info(InfoArgs),
    #[command(name = "rename", visible_alias = "apps:rename")]
    Rename(RenameArgs),
    #[command(name = "open", visible_alias = "apps:open")]
    Open(OpenArgs),
    #[command(name = "destroy", visible_alias = "apps:destroy", aliases = ["delete", "apps:delete"])]
    Destroy(DestroyArgs),
}

/// List your apps
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app apps
  app apps --json | jq -r '.[].name'")]
pub(crate) struct ListArgs {}

/// Create an app, and the git remote to push it to
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app create shop
  app create shop --ssh            # the remote uses SSH instead of HTTP
  app create shop-staging --remote staging
  app create                       # Fairway makes up a name
Then: git push fairway main")]
pub(crate) struct CreateArgs {
    /// The app's name: lower-case letters, digits and dashes
    name: Option<AppName>,
    /// Use SSH for the git remote (needs app keys:add)
    #[arg(long)]
    ssh: bool,
    /// Do not make a git remote
    #[arg(long, conflicts_with_all = ["ssh", "remote"])]
    no_remote: bool,
}

/// Show an app
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app info
  app info shop --json")]
pub(crate) struct InfoArgs {
    /// The app, instead of -a
    #[arg(conflicts_with_all = ["app", "remote"])]
    name: Option<String>,
}

/// Give an app another name, and with it another hostname
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app rename boutique
  app rename boutique -a shop")]
pub(crate) struct RenameArgs {
    /// The new name
    name: AppName,
}

/// Print the app's URL and open it in a browser
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app open
  app open /login
  curl \"$(app open -a shop)\"       # without a terminal it only prints")]
pub(crate) struct OpenArgs {
    /// A path below the app's URL
    path: Option<String>,
}

/// Destroy an app: its processes, releases, images, config and git repository
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app destroy -a shop              # asks for the name
  app destroy shop --confirm shop  # for scripts
The app is gone at once. What it had on disks (git repository, build cache, images) is removed
within a minute, the last bytes of its images within two hours.")]
pub(crate) struct DestroyArgs {
    /// The app, instead of -a
    #[arg(conflicts_with_all = ["app", "remote"])]
    name: Option<String>,
    /// The app's name once more, instead of being asked
    #[arg(short, long, value_name = "NAME")]
    confirm: Option<String>,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Create(args) => create(args, session).await,
            Self::Info(args) => info(args, session).await,
            Self::Rename(args) => rename(args, session).await,
            Self::Open(args) => open(args, session).await,
            Self::Destroy(args) => destroy(args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let apps = session.client()?.apps().await?;
    if apps.is_empty() {
        session
            .output
            .talk("You have no apps yet. Make one: app create");
    }
    session.output.data(&apps, |apps| {
        let rows = apps.iter().map(|app| {
            let released = app.released_at.map_or("never".to_owned(), time);
            [
                app.name.to_string(),
                app.owner.email.to_string(),
                released,
                app.web_url.clone(),
            ]
        });
        table(["NAME", "OWNER", "RELEASED", "URL"], rows)
    })
}

async fn create(args: CreateArgs, session: &Session) -> Result<(), Failure> {
    let app = session
        .client()?
        .create_app(&NewApp { name: args.name })
        .await?;
    session.output.talk(format!("Created {}.", app.name));
    let url = if args.ssh {
        &app.git_ssh_url
    } else {
        &app.git_url
    };
    session
        .output
        .data(&app, |app| format!("{} | {url}\n", app.web_url))?;
    if args.no_remote || !git::in_repository() {
        return Ok(());
    }
    let name = session.remote_name().unwrap_or(REMOTE_DEFAULT);
    match git::remotes().iter().find(|remote| remote.name == name) {
        None => {
            git::add_remote(name, url)?;
            session.output.talk(format!(
                "Added the git remote {name}. Deploy: git push {name} main"
            ));
        }
        Some(remote) if &remote.url == url => {}
        Some(remote) => session.output.talk(format!(
            "The git remote {name} stays at {}. To change it: app git:remote -a {}",
            remote.url, app.name
        )),
    }
    Ok(())
}

async fn info(args: InfoArgs, session: &Session) -> Result<(), Failure> {
    let (client, name) = session.app_or(args.name.as_deref())?;
    let app = client.app(&name).await?;
    session.output.data(&app, describe)
}

fn describe(app: &App) -> String {
    let branch = app.deploy_branch.as_ref();
    let mut rows = vec![
        ("App", app.name.to_string()),
        ("Owner", app.owner.email.to_string()),
        ("URL", app.web_url.clone()),
        ("Git over HTTP", app.git_url.clone()),
        ("Git over SSH", app.git_ssh_url.clone()),
        (
            "Deploy branch",
            branch.map_or("main or master".into(), ToString::to_string),
        ),
        (
            "Maintenance",
            if app.maintenance { "on" } else { "off" }.into(),
        ),
        ("Stack", app.stack.name.clone()),
    ];
    rows.extend(
        app.buildpack_provided_description
            .clone()
            .map(|text| ("Built with", text)),
    );
    rows.extend(app.slug_size.map(|bytes| ("Image size", size(bytes))));
    rows.extend(app.repo_size.map(|bytes| ("Repository size", size(bytes))));
    rows.push(("Created", time(app.created_at)));
    rows.push(("Released", app.released_at.map_or("never".into(), time)));
    pairs(rows)
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut place = 0;
    let mut rest = bytes;
    while rest >= 10_240 && place + 1 < UNITS.len() {
        rest /= 1_024;
        place += 1;
    }
    format!("{rest} {}", UNITS.get(place).copied().unwrap_or_default())
}

async fn rename(args: RenameArgs, session: &Session) -> Result<(), Failure> {
    let (client, name) = session.app()?;
    let before = client.app(&name).await?;
    let patch = AppPatch {
        name: Some(args.name),
        ..AppPatch::default()
    };
    let after = client.update_app(&name, &patch).await?;
    session
        .output
        .talk(format!("Renamed {name} to {}.", after.name));
    session
        .output
        .data(&after, |app| format!("{} | {}\n", app.web_url, app.git_url))?;
    for remote in git::remotes() {
        let url = match &remote.url {
            url if *url == before.git_url => &after.git_url,
            url if *url == before.git_ssh_url => &after.git_ssh_url,
            _ => continue,
        };
        git::set_remote_url(&remote.name, url)?;
        session
            .output
            .talk(format!("The git remote {} follows.", remote.name));
    }
    Ok(())
}

async fn open(args: OpenArgs, session: &Session) -> Result<(), Failure> {
    let (client, name) = session.app()?;
    let app = client.app(&name).await?;
    let base = app.web_url.trim_end_matches('/');
    let path = args.path.unwrap_or_default();
    let url = format!("{base}/{}", path.trim_start_matches('/'));
    session.output.data(&app, |_| url.clone())?;
    // Only a web address may reach the program that opens things: it would open files, too.
    let web = url.starts_with("http://") || url.starts_with("https://");
    if session.output.terminal && session.environment.display && !session.output.json && web {
        let opener = if cfg!(target_os = "macos") {
            "open"
        } else {
            "xdg-open"
        };
        let started = Process::new(opener)
            .arg(&url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if started.is_err() {
            session
                .output
                .talk(format!("No browser was opened: {opener} cannot be run."));
        }
    }
    Ok(())
}

async fn destroy(args: DestroyArgs, session: &Session) -> Result<(), Failure> {
    let (client, name) = session.app_or(args.name.as_deref())?;
    let confirmed = match args.confirm {
        Some(text) => text,
        None if terminal::can_ask() => {
            // The app must exist before anybody is asked to be sure.
            client.app(&name).await?;
            session.output.talk(format!(
                "This destroys {name}: its processes, releases, images, config and git repository. It cannot be undone."
            ));
            terminal::ask(&format!("Type {name} to go on"))?
        }
        None => {
            return Err(
                Failure::usage(format!("destroying {name} must be confirmed"))
                    .with_hint(format!("app destroy -a {name} --confirm {name}")),
            );
        }
    };
    if confirmed.trim() != name.as_str() {
        return Err(Failure::usage(format!(
            "{confirmed:?} is not {name}; nothing was destroyed"
        )));
    }
    let app = client.destroy_app(&name).await?;
    session.output.talk(format!("Destroyed {name}."));
    session.output.answer(&app)?;
    for remote in git::remotes() {
        if remote.url == app.git_url || remote.url == app.git_ssh_url {
            git::remove_remote(&remote.name)?;
            session
                .output
                .talk(format!("Removed the git remote {}.", remote.name));
        }
    }
    Ok(())
}
