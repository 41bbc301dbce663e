//! `fairway registry`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use fairway_registry::{Config, Credentials, Registry};
use tokio_util::sync::CancellationToken;

use super::arguments::read_secret;

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
        registry.run(shutdown).await
    }
}
