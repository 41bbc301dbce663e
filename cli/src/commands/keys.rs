//! `keys`, `keys:add`, `keys:remove`: public SSH keys of the account.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use fairway_api::keys::{Key, NewKey};

use crate::{
    failure::{Failure, Kind},
    output::table,
    session::Session,
};

/// The most bytes of a key file that are read: what the server takes, and one to notice more.
const KEY_BYTES_MAX: u64 = 16 * 1024 + 1;
/// The keys that are looked for in `~/.ssh`, best first.
const KEY_FILES: [&str; 3] = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "keys", visible_alias = "keys:list")]
    List(ListArgs),
    #[command(name = "keys:add")]
    Add(AddArgs),
    #[command(name = "keys:remove")]
    Remove(RemoveArgs),
}

/// List your public SSH keys
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app keys")]
pub(crate) struct ListArgs {}

/// Add a public SSH key, to push over SSH
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app keys:add                     # ~/.ssh/id_ed25519.pub, id_ecdsa.pub or id_rsa.pub
  app keys:add ~/.ssh/work.pub
  ssh-add -L | head -1 | app keys:add -")]
pub(crate) struct AddArgs {
    /// The file with the public key; - reads standard input
    file: Option<PathBuf>,
}

/// Remove a public SSH key
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app keys:remove ada@laptop       # by its comment
  app keys:remove SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s")]
pub(crate) struct RemoveArgs {
    /// Its comment, fingerprint or id
    key: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Add(args) => add(&args, session).await,
            Self::Remove(args) => remove(&args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let keys = session.client()?.keys().await?;
    if keys.is_empty() {
        session
            .output
            .talk("You have no keys yet. Add one: app keys:add");
    }
    session.output.data(&keys, |keys| {
        let rows = keys
            .iter()
            .map(|key| [key.comment.clone(), kind(key), key.fingerprint.clone()]);
        table(["COMMENT", "TYPE", "FINGERPRINT"], rows)
    })
}

fn kind(key: &Key) -> String {
    key.public_key
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

async fn add(args: &AddArgs, session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let public_key = match &args.file {
        Some(file) if file == Path::new("-") => read(io::stdin(), "standard input")?,
        Some(file) => read_file(file)?,
        None => read_file(&usual_file(session)?)?,
    };
    let key = client.add_key(&NewKey { public_key }).await?;
    session
        .output
        .talk(format!("Added {} {}", key.fingerprint, key.comment).trim_end());
    session.output.answer(&key)
}

fn usual_file(session: &Session) -> Result<PathBuf, Failure> {
    let directory = session
        .environment
        .home
        .as_ref()
        .map(|home| home.join(".ssh"));
    let files = KEY_FILES
        .iter()
        .filter_map(|name| Some(directory.as_ref()?.join(name)));
    files
        .into_iter()
        .find(|file| fs::exists(file).unwrap_or(false))
        .ok_or_else(|| {
            Failure::usage("there is no public key in ~/.ssh")
                .with_hint("Make one: ssh-keygen -t ed25519\nor name its file: app keys:add FILE")
        })
}

fn read_file(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| {
        let kind = if error.kind() == io::ErrorKind::NotFound {
            Kind::Usage
        } else {
            Kind::Failed
        };
        Failure {
            kind,
            ..Failure::io(format!("read {name}"))(error)
        }
    })?;
    read(file, &name)
}

/// Reads one public key, and makes sure that it is not the private one.
fn read(from: impl Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    from.take(KEY_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(Failure::io(format!("read {name}")))?;
    if text.contains("PRIVATE KEY") {
        return Err(
            Failure::usage(format!("{name} holds a private key; it was not sent"))
                .with_hint("Private keys stay where they are. Name the file that ends in .pub."),
        );
    }
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(key), None) => Ok(key.to_owned()),
        (None, _) => Err(Failure::usage(format!("{name} holds no key"))),
        (Some(_), Some(_)) => Err(Failure::usage(format!("{name} holds more than one key"))
            .with_hint("Add them one by one: app keys:add - reads one from standard input.")),
    }
}

async fn remove(args: &RemoveArgs, session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let keys = client.keys().await?;
    let matching: Vec<&Key> = keys
        .iter()
        .filter(|key| {
            args.key == key.comment || args.key == key.fingerprint || args.key == key.id.to_string()
        })
        .collect();
    match matching[..] {
        [key] => {
            client.remove_key(&key.id.to_string()).await?;
            session
                .output
                .talk(format!("Removed {} {}", key.fingerprint, key.comment).trim_end());
            session.output.nothing()
        }
        [] => Err(
            Failure::not_found(format!("you have no key {:?}", args.key))
                .with_hint("app keys lists them."),
        ),
        _ => Err(
            Failure::usage(format!("several keys have the comment {:?}", args.key))
                .with_hint("Name the fingerprint; app keys lists them."),
        ),
    }
}
