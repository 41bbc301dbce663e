//! From pods to the orders for machines. Everything cached here is immutable: a release, a version
//! of config vars, the spec of a pod.

mod outline;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use anyhow::Context;
use fairway_api::{
    config_vars::ConfigVars,
    ids::{AppId, ReleaseId},
    images::ImageRef,
    names::NodeName,
    pods::PodSpec,
    releases::ReleaseStatus,
};
use fairway_scheduler::snapshot::{App, Pod, PodIntent, PodKind};

use self::outline::Outline;
use super::{load::Known, world::World};
use crate::{
    config_vars::{self, ConfigVarsError},
    deploy::{
        one_off::OneOff,
        spec::{Runs, pod_spec},
    },
    orchestrator::{Intent, NodeIntent},
    runs::Work,
    secrets::SecretsError,
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
    releases: HashMap<AppId, BTreeMap<ReleaseId, Arc<ReleaseRow>>>,
    configs: HashMap<AppId, BTreeMap<u64, Arc<ConfigVars>>>,
    /// By app: which release served when the list was made.
    kept_images: HashMap<AppId, (ReleaseId, Vec<ImageRef>)>,
    /// By machine: what its newest orders were made from.
    told: HashMap<NodeName, Outline>,
}

/// What the orders of machines were made from that are to be told.
#[derive(Debug, Default)]
pub(super) struct Outlines(Vec<(NodeName, Option<Outline>)>);

impl Specs {
    /// A release, for what never changes of it: its status here may be an old one.
    pub(super) async fn release(
        &mut self,
        db: &mut Db,
        app: AppId,
        id: ReleaseId,
    ) -> Result<Arc<ReleaseRow>, StoreError> {
        let of_app = self.releases.entry(app).or_default();
        if let Some(release) = of_app.get(&id) {
            return Ok(Arc::clone(release));
        }
        let release = Arc::new(releases::get(db, id).await?);
        of_app.insert(id, Arc::clone(&release));
        Ok(release)
    }

    /// What these machines should run. Orders are made only where they are others than were told,
    /// or are needed again.
    pub(super) async fn intent(
        &mut self,
        state: &AppState,
        world: &World,
        nodes: &BTreeSet<NodeName>,
    ) -> anyhow::Result<(Intent, Outlines)> {
        let (mut intent, mut outlines) = (Intent::default(), Outlines::default());
        let known = &world.planner.snapshot().nodes;
        for node in nodes.iter().filter(|node| known.contains_key(*node)) {
            let pods = world.planner.pods_on(node);
            let pods: Vec<_> = pods
                .filter(|(_, pod)| pod.intent != PodIntent::Stopping)
                .collect();
            let network = world.network_plan(state, node, pods.iter().map(|(app, _)| app.id));
            let volumes = world.volume_orders(node);
            // What a pod mounts follows from how its app's volumes are, too.
            let mounts = pods.iter().any(|(app, _)| {
                let known = world.apps.get(&app.id);
                known.is_some_and(|known| !known.volumes.is_empty())
            });
            let mut outline = match mounts {
                true => None,
                false => outline::of(&pods, network.as_ref(), &volumes),
            };
            let is_told = outline.is_some() && self.told.get(node) == outline.as_ref();
            if is_told && !state.cluster.needs_orders(node) {
                intent.same.insert(node.clone());
                continue;
            }
            let mut orders = NodeIntent {
                network,
                volumes,
                ..NodeIntent::default()
            };
            for (app, pod) in pods {
                let Some(spec) = self.spec(state, world, app, pod).await? else {
                    outline = None;
                    continue;
                };
                orders.pods.push(spec);
                for image in self.kept_images(state, app).await? {
                    if !orders.keep_images.contains(image) {
                        orders.keep_images.push(image.clone());
                    }
                }
            }
            intent.nodes.insert(node.clone(), orders);
            outlines.0.push((node.clone(), outline));
        }
        Ok((intent, outlines))
    }

    /// Notes what machines were told.
    pub(super) fn note_told(&mut self, outlines: Outlines) {
        for (node, outline) in outlines.0 {
            match outline {
                Some(outline) => self.told.insert(node, outline),
                None => self.told.remove(&node),
            };
        }
    }

