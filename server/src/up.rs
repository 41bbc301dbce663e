//! `fairway up`: every role in one process, joined by loopback HTTP.
//!
//! It only puts together. Listeners are bound first, so that each part can be told the others'
//! addresses, also when the ports are left to the kernel.

mod first_start;
pub(crate) mod housekeeping;
mod layout;

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context;
use fairway_api::{client::Client, images::RegistryAccess, lock::DirectoryLock};
use fairway_builder::Builder;
use fairway_controller::Controller;
use fairway_node::Agent;
use fairway_registry::Registry;
use fairway_router::Router;
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::layout::Layout;
pub(crate) use self::layout::REPOSITORY_BYTES_MAX;
use crate::{
    identity::{Identity, write_private},
    progress::Progress,
    settings::Settings,
};

/// How long the parts may take to end after a signal, in seconds: a little more than the longest
/// of them allows itself (the router, for requests in flight).
const SHUTDOWN_MAX: Duration = Duration::from_secs(45);

/// Where a running platform listens; `addresses.json` in its data directory.
#[derive(Debug, Clone, Copy, Serialize)]
struct Addresses {
    api: SocketAddr,
    ssh: SocketAddr,
    /// Of the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<SocketAddr>,
    http: SocketAddr,
    cluster: SocketAddr,
}

/// Runs the whole platform until `shutdown` or until a part fails.
///
/// # Errors
/// When a setting is wrong, a port or the data directory is taken, or a part ends by itself.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let progress = Progress::open(settings.progress.as_deref())?;
    let settings = settings.with_file()?;
    let layout = Layout::resolve(&settings)?;
    let identity = Identity::load_or_create(&layout.data)?;
    let _lock = DirectoryLock::take(&layout.data, "lock", "Fairway").await?;
    let platform = Platform::bind(&layout, &identity).await?;
    platform.run(&layout, &progress, shutdown).await
}

/// Every part with its listeners open and its files locked.
struct Platform {
    addresses: Addresses,
    api: TcpListener,
    cluster: TcpListener,
    /// Unless an outside one is used.
    registry: Option<Registry>,
    controller: Controller,
    builder: Builder,
    router: Router,
    agent: Agent,
    pages: axum::Router,
    /// Without a credential.
    client: Client,
    /// With the builder's credential: what is pruned from the registry, the builder put there.
    pruning: Client,
    registry_access: RegistryAccess,
}

impl Platform {
    async fn bind(layout: &Layout, identity: &Identity) -> anyhow::Result<Self> {
        let api = TcpListener::bind(layout.listen_api)
            .await
            .map_err(|error| not_bound(error, layout.listen_api, "--listen-api"))?;
        let api_address = api.local_addr()?;
        let cluster = TcpListener::bind(layout.listen_cluster)
            .await
            .map_err(|error| not_bound(error, layout.listen_cluster, "--listen-cluster"))?;
        let (registry, access) = bind_registry(layout, identity).await?;

        let client = Client::new(format!("http://{}", loopback(api_address)).parse()?, None);
        let builder = Builder::bind(layout.builder(identity, &client)?)
            .await
            .map_err(|error| not_bound(error, layout.listen_ssh, "--listen-ssh"))?;
        let router = Router::bind(layout.router(identity, &client)?)
            .await
            .map_err(|error| not_bound(error, layout.listen_http, "--listen-http"))?;
        let agent = Agent::bind(layout.agent(identity, &client))
            .await
            .context("start the agent")?;

        let addresses = Addresses {
            api: api_address,
            ssh: builder.ssh_addr()?,
            registry: registry.as_ref().map(Registry::local_addr),
            http: router.local_addr(),
            cluster: cluster.local_addr()?,
        };
        let controller =
            Controller::bind(layout.controller(identity, access.clone(), &addresses)?)
                .await
                .context("start the controller")?;
        let pages = fairway_web::router(fairway_web::Config {
            client: client.clone(),
            secure_cookie: layout.public_url(api_address)?.scheme() == "https",
        });
        Ok(Self {
            addresses,
            api,
            cluster,
            registry,
            controller,
            builder,
            router,
            agent,
            pages,
            pruning: client.with_token(identity.builder_token.clone()),
            client,
            registry_access: access,
        })
    }

