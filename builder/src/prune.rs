//! Removes what builds and pushes left behind and nobody needs any more: repositories and caches of
//! destroyed apps, and images that builds made in the container engine.
//!
//! What may go is the controller's word alone ([`Wanted`]); when it does not answer, nothing is
//! removed, but for caches from a disk that is short. What is in use here, by a push or by a build, is left for the next pass. A crash in the
//! middle leaves things half-removed under names that nobody looks for, and the next pass goes on.

mod images;
mod pressure;

use std::{fs, sync::Arc, time::Duration};

use anyhow::Context as _;
use fairway_api::{
    client::{Client, Pace, Passed},
    disk::DiskReserve,
    ids::AppId,
    wanted::{Fate, Wanted},
};

use crate::{
    build::BuildTools,
    receive::{pushes::Pushes, repositories::Repositories},
};

/// When it is looked. A pass lists two folders and the engine's images.
const PACE: Pace = Pace {
    pause: Duration::from_secs(1),
    every: Duration::from_secs(60 * 60),
};

/// Removes what this builder no longer needs.
pub(crate) struct Pruner {
    pub(crate) client: Client,
    pub(crate) repositories: Arc<Repositories>,
    pub(crate) pushes: Pushes,
    pub(crate) tools: Arc<BuildTools>,
    /// How much of the disk is to stay free.
    pub(crate) reserve: DiskReserve,
}

impl Pruner {
    /// Works for ever.
    pub(crate) async fn run(self) {
        tokio::join!(
            self.client.prune(PACE, || self.told()),
            pressure::watch(Arc::clone(&self.tools), self.reserve),
        );
    }

    async fn told(&self) -> Passed {
        self.pass().await.unwrap_or_else(|error| {
            // The next pass tries again.
            tracing::warn!("cannot remove what destroyed apps left: {error:#}");
            Passed::Done
        })
    }

    async fn pass(&self) -> anyhow::Result<Passed> {
        // Listed before it is asked: what comes to be in between is not touched.
        let repositories = blocking({
            let repositories = Arc::clone(&self.repositories);
            move || repositories.list()
        });
        let repositories = repositories.await.context("list the repositories")?;
        let caches = blocking({
            let tools = Arc::clone(&self.tools);
            move || tools.caches()
        });
        let caches = caches.await.context("list the build caches")?;
        let wanted = self
            .client
            .wanted()
            .await
            .context("ask the controller what is wanted")?;
        let mut busy = false;
        for app in destroyed(repositories, &wanted) {
            busy |= !self.remove_repository(app).await?;
        }
        for app in destroyed(caches, &wanted) {
            busy |= !self.remove_cache(app).await?;
        }
        busy |= images::prune(&self.tools, &self.client).await? == Passed::Busy;
        Ok(if busy { Passed::Busy } else { Passed::Done })
    }

    /// False when somebody pushes to it.
    async fn remove_repository(&self, app: AppId) -> anyhow::Result<bool> {
        if self.pushes.has(app) {
            return Ok(false);
        }
        let repositories = Arc::clone(&self.repositories);
        let removed = blocking(move || repositories.remove(app)).await;
        removed.with_context(|| format!("remove the repository of app {app}"))?;
        tracing::info!(%app, "removed the repository of a destroyed app");
        Ok(true)
    }

    /// False when a build has it.
    async fn remove_cache(&self, app: AppId) -> anyhow::Result<bool> {
        if self.tools.under_way().has(app) {
            return Ok(false);
        }
        let dir = self.tools.cache_dir(app);
        let removed = blocking(move || fs::remove_dir_all(dir)).await;
        removed.with_context(|| format!("remove the build cache of app {app}"))?;
        tracing::info!(%app, "removed the build cache of a destroyed app");
        Ok(true)
    }
}

/// Those of the apps that the controller knows to be destroyed.
fn destroyed(apps: Vec<AppId>, wanted: &Wanted) -> Vec<AppId> {
    let goes = |app: &AppId| wanted.fate(*app) == Fate::Destroyed;
    apps.into_iter().filter(goes).collect()
}

/// Thousands of files: not on a thread that others wait for.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(std::io::Error::other).flatten()
}
