//! A controller as its process starts and runs it.

use std::{fs, path::Path};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::{
    attach::Rendezvous,
    auth::{Logins, Roles},
    builds::{self, Leases},
    config::Config,
    http,
    logs::{app_logs::AppLogs, build_output::BuildOutputs},
    secrets::Secrets,
    state::{AppState, Parts},
    store::Store,
    wake::{Bell, Wake},
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
        let folder = |path: &Path| {
            fs::create_dir_all(path).with_context(|| format!("make the folder {}", path.display()))
        };
        folder(data)?;
        let database = data.join("fairway.db");
        let secrets = Secrets::open(&data.join("master.key"), database.exists())?;
        let store = Store::open(&database)
            .await
            .with_context(|| format!("open the database {}", database.display()))?;
        let logs = AppLogs::open(&data.join("logs")).context("open the folder of logs")?;
        let build_output =
            BuildOutputs::open(&data.join("builds")).context("open the folder of build outputs")?;
        let state = AppState::new(Parts {
            store,
            secrets,
            logs,
            build_output,
            attach: Rendezvous::default(),
            wake: Wake::default(),
            builds_changed: Bell::default(),
            leases: Leases::default(),
            roles: Roles::new(&config.role_credentials),
            logins: Logins::default(),
            config,
        });
        Ok(Self { state })
    }

    /// The public and the internal API, without a fallback, so that other routers can be merged
    /// with it; see [`crate::not_found`].
    pub fn router(&self) -> axum::Router {
        http::router(self.state.clone())
    }

    /// What handlers and loops share; for tests and for parts of the same process.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Runs the loops until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        builds::sweep(&self.state, &shutdown).await;
        self.state.store.close().await;
        Ok(())
    }
}