    async fn run(
        self,
        layout: &Layout,
        progress: &Progress,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let site = self
            .controller
            .router()
            .merge(self.builder.http_router())
            .merge(self.pages)
            .fallback(fairway_controller::not_found);
        first_start::make_admin(&self.controller, layout, progress).await?;

        let mut parts = Parts {
            set: JoinSet::new(),
            shutdown: shutdown.clone(),
        };
        parts.start("API", serve(self.api, site, shutdown.clone()));
        let cluster_port = self
            .controller
            .serve_cluster(self.cluster, shutdown.clone());
        parts.start("cluster port", cluster_port);
        if let Some(registry) = self.registry {
            let cleaning = housekeeping::run(registry.collector(), self.pruning, shutdown.clone());
            parts.start("clean-up", cleaning);
            parts.start("registry", registry.run(shutdown.clone()));
        }
        parts.start("controller", self.controller.run(shutdown.clone()));
        parts.start("router", self.router.run(shutdown.clone()));
        parts.start("agent", self.agent.run(shutdown.clone()));

        let ready = async {
            first_start::make_token(&self.client, layout).await?;
            self.builder
                .prepare(&self.registry_access, &|line| progress.say(line))
                .await
                .context("prepare the stack images")
        };
        tokio::select! {
            done = ready => done?,
            () = shutdown.cancelled() => return parts.finish().await,
            ended = parts.set.join_next() => return parts.failed(ended).await,
        }
        parts.start("builder", self.builder.run(shutdown.clone()));

        let addresses = serde_json::to_string_pretty(&self.addresses)?;
        write_private(&layout.data.join("addresses.json"), &addresses)?;
        progress.say(&format!(
            "       API and dashboard on {}",
            self.addresses.api
        ));
        progress.say(&format!("       Apps on {}", self.addresses.http));
        progress.ready();

        tokio::select! {
            () = shutdown.cancelled() => parts.finish().await,
            ended = parts.set.join_next() => parts.failed(ended).await,
        }
    }
}

/// The registry that is used, and how; the first only if it is ours to run.
async fn bind_registry(
    layout: &Layout,
    identity: &Identity,
) -> anyhow::Result<(Option<Registry>, RegistryAccess)> {
    if let Some(outside) = &layout.outside_registry {
        return Ok((None, outside.clone()));
    }
    let registry = Registry::bind(layout.registry(identity))
        .await
        .map_err(|error| not_bound(error, layout.listen_registry, "--listen-registry"))?;
    let access = layout::registry_access(registry.local_addr(), identity);
    Ok((Some(registry), access))
}

/// The running parts. When one ends, all do: a half platform would look alive and lie.
struct Parts {
    set: JoinSet<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

impl Parts {
    fn start<F>(&mut self, name: &'static str, part: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.set
            .spawn(async move { part.await.with_context(|| format!("the {name} failed")) });
    }

    async fn finish(mut self) -> anyhow::Result<()> {
        let all = async {
            let mut outcome = Ok(());
            while let Some(ended) = self.set.join_next().await {
                outcome = outcome.and(flatten(ended));
            }
            outcome
        };
        match tokio::time::timeout(SHUTDOWN_MAX, all).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("not everything ended within {SHUTDOWN_MAX:?}; leaving it");
                Ok(())
            }
        }
    }

    async fn failed(
        self,
        ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>,
    ) -> anyhow::Result<()> {
        let asked_to = self.shutdown.is_cancelled();
        self.shutdown.cancel();
        let first = ended.map_or(Ok(()), flatten);
        let rest = self.finish().await;
        first.and(rest)?;
        if asked_to {
            Ok(())
        } else {
            anyhow::bail!("a part of the platform ended by itself")
        }
    }
}

fn flatten(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Result<()> {
    ended.context("a part of the platform panicked")?
}

/// Serves the API, the dashboard and git over HTTP.
pub(crate) async fn serve(
    listener: TcpListener,
    site: axum::Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    // Answers to long polls and followed logs must not hold up a shutdown for their whole length.
    let stop = shutdown.clone();
    let server = axum::serve(
        listener,
        site.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(async move { stop.cancelled().await });
    tokio::select! {
        served = server => served.context("serve the API"),
        () = async {
            shutdown.cancelled().await;
            tokio::time::sleep(API_DRAIN).await;
        } => Ok(()),
    }
}

/// How long calls to the API may go on after a signal. Long polls and streams never end by
/// themselves; everything else is done in far less.
const API_DRAIN: Duration = Duration::from_secs(2);

/// The address under which this process reaches its own listener.
fn loopback(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        ([127, 0, 0, 1], address.port()).into()
    } else {
        address
    }
}

/// A part that did not start to listen, told with the flag that helps, if one does: it may as well
/// be its data directory that cannot be used.
fn not_bound(error: impl Into<anyhow::Error>, address: SocketAddr, flag: &str) -> anyhow::Error {
    let error = error.into();
    let is_the_address = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| {
            matches!(
                cause.kind(),
                io::ErrorKind::AddrInUse
                    | io::ErrorKind::AddrNotAvailable
                    | io::ErrorKind::PermissionDenied
            )
        });
    if is_the_address {
        error.context(format!(
            "listen on {address}; if the port is taken, choose another with {flag}"
        ))
    } else {
        error.context(format!("start what listens on {address}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_is_proposed_only_where_it_helps() {
        let address = SocketAddr::from(([127, 0, 0, 1], 2222));
        for (kind, helps) in [
            (io::ErrorKind::AddrInUse, true),
            (io::ErrorKind::AddrNotAvailable, true),
            (io::ErrorKind::PermissionDenied, true),
            (io::ErrorKind::StorageFull, false),
        ] {
            let error = anyhow::Error::from(io::Error::from(kind)).context("listen");
            let text = format!("{:#}", not_bound(error, address, "--listen-ssh"));
            assert_eq!(text.contains("--listen-ssh"), helps, "{text}");
        }
    }
}
