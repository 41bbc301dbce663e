//! The credentials file: one token per server, readable by its owner only.
//!
//! `app login` writes it, `app logout` removes from it. It is replaced as a whole, so that a crash
//! leaves the old file or the new one and never half of one.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use fairway_api::{names::Email, secret::Secret};
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, remote::ServerUrl};

/// The file's name in the settings directory.
const FILE_NAME: &str = "credentials.toml";

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// The server that is meant when nothing names one: the last one logged in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// By address.
    #[serde(default)]
    servers: BTreeMap<String, Login>,
}

/// What is known about one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) email: Email,
    pub(crate) token: Secret,
}

impl Credentials {
    /// Reads the file; nothing is stored where there is none.
    pub(crate) fn read(settings_dir: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = settings_dir.map(|directory| directory.join(FILE_NAME)) else {
            return Ok(Self::default());
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::io(format!("read {}", path.display()))(error)),
        };
        // The parser's own message would quote the line, and with it a token.
        toml::from_str(&text).map_err(|_| {
            Failure::failed(format!("{} is damaged", path.display()))
                .with_hint("Remove it, then log in again: app login")
        })
    }

    /// Replaces the file; it and its directory are for the owner only.
    pub(crate) fn write(&self, settings_dir: Option<&Path>) -> Result<PathBuf, Failure> {
        let directory = settings_dir.ok_or_else(|| {
            Failure::failed("there is no place for credentials: HOME is not set")
                .with_hint("Set HOME, or use FAIRWAY_TOKEN instead of app login.")
        })?;
        let path = directory.join(FILE_NAME);
        self.replace(directory, &path)
            .map_err(Failure::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    fn replace(&self, directory: &Path, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let mut file = tempfile::Builder::new()
            .prefix(".credentials")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        file.write_all(b"# Written by `app login`. Whoever has a token can do what you can.\n")?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// The server that is meant when nothing names one.
    pub(crate) fn default_server(&self) -> Option<ServerUrl> {
        self.default.as_deref()?.parse().ok()
    }

    pub(crate) fn login(&self, server: &ServerUrl) -> Option<&Login> {
        self.servers.get(&server.to_string())
    }

    /// The servers that there are tokens for.
    pub(crate) fn servers(&self) -> impl Iterator<Item = ServerUrl> {
        self.servers.keys().filter_map(|server| server.parse().ok())
    }

    /// Keeps a login and makes its server the default.
    pub(crate) fn keep(&mut self, server: &ServerUrl, login: Login) {
        self.default = Some(server.to_string());
        self.servers.insert(server.to_string(), login);
    }

    /// Forgets a login; another server, if there is one, becomes the default.
    pub(crate) fn forget(&mut self, server: &ServerUrl) -> Option<Login> {
        let login = self.servers.remove(&server.to_string());
        if self.default.as_deref() == Some(server.to_string().as_str()) {
            self.default = self.servers.keys().next().cloned();
        }
        login
    }
}

#[cfg(test)]
mod tests;
