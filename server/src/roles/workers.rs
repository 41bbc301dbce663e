//! `fairway builder` and `fairway router`: roles that obey a controller on the same machine. A router
//! also obeys one elsewhere, as that of a machine that joined.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::Args;
use fairway_api::{
    client::Client,
    names::{BuilderName, RouterName},
};
use fairway_builder::{BUILDS_AT_ONCE_DEFAULT, BuildSettings, Builder};
use fairway_node::{Membership, follow_certificate};
use fairway_router::{DRAIN_DEADLINE, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::arguments::{ControllerLink, read_secret};
use crate::up;

/// Flags of `fairway builder`.
#[derive(Debug, Clone, Args)]
pub struct BuilderArgs {
    #[command(flatten)]
    link: ControllerLink,
    /// Under which name the controller knows it
    #[arg(long, value_name = "NAME")]
    name: BuilderName,
    /// Id of the installation, as it stands in the controller's identity.toml
    #[arg(long, value_name = "ID")]
    instance: String,
    /// Keep repositories and caches here
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen for git over SSH
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:2222")]
    listen_ssh: SocketAddr,
    /// Where to listen for git over HTTP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7003")]
    listen_http: SocketAddr,
    /// Where buildpacks are
    #[arg(long, value_name = "DIR")]
    buildpacks: PathBuf,
}

impl BuilderArgs {
    /// Runs the builder until `shutdown`.
    ///
    /// # Errors
    /// When an address is taken, a directory cannot be used, or a flag is wrong.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let http = TcpListener::bind(self.listen_http)
            .await
            .with_context(|| format!("listen on {}", self.listen_http))?;
        let builder = Builder::bind(self.config()?).await?;
        let served = up::serve(http, builder.http_router(), shutdown.clone());
        tokio::try_join!(served, builder.run(shutdown))?;
        Ok(())
    }

    fn config(self) -> anyhow::Result<fairway_builder::Config> {
        // The engine is told folders in it, and takes absolute paths only.
        let data_dir = std::path::absolute(&self.data).context("find the data directory")?;
        Ok(fairway_builder::Config {
            name: self.name,
            instance: self.instance,
            client: self.link.client()?,
            listen_ssh: self.listen_ssh,
            hook_program: std::env::current_exe().context("find the running program")?,
            hook_args: vec!["hook".into(), "pre-receive".into()],
            builds_at_once: BUILDS_AT_ONCE_DEFAULT,
            build: BuildSettings::new(&data_dir, self.buildpacks),
            data_dir,
        })
    }
}

/// Flags of `fairway router`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  fairway nodes:label edge-1 router=yes          # an operator lets the machine edge-1 route
  fairway router --node /var/lib/fairway-node --data /var/lib/fairway-router   # on edge-1")]
pub struct RouterArgs {
    /// Be the router of this machine, which has joined and whose agent keeps its certificate here
    #[arg(long, value_name = "DIR", conflicts_with_all = ["controller", "token_file", "name"])]
    node: Option<PathBuf>,
    /// Where the controller's API is, on the same machine
    #[arg(
        long,
        env = "FAIRWAY_CONTROLLER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7000"
    )]
    controller: Url,
    /// File with this role's token, as it stands in the controller's identity.toml
    #[arg(
        long,
        env = "FAIRWAY_TOKEN_FILE",
        value_name = "FILE",
        required_unless_present = "node"
    )]
    token_file: Option<PathBuf>,
    /// Under which name the controller knows it [with --node: the machine's]
    #[arg(long, value_name = "NAME", required_unless_present = "node")]
    name: Option<RouterName>,
    /// Keep the last route table here
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen for requests
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen_http: SocketAddr,
}

impl RouterArgs {
    /// Runs the router until `shutdown`.
    ///
    /// # Errors
    /// When the address is taken or the directory cannot be used, or when the controller wants no
    /// router here.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Some(dir) = self.node.clone() else {
            let token = self
                .token_file
                .as_deref()
                .context("--token-file is missing")?;
            let client = Client::new(self.controller.clone(), Some(read_secret(token)?));
            let name = self.name.clone().context("--name is missing")?;
            return self.route(name, client, shutdown).await;
        };
        let membership = Membership::load(&dir)?;
        let (client, certificate) = membership.client()?;
        let name = membership.name.as_str().parse()?;
        let following = follow_certificate(dir, certificate);
        tokio::select! {
            ended = self.route(name, client, shutdown) => ended,
            () = following => Ok(()),
        }
    }

    async fn route(
        self,
        name: RouterName,
        client: Client,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let router = Router::bind(fairway_router::Config {
            name,
            data_dir: self.data,
            client,
            listen_http: self.listen_http,
            workers: None,
            drain_deadline: DRAIN_DEADLINE,
        })
        .await?;
        router.run(shutdown).await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::BuilderArgs;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BuilderArgs,
    }

    #[test]
    fn a_builders_folder_may_be_named_from_here() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "secret\n").unwrap();
        let words = [
            "builder",
            "--name",
            "b1",
            "--instance",
            "i",
            "--buildpacks",
            "b",
        ];
        let line = Line::try_parse_from(words.into_iter().map(Into::into).chain([
            "--data".into(),
            "some/data".into(),
            "--token-file".into(),
            token.into_os_string(),
        ]));
        let config = line.unwrap().args.config().unwrap();
        assert!(config.data_dir.is_absolute(), "{:?}", config.data_dir);
        assert!(config.data_dir.ends_with("some/data"));
    }
}
