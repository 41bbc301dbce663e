//! What a git client asks for: the command line it sends over SSH, the path it names over either
//! transport. Pure.

use fairway_api::{
    build_orders::GitAccess,
    names::{AppName, InvalidName},
};

/// The longest command line that is looked at, in bytes. The longest honest one is a program, an
/// app's name and quotes.
const COMMAND_BYTES_MAX: usize = 1024;

/// The two things that git serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Fetch and clone.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    /// As it stands in URLs, content types and over SSH.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    /// The inverse of [`Self::parse`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    /// As an argument of `git`.
    pub(crate) fn subcommand(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }

    /// What the credential must allow.
    pub(crate) fn access(self) -> GitAccess {
        match self {
            Self::UploadPack => GitAccess::Read,
            Self::ReceivePack => GitAccess::Write,
        }
    }
}

/// Why a command was not understood; the texts go to the user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(
        "Fairway runs only git here. To push: git push ssh://HOST:PORT/APP.git main. For a shell \
         in your app: app run bash"
    )]
    NotGit,
    #[error("the command is not quoted in a way that can be read")]
    Quoting,
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

/// Why a path names no repository.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a repository here: use APP.git, where {rule}")]
pub(crate) struct RepositoryError {
    path: String,
    rule: InvalidName,
}

/// Reads the command line of an SSH `exec` request: `git-receive-pack '/shop.git'`,
/// `git upload-pack shop`.
pub(crate) fn parse_command(line: &[u8]) -> Result<(Service, AppName), CommandError> {
    let line = std::str::from_utf8(line).map_err(|_| CommandError::NotGit)?;
    if line.len() > COMMAND_BYTES_MAX {
        return Err(CommandError::NotGit);
    }
    let words = shlex::split(line).ok_or(CommandError::Quoting)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (service, path) = match words.as_slice() {
        ["git", "upload-pack", path] => (Service::UploadPack, path),
        ["git", "receive-pack", path] => (Service::ReceivePack, path),
        [program, path] => (Service::parse(program).ok_or(CommandError::NotGit)?, path),
        _ => return Err(CommandError::NotGit),
    };
    Ok((service, parse_repository(path)?))
}

/// Reads a repository's path: the app's name, with or without a slash before and `.git` behind.
/// Nothing else can be named, so no path can lead elsewhere.
pub(crate) fn parse_repository(path: &str) -> Result<AppName, RepositoryError> {
    let name = path.strip_prefix('/').unwrap_or(path);
    let name = name.strip_suffix('/').unwrap_or(name);
    let name = name.strip_suffix(".git").unwrap_or(name);
    name.parse().map_err(|rule| RepositoryError {
        path: path.chars().take(80).collect(),
        rule,
    })
}

#[cfg(test)]
mod tests;
