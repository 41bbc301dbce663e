//! `config:files` and its verbs: config vars that pods have as files.

use std::path::PathBuf;

use clap::Args;
use fairway_api::{
    config_vars::{CONFIG_BYTES_MAX, SetConfigFile},
    names::ConfigName,
    secret::Secret,
};

use crate::{failure::Failure, output::table, session::Session};

/// List the config vars that processes have as files
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app config:files
They are in memory, read-only, for the process's own user, and not in its environment.")]
pub(crate) struct ListArgs {}

/// Give processes a config var as a file; makes a release and restarts the app with it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app config:mount TLS_KEY --from key.pem   # /run/secrets/TLS_KEY
  app config:mount DATABASE_PASSWORD        # no longer in the environment
The release phase and `app run` have the files too. Change the value with config:set or here.")]
pub(crate) struct SetArgs {
    /// The config var
    #[arg(value_name = "NAME")]
    name: ConfigName,
    /// Take its value from this file, byte for byte
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Make it an environment variable again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app config:unmount DATABASE_PASSWORD
The config var keeps its value; config:unset removes that.")]
pub(crate) struct UnsetArgs {
    /// The config var
    #[arg(value_name = "NAME")]
    name: ConfigName,
}

pub(super) async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let files = client.config_files(&app).await?;
    if files.is_empty() {
        session.output.talk(format!("{app} has no config files."));
    }
    session.output.data(&files, |files| {
        let rows = files.iter().map(|file| {
            let value = if file.is_set { "set" } else { "no value" };
            [file.name.to_string(), file.path.clone(), value.into()]
        });
        table(["NAME", "PATH", "VALUE"], rows)
    })
}

pub(super) async fn set(args: &SetArgs, session: &Session) -> Result<(), Failure> {
    let value = args.from.as_ref().map(read).transpose()?;
    let (client, app) = session.app()?;
    let set = SetConfigFile { value };
    let change = client.set_config_file(&app, &args.name, &set).await?;
    session.output.talk(format!(
        "{} of {app} is the file {}{}.",
        change.file.name,
        change.file.path,
        version(change.release)
    ));
    session.output.answer(&change)
}

fn read(path: &PathBuf) -> Result<Secret, Failure> {
    let failed = |why: String| Failure::usage(format!("cannot take {}: {why}", path.display()));
    let length = std::fs::metadata(path)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if length > CONFIG_BYTES_MAX as u64 {
        let why = format!("it has {length} bytes, and config vars {CONFIG_BYTES_MAX} in all");
        return Err(failed(why).with_hint("Put large files on a volume: app volumes:create"));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        failed("it is no text (UTF-8)".into()).with_hint("Encode it, for example in base64.")
    })?;
    Ok(Secret::new(text))
}

pub(super) async fn unset(args: &UnsetArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let change = client.unset_config_file(&app, &args.name).await?;
    session.output.talk(format!(
        "{} of {app} is an environment variable again{}.",
        change.file.name,
        version(change.release)
    ));
    session.output.answer(&change)
}

fn version(release: Option<u64>) -> String {
    release.map_or_else(String::new, |version| format!(" (v{version})"))
}