    /// The spec of a pod; `None`, and a line in the log, if its secrets cannot be opened.
    async fn spec(
        &mut self,
        state: &AppState,
        world: &World,
        app: &App,
        pod: &Pod,
    ) -> anyhow::Result<Option<PodSpec>> {
        let Some(known) = world.apps.get(&app.id) else {
            return Ok(None);
        };
        let Some(release) = known.releases.get(&pod.release) else {
            return Ok(None);
        };
        let config = self.config(state, app.id, release.config_version).await?;
        let opened = if pod.kind == PodKind::Job {
            work(state, known, release, app, pod)
        } else {
            let sealed = known.one_offs.get(&pod.id);
            sealed
                .map(|sealed| OneOff::open(sealed, &state.secrets, pod.id))
                .transpose()
        };
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
            priority: app.placement(pod).priority,
            volumes: &known.volumes,
            one_off,
        };
        Ok(pod_spec(pod, &runs))
    }

    /// Decrypted config vars; `None` if they do not open.
    async fn config(
        &mut self,
        state: &AppState,
        app: AppId,
        version: u64,
    ) -> anyhow::Result<Option<Arc<ConfigVars>>> {
        let opened = self.configs.entry(app).or_default();
        if let Some(config) = opened.get(&version) {
            return Ok(Some(Arc::clone(config)));
        }
        let mut tx = state.store.read().await?;
        match config_vars::load(&state.secrets, &mut tx, app, version).await {
            Ok(config) => {
                let config = Arc::new(config);
                opened.insert(version, Arc::clone(&config));
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
    async fn kept_images(&mut self, state: &AppState, app: &App) -> anyhow::Result<&[ImageRef]> {
        let Some(current) = app.current else {
            return Ok(&[]);
        };
        let made_for = self.kept_images.get(&app.id).map(|(made_for, _)| *made_for);
        if made_for != Some(current) {
            let images = images_to_keep(state, app.id, current).await?;
            self.kept_images.insert(app.id, (current, images));
        }
        Ok(&self.kept_images[&app.id].1)
    }

    /// Drops releases of an app that are not among these, and config vars that none of these has.
    pub(super) fn keep_only(&mut self, app: AppId, kept: &BTreeMap<ReleaseId, Arc<ReleaseRow>>) {
        if let Some(releases) = self.releases.get_mut(&app) {
            releases.retain(|id, _| kept.contains_key(id));
        }
        if let Some(configs) = self.configs.get_mut(&app) {
            configs.retain(|version, _| kept.values().any(|it| it.config_version == *version));
        }
    }

    /// Drops everything of an app.
    pub(super) fn forget(&mut self, app: AppId) {
        self.configs.remove(&app);
        self.kept_images.remove(&app);
        self.releases.remove(&app);
    }
}

/// What the pod of a job does; `None` for one whose run is over.
fn work(
    state: &AppState,
    known: &Known,
    release: &ReleaseRow,
    app: &App,
    pod: &Pod,
) -> Result<Option<OneOff>, SecretsError> {
    let Some((run, index)) = app.jobs.run_of(pod.id) else {
        return Ok(None);
    };
    let Some(order) = known.runs.get(&run.id) else {
        return Ok(None);
    };
    let (sealed, job) = (order.work.as_deref(), run.job.as_ref());
    let job = job.map(AsRef::as_ref);
    let work = Work::of(sealed, &state.secrets, run.id, job, release)?;
    Ok(work.map(|work| work.for_pod(run, index, order.scheduled_at)))
}

async fn images_to_keep(
    state: &AppState,
    app: AppId,
    current: ReleaseId,
) -> anyhow::Result<Vec<ImageRef>> {
    let mut tx = state.store.read().await?;
    let page = Page::newest("releases.version", RELEASES_LOOKED_THROUGH);
    let newest = releases::list(&mut tx, app, &page)
        .await
        .context("list releases")?;
    let mut images: Vec<ImageRef> = Vec::new();
    let mut beside: Vec<ImageRef> = Vec::new();
    for release in newest {
        // The flip that this pass is about to write is not in the database yet.
        let live = release.status == ReleaseStatus::Succeeded || release.id == current;
        if let Some(built) = release.image.filter(|_| live)
            && !images.contains(&built.image)
            && images.len() < IMAGES_KEPT_PER_APP
        {
            beside.extend(built.sidecars.containers.into_iter().map(|it| it.image));
            images.push(built.image);
        }
    }
    for image in beside {
        if !images.contains(&image) {
            images.push(image);
        }
    }
    Ok(images)
}
