//! `config`, `config:get`, `config:set`, `config:unset`, `config:edit`, `config:files`.

mod edit;
mod files;

use clap::{Args, Subcommand};
use fairway_api::{
    client::Client,
    config_vars::{ConfigPatch, ConfigVars},
    names::{AppName, ConfigName},
    secret::Secret,
};

use crate::{failure::Failure, output::pairs, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "config", visible_alias = "config:list", alias = "config:show")]
    List(ListArgs),
    #[command(name = "config:get")]
    Get(GetArgs),
    #[command(name = "config:set", alias = "config:add")]
    Set(SetArgs),
    #[command(name = "config:unset", alias = "config:remove")]
    Unset(UnsetArgs),
    #[command(name = "config:edit")]
    Edit(EditArgs),
    #[command(name = "config:files")]
    Files(files::ListArgs),
    #[command(name = "config:mount")]
    SetFile(files::SetArgs),
    #[command(name = "config:unmount")]
    UnsetFile(files::UnsetArgs),
}

/// List the app's config vars
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app config
  app config --shell > .env
  app config --json")]
pub(crate) struct ListArgs {
    /// Print NAME='value' lines that a shell can read
    #[arg(short, long, conflicts_with = "json")]
    shell: bool,
}

/// Print the value of a config var
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app config:get DATABASE_URL
  psql \"$(app config:get DATABASE_URL)\"")]
pub(crate) struct GetArgs {
    /// Names of config vars
    #[arg(required = true, value_name = "NAME")]
    names: Vec<ConfigName>,
    /// Print NAME='value' lines that a shell can read
    #[arg(short, long, conflicts_with = "json")]
    shell: bool,
}

/// Set config vars; makes a release and restarts the app with it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app config:set GREETING=hello LIMIT=10
  app config:set KEY=\"$(cat key.pem)\"
All of one command make one release. Names that start with BP_ are also seen by builds.")]
pub(crate) struct SetArgs {
    /// NAME=VALUE
    #[arg(required = true, value_name = "NAME=VALUE")]
    vars: Vec<String>,
}

/// Remove config vars; makes a release and restarts the app with it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app config:unset GREETING LIMIT")]
pub(crate) struct UnsetArgs {
    /// Names of config vars
    #[arg(required = true, value_name = "NAME")]
    names: Vec<ConfigName>,
}

/// Edit the config vars in $VISUAL or $EDITOR
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app config:edit
  EDITOR='code --wait' app config:edit
Leave the editor without a change and nothing happens.")]
pub(crate) struct EditArgs {}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(args) => list(&args, session).await,
            Self::Get(args) => get(&args, session).await,
            Self::Set(args) => set(&args, session).await,
            Self::Unset(args) => unset(args, session).await,
            Self::Edit(EditArgs {}) => edit::edit(session).await,
            Self::Files(files::ListArgs {}) => files::list(session).await,
            Self::SetFile(args) => files::set(&args, session).await,
            Self::UnsetFile(args) => files::unset(&args, session).await,
        }
    }
}

async fn list(args: &ListArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let vars = client.config_vars(&app).await?;
    if vars.is_empty() {
        session.output.talk(format!("{app} has no config vars."));
    }
    if args.shell {
        return session.output.raw(shell(&vars)?.as_bytes());
    }
    session.output.data(&vars, |vars| {
        pairs(
            vars.iter()
                .map(|(name, value)| (name.as_str(), value.expose().to_owned())),
        )
    })
}

fn shell(vars: &ConfigVars) -> Result<String, Failure> {
    vars.iter()
        .map(|(name, value)| match shlex::try_quote(value.expose()) {
            Ok(value) => Ok(format!("{name}={value}\n")),
            Err(error) => Err(Failure::failed(format!(
                "{name} cannot be written for a shell: {error}"
            ))),
        })
        .collect()
}

async fn get(args: &GetArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let vars = client.config_vars(&app).await?;
    let mut wanted = ConfigVars::new();
    for name in &args.names {
        let value = vars.get(name).ok_or_else(|| {
            Failure::not_found(format!("{app} has no config var {name}"))
                .with_hint(format!("app config -a {app} lists them."))
        })?;
        wanted.insert(name.clone(), value.clone());
    }
    if args.shell {
        return session.output.raw(shell(&wanted)?.as_bytes());
    }
    if session.output.json {
        return session.output.answer(&wanted);
    }
    // Byte for byte: a key or a certificate is read from here.
    let values = args.names.iter().filter_map(|name| wanted.get(name));
    let text: String = values
        .map(|value| format!("{}\n", value.expose()))
        .collect();
    session.output.raw(text.as_bytes())
}

async fn set(args: &SetArgs, session: &Session) -> Result<(), Failure> {
    let mut patch = ConfigPatch::new();
    for text in &args.vars {
        // The text is not repeated in an error: it may be the secret itself.
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Failure::usage("a config var is written NAME=VALUE")
                .with_hint("app config:set GREETING=hello")
        })?;
        let name: ConfigName = name.parse()?;
        if patch
            .insert(name.clone(), Some(Secret::new(value)))
            .is_some()
        {
            return Err(Failure::usage(format!("{name} is set twice")));
        }
    }
    let (client, app) = session.app()?;
    let vars = update(&client, &app, &patch, session).await?;
    session.output.answer(&vars)
}

async fn unset(args: UnsetArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let patch: ConfigPatch = args.names.into_iter().map(|name| (name, None)).collect();
    let vars = update(&client, &app, &patch, session).await?;
    session.output.answer(&vars)
}

/// Sends a change and says what came of it. Values are not said: they are secret.
async fn update(
    client: &Client,
    app: &AppName,
    patch: &ConfigPatch,
    session: &Session,
) -> Result<ConfigVars, Failure> {
    let vars = client.update_config_vars(app, patch).await?;
    // The release is nice to know, but the change is made whether or not it can be read.
    let release = client
        .releases(app)
        .await
        .ok()
        .and_then(|releases| releases.into_iter().next());
    let version = release
        .map(|release| format!(" (v{})", release.version))
        .unwrap_or_default();
    session
        .output
        .talk(format!("{} of {app}{version}.", summary(patch)));
    Ok(vars)
}

/// `Set A, B and unset C`.
fn summary(patch: &ConfigPatch) -> String {
    let names = |set: bool| -> Vec<&str> {
        let chosen = patch.iter().filter(|(_, value)| value.is_some() == set);
        chosen.map(|(name, _)| name.as_str()).collect()
    };
    match (names(true), names(false)) {
        (set, unset) if unset.is_empty() => format!("Set {}", set.join(", ")),
        (set, unset) if set.is_empty() => format!("Unset {}", unset.join(", ")),
        (set, unset) => format!("Set {} and unset {}", set.join(", "), unset.join(", ")),
    }
}
