//! `fairway controller`.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use anyhow::Context;
use clap::Args;
use fairway_api::{
    names::{BuilderName, Hostname, RouterName},
    network::{Subnet, VXLAN_PORT_DEFAULT},
};
use fairway_controller::{Config, Controller, IMAGES_KEPT_DEFAULT, Role, RoleCredential};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::arguments::{read_secret, registry_at};
use crate::{
    cluster_address::{checked_address, reachable},
    identity::Identity,
    policy::PolicyArgs,
    up,
};

/// Flags of `fairway controller`.
#[derive(Debug, Clone, Args)]
pub struct ControllerArgs {
    /// Keep database, keys and logs here; identity.toml in it has the tokens of the other roles
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen for API and dashboard
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7000")]
    listen: SocketAddr,
    /// Where machines of the cluster connect, encrypted
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:7001")]
    listen_cluster: SocketAddr,
    /// How other machines reach it [default: the host of the public URL, else this machine's address]
    #[arg(long, value_name = "HOST:PORT")]
    cluster_address: Option<String>,
    /// How people reach the API
    #[arg(long, value_name = "URL", default_value = "http://localhost:7000")]
    public_url: Url,
    /// Apps answer as APP.DOMAIN
    #[arg(long, value_name = "DOMAIN", default_value = "localhost")]
    base_domain: Hostname,
    /// Port of the routers, as visitors see it
    #[arg(long, value_name = "PORT", default_value = "8080")]
    router_port: u16,
    /// Port of git over SSH, as people see it
    #[arg(long, value_name = "PORT", default_value = "2222")]
    ssh_port: u16,
    /// The registry that builders push to and nodes pull from, as host:port
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1:5000")]
    registry: String,
    /// User name for the registry
    #[arg(long, value_name = "NAME", default_value = "fairway")]
    registry_username: String,
    /// File with the password for the registry
    #[arg(long, value_name = "FILE")]
    registry_password_file: PathBuf,
    /// Name of a router that may connect
    #[arg(long, value_name = "NAME")]
    router: RouterName,
    /// Name of a builder that may connect
    #[arg(long, value_name = "NAME")]
    builder: BuilderName,
    /// Make an app when somebody pushes to a name that is not taken
    #[arg(long)]
    create_on_push: bool,
    /// Network of all pods, such as 10.64.0.0/11 [default: one that the first machine has no route to]
    #[arg(long, value_name = "NETWORK")]
    pod_network: Option<Subnet>,
    /// UDP port of the tunnels between machines
    #[arg(long, value_name = "PORT", default_value_t = VXLAN_PORT_DEFAULT)]
    vxlan_port: u16,
    /// Images of past releases kept per app, for rollbacks
    #[arg(long, value_name = "COUNT", default_value_t = NonZeroUsize::new(IMAGES_KEPT_DEFAULT).unwrap_or(NonZeroUsize::MIN))]
    keep_images: NonZeroUsize,
    #[command(flatten)]
    policy: PolicyArgs,
}

impl ControllerArgs {
    /// Runs the controller until `shutdown`.
    ///
    /// # Errors
    /// When the address is taken or the directory cannot be used.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let identity = Identity::load_or_create(&self.data)?;
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("listen on {}", self.listen))?;
        let cluster = TcpListener::bind(self.listen_cluster)
            .await
            .with_context(|| format!("listen on {}", self.listen_cluster))?;
        let cluster_address = cluster.local_addr()?;
        let secure_cookie = self.public_url.scheme() == "https";
        let controller = Controller::bind(self.config(&identity, cluster_address)?).await?;
        let client = fairway_api::client::Client::new(
            format!("http://{}", listener.local_addr()?).parse()?,
            None,
        );
        let site = controller
            .router()
            .merge(fairway_web::router(fairway_web::Config {
                client,
                secure_cookie,
            }))
            .fallback(fairway_controller::not_found);
        let served = up::serve(listener, site, shutdown.clone());
        let cluster = controller.serve_cluster(cluster, shutdown.clone());
        tokio::try_join!(served, cluster, controller.run(shutdown))?;
        Ok(())
    }

    fn config(self, identity: &Identity, cluster: SocketAddr) -> anyhow::Result<Config> {
        let credential = |role, token: &fairway_api::secret::Secret| RoleCredential {
            role,
            token: token.clone(),
        };
        Ok(Config {
            data_dir: self.data.join("controller"),
            base_domain: self.base_domain,
            router_http_port: self.router_port,
            ssh_host: self.public_url.host_str().unwrap_or("localhost").to_owned(),
            ssh_port: self.ssh_port,
            cluster_addresses: vec![match self.cluster_address {
                Some(address) => checked_address(address)?,
                None => reachable(&self.public_url, cluster),
            }],
            public_url: self.public_url,
            registry: registry_at(
                self.registry,
                self.registry_username,
                read_secret(&self.registry_password_file)?,
            )?,
            role_credentials: vec![
                credential(Role::Builder(self.builder), &identity.builder_token),
                credential(Role::Router(self.router), &identity.router_token),
            ],
            pod_network: self.pod_network,
            vxlan_port: self.vxlan_port,
            create_on_push: self.create_on_push,
            placement: self.policy.policy()?,
            node_lost_after: self.policy.node_lost_after()?,
            repository_bytes_max: up::REPOSITORY_BYTES_MAX,
            images_kept: self.keep_images.get(),
        })
    }
}
