//! Flags that several roles share.

use std::{fs, path::Path};

use anyhow::Context;
use clap::Args;
use fairway_api::{client::Client, images::RegistryAccess, secret::Secret};
use url::Url;

/// How a role finds its controller and proves itself to it.
#[derive(Debug, Clone, Args)]
pub(super) struct ControllerLink {
    /// Where the controller's API is
    #[arg(
        long,
        env = "FAIRWAY_CONTROLLER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7000"
    )]
    controller: Url,
    /// File with this role's token, as it stands in the controller's identity.toml
    #[arg(long, env = "FAIRWAY_TOKEN_FILE", value_name = "FILE")]
    token_file: std::path::PathBuf,
}

impl ControllerLink {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(
            self.controller.clone(),
            Some(read_secret(&self.token_file)?),
        ))
    }
}

/// A registry as builders and machines reach it. Like the container engine, they trust one on
/// loopback without TLS and no other.
pub(crate) fn registry_at(
    host: String,
    username: String,
    password: Secret,
) -> anyhow::Result<RegistryAccess> {
    anyhow::ensure!(
        !host.is_empty() && !host.contains('/'),
        "{host:?} is no registry; write its host, with the port if it is not 443"
    );
    Ok(RegistryAccess {
        plain_http: host.starts_with("127.") || host.starts_with("localhost"),
        host,
        username,
        password,
    })
}

/// The one line of a secret file.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("read the secret in {}", path.display()))?;
    let secret = text.trim();
    anyhow::ensure!(!secret.is_empty(), "{} is empty", path.display());
    Ok(Secret::new(secret))
}
