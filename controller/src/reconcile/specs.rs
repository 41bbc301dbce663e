//! From pods to the orders for machines. Everything cached here is immutable: a release, a version
//! of config vars, the spec of a pod.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::Context;
use fairway_api::{
    config_vars::ConfigVars,
    ids::{AppId, PodId, ReleaseId},
    images::ImageRef,
    pods::PodSpec,
    releases::ReleaseStatus,
};
use fairway_scheduler::snapshot::{App, Pod, PodIntent, Snapshot};

use super::load::World;
use crate::{
    config_vars::{self, ConfigVarsError},
    deploy::{
        one_off::OneOff,
        spec::{Runs, pod_spec},
    },
    orchestrator::{Intent, NodeIntent},
    state::AppState,
    store::{
        Db, StoreError,
        page::Page,
        releases::{self, ReleaseRow},
    },
};

/// How many different images of an app stay on the machines that run it, for rollbacks that need
/// no pull: the one that serves and those before it.
const IMAGES_KEPT_PER_APP: usize = 3;
/// How many releases are looked through for them; config changes share an image.
const RELEASES_LOOKED_THROUGH: u32 = 20;

/// The caches.
#[derive(Debug, Default)]
pub(super) struct Specs {
    releases: HashMap<ReleaseId, Arc<ReleaseRow>>,
    configs: HashMap<(AppId, u64), Arc<ConfigVars>>,
    pods: HashMap<PodId, PodSpec>,
    /// By app: which release served when the list was made.
    kept_images: HashMap<AppId, (ReleaseId, Vec<ImageRef>)>,
}

impl Specs {
    /// A release, for what never changes of it: its status here may be an old one.
    pub(super) async fn release(
        &mut self,
        db: &mut Db,
        id: ReleaseId,
    ) -> Result<Arc<ReleaseRow>, StoreError> {
        if let Some(release) = self.releases.get(&id) {
            return Ok(Arc::clone(release));
        }
        let release = Arc::new(releases::get(db, id).await?);
        self.releases.insert(id, Arc::clone(&release));
        Ok(release)
    }

    /// What each machine should run once a plan is carried out.
    pub(super) async fn intent(
        &mut self,
        state: &AppState,
        world: &World,
        after: &Snapshot,
    ) -> anyhow::Result<Intent> {
        let nodes = after
            .nodes
            .keys()
            .map(|node| (node.clone(), NodeIntent::default()));
        let mut intent = Intent {
            nodes: nodes.collect(),
        };
        for app in after.apps.values() {
            let kept = self.kept_images(state, app).await?;
            for pod in app
                .pods
                .values()
                .filter(|pod| pod.intent != PodIntent::Stopping)
            {
                let Some(node) = &pod.node else { continue };
                let Some(spec) = self.spec(state, world, app, pod).await? else {
                    continue;
                };
                let orders = intent.nodes.entry(node.clone()).or_default();
                orders.pods.push(spec);
                for image in &kept {
                    if !orders.keep_images.contains(image) {
                        orders.keep_images.push(image.clone());
                    }
                }
            }
        }
        self.forget(world, after);
        Ok(intent)
    }

    /// The spec of a pod; `None`, and a line in the log, if its secrets cannot be opened.
    async fn spec(
        &mut self,
        state: &AppState,
        world: &World,
        app: &App,
        pod: &Pod,
    ) -> anyhow::Result<Option<PodSpec>> {
        if let Some(spec) = self.pods.get(&pod.id) {
            return Ok(Some(spec.clone()));
        }
        let Some(release) = world.releases.get(&pod.release) else {
            return Ok(None);
        };
        let config = self.config(state, app.id, release.config_version).await?;
        let one_off = world.pods.get(&pod.id).and_then(|row| row.one_off.as_ref());
        let opened = one_off
            .map(|sealed| OneOff::open(sealed, &state.secrets, pod.id))
            .transpose();
        let (Some(config), Ok(one_off)) = (config, opened) else {
            tracing::error!(pod = %pod.id, "a pod cannot run: its secrets do not open");
            return Ok(None);
        };
        let one_off = one_off.as_ref();
        let runs = Runs {
            app: app.id,
            app_name: &app.name,
            release,
            config: &config,
            one_off,
        };
        let Some(spec) = pod_spec(pod, &runs) else {
            return Ok(None);
        };
        self.pods.insert(pod.id, spec.clone());
        Ok(Some(spec))
    }

    /// Decrypted config vars; `None` if they do not open.
    async fn config(
        &mut self,
        state: &AppState,
        app: AppId,
        version: u64,
    ) -> anyhow::Result<Option<Arc<ConfigVars>>> {
        if let Some(config) = self.configs.get(&(app, version)) {
            return Ok(Some(Arc::clone(config)));
        }
        let mut tx = state.store.read().await?;
        match config_vars::load(&state.secrets, &mut tx, app, version).await {
            Ok(config) => {
                let config = Arc::new(config);
                self.configs.insert((app, version), Arc::clone(&config));
                Ok(Some(config))
            }
            Err(ConfigVarsError::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%app, version, "cannot open config vars: {:#}", anyhow::Error::from(error));
                Ok(None)
            }
        }
    }

    /// Images of the app's newest live releases. Empty for an app that runs nothing.
    async fn kept_images(&mut self, state: &AppState, app: &App) -> anyhow::Result<Vec<ImageRef>> {
        let Some(current) = app.current else {
            return Ok(vec![]);
        };
        if let Some((made_for, images)) = self.kept_images.get(&app.id)
            && *made_for == current
        {
            return Ok(images.clone());
        }
        let mut tx = state.store.read().await?;
        let page = Page::newest("releases.version", RELEASES_LOOKED_THROUGH);
        let newest = releases::list(&mut tx, app.id, &page)
            .await
            .context("list releases")?;
        let mut images: Vec<ImageRef> = Vec::new();
        for release in newest {
            // The flip that this pass is about to write is not in the database yet.
            let live = release.status == ReleaseStatus::Succeeded || release.id == current;
            if let Some(built) = release.image.filter(|_| live)
                && !images.contains(&built.image)
                && images.len() < IMAGES_KEPT_PER_APP
            {
                images.push(built.image);
            }
        }
        self.kept_images.insert(app.id, (current, images.clone()));
        Ok(images)
    }

    /// Drops what nothing refers to any more.
    fn forget(&mut self, world: &World, after: &Snapshot) {
        let pods = after.apps.values().flat_map(|app| app.pods.keys().copied());
        let pods: HashSet<PodId> = pods.collect();
        self.pods.retain(|id, _| pods.contains(id));
        self.releases
            .retain(|id, _| world.releases.contains_key(id));
        let releases = world.releases.values();
        let configs: HashSet<_> = releases.map(|it| (it.app, it.config_version)).collect();
        self.configs.retain(|key, _| configs.contains(key));
        self.kept_images
            .retain(|app, _| after.apps.contains_key(app));
    }
}
