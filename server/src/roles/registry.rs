//! `fairway registry`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use fairway_api::client::Client;
use fairway_registry::{Config, Credentials, Registry};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::arguments::read_secret;
use crate::up::housekeeping;

/// Flags of `fairway registry`.
#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    /// Keep blobs and manifests here
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// User name that clients must give; without it everybody may push and pull
    #[arg(long, value_name = "NAME", requires = "password_file")]
    username: Option<String>,
    /// File with the password that clients must give
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// The controller to ask which images may go; without it all of them stay
    #[arg(
        long,
        env = "FAIRWAY_CONTROLLER",
        value_name = "URL",
        requires = "token_file"
    )]
    controller: Option<Url>,
    /// File with the token of the builder that pushes here
    #[arg(
        long,
        env = "FAIRWAY_TOKEN_FILE",
        value_name = "FILE",
        requires = "controller"
    )]
    token_file: Option<PathBuf>,
}

impl RegistryArgs {
    /// Runs the registry until `shutdown`.
    ///
    /// # Errors
    /// When the address is taken or the directory cannot be used.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut config = Config::new(self.data, self.listen);
        if let (Some(username), Some(file)) = (self.username, self.password_file) {
            let password = read_secret(&file)?.expose().to_owned();
            config.access = Some(Credentials { username, password });
        } else if !self.listen.ip().is_loopback() {
            tracing::warn!("the registry lets everybody push; set --username and --password-file");
        }
        let registry = Registry::bind(config).await?;
        tracing::info!("registry on {}", registry.local_addr());
        let client = match (self.controller, self.token_file) {
            (Some(url), Some(file)) => Client::new(url, Some(read_secret(&file)?)),
            _ => return registry.run(shutdown).await,
        };
        let cleaning = housekeeping::run(registry.collector(), client, shutdown.clone());
        tokio::try_join!(registry.run(shutdown), cleaning)?;
        Ok(())
    }
}
