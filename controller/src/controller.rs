//! A controller as its process starts and runs it.

use std::{collections::HashSet, fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

use anyhow::Context;
use fairway_api::{ids::NodeId, lock::DirectoryLock, names::Email, secret::Secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    accounts, apps,
    attach::Rendezvous,
    auth::{Logins, Roles},
    autoscale::{self, Decisions},
    builds::{self, Leases},
    cluster_port,
    config::{Config, Role},
    events, http,
    logs::{app_logs::AppLogs, build_output::BuildOutputs, senders::Senders},
    membership::{Authority, Members},
    metrics::Metrics,
    orchestrator::cluster::Cluster,
    reconcile,
    routers::Routers,
    secrets::Secrets,
    state::{AppState, Parts},
    store::{self, Store, StoreError, columns::now, nodes},
    volumes,
    wake::{Bell, Wake},
    wanted::Notices,
};

/// A controller with its files open. It listens on nothing itself: whoever starts it serves
/// [`Controller::router`].
#[derive(Debug)]
pub struct Controller {
    state: AppState,
}

impl Controller {
    /// Opens or makes everything under the data folder.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let data = &config.data_dir;
        make_private(data)?;
        // Two controllers would give contradictory orders.
        let lock = DirectoryLock::take(data, "controller.lock", "controller").await?;
        let database = data.join("fairway.db");
        let secrets = Secrets::open(&data.join("master.key"), database.exists())?;
        let store = Store::open(&database)
            .await
            .with_context(|| format!("open the database {}", database.display()))?;
        let logs = AppLogs::open(&data.join("logs")).context("open the folder of logs")?;
        let build_output =
            BuildOutputs::open(&data.join("builds")).context("open the folder of build outputs")?;
        let cluster = Cluster::open(&store, config.registry.clone(), config.node_lost_after)
            .await
            .context("read the generations of node plans")?;
        let authority = Authority::open(&store, &secrets, now())
            .await
            .context("open the cluster's certificate authority")?;
        settle_nodes(&store, &config)
            .await
            .context("settle the machines")?;
        let state = AppState::new(Parts {
            members: Members::load(&store).await?,
            authority,
            store,
            cluster,
            routers: Routers::default(),
            metrics: Metrics::default(),
            autoscaling: Decisions::default(),
            queues: Default::default(),
            secrets,
            logs,
            log_senders: Senders::default(),
            build_output,
            attach: Rendezvous::default(),
            sessions: Arc::default(),
            wake: Wake::default(),
            builds_changed: Bell::default(),
            destroyed: Notices::default(),
            closing: CancellationToken::new(),
            lock,
            leases: Leases::default(),
            roles: Roles::new(&config.role_credentials),
            logins: Logins::default(),
            config,
        });
        settle(&state).await?;
        Ok(Self { state })
    }

    /// Makes the first account, an admin, with a password that the caller has put somewhere safe
    /// before, so that a crash in between loses nothing. False when there is an account already.
    pub async fn ensure_admin(&self, email: Email, password: Secret) -> anyhow::Result<bool> {
        let made = accounts::ensure_admin(&self.state, email, password).await;
        made.map_err(|problem| anyhow::anyhow!(problem))
            .context("make the first account")
    }

    /// The public and the internal API, without a fallback, so that other routers can be merged
    /// with it; see [`crate::not_found`].
    pub fn router(&self) -> axum::Router {
        http::router(self.state.clone())
    }

    /// Serves the cluster port until `shutdown`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn serve_cluster(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
        cluster_port::serve(self.state.clone(), listener, shutdown)
    }

    /// What handlers and loops share; for tests and for parts of the same process.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Runs the loops until `shutdown`, then ends what waits. Calls that are under way still find
    /// the database open; it needs no goodbye.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tokio::join!(
            builds::sweep(&self.state, &shutdown),
            reconcile::run(&self.state, &shutdown),
            autoscale::run(&self.state, &shutdown),
            volumes::watch(&self.state, &shutdown),
            autoscale::ask_queues(&self.state, &shutdown),
            events::sweep(&self.state, &shutdown),
        );
        self.state.closing.cancel();
        Ok(())
    }
}

/// Makes the data folder, for its owner only: the database knows hashes of passwords, and logs know
/// what apps say. The permissions of a folder that is there are its owner's business.
fn make_private(data: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data);
    made.with_context(|| format!("make the folder {}", data.display()))
}

/// Brings in line what may have changed, or been left half-done, while no controller ran.
async fn settle(state: &AppState) -> anyhow::Result<()> {
    let settled = apps::settle_hostnames(state).await;
    settled
        .map_err(|problem| anyhow::anyhow!(problem))
        .context("set built-in hostnames")?;
    let mut tx = state.store.write().await?;
    let apps: HashSet<_> = store::apps::all(&mut tx)
        .await?
        .iter()
        .map(|app| app.id)
        .collect();
    store::events::number_all(&mut tx).await?;
    store::tokens::delete_expired(&mut tx, now()).await?;
    tx.commit().await?;
    state
        .logs
        .retain(&apps)
        .context("remove logs of apps that are gone")
}

/// Makes sure that the machines that were given a credential are part of the cluster: nobody else
/// lets them in.
async fn settle_nodes(store: &Store, config: &Config) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    nodes::settle_ids(&mut tx).await?;
    let known: HashSet<_> = nodes::all(&mut tx)
        .await?
        .into_iter()
        .map(|row| row.name)
        .collect();
    for credential in &config.role_credentials {
        if let Role::Node(name) = &credential.role
            && !known.contains(name)
        {
            nodes::insert(&mut tx, NodeId::generate(), name, now()).await?;
        }
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::Controller;
    use crate::testing::config;

    #[tokio::test]
    async fn a_data_folder_has_one_controller_and_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir);
        config.data_dir = dir.path().join("deep/data");
        let first = Controller::bind(config.clone()).await.unwrap();
        let mode = std::fs::metadata(&config.data_dir)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        let refused = Controller::bind(config.clone()).await.unwrap_err();
        assert!(
            refused.to_string().contains("another controller"),
            "{refused}"
        );
        drop(first);
        Controller::bind(config).await.unwrap();
    }
}
