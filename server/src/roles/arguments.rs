//! Flags that several roles share.

use std::{fs, path::Path};

use anyhow::Context;
use clap::Args;
use fairway_api::{client::Client, secret::Secret};
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

/// The one line of a secret file.
pub(super) fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("read the secret in {}", path.display()))?;
    let secret = text.trim();
    anyhow::ensure!(!secret.is_empty(), "{} is empty", path.display());
    Ok(Secret::new(secret))
}
