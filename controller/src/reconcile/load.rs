//! Apps as the database has them, in the planner's words, and beside them what the planner does
//! not need to know.

mod jobs;
mod volumes;

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    build_orders::BuiltImage,
    checks::STARTUP_DEADLINE_SECS_DEFAULT,
    dynos::RUN_TTL_SECS_MAX,
    ids::{AppId, DeploymentId, PodId, ReleaseId, RunId, VolumeId},
    names::{Hostname, ProcessType, SizeName},
    network::Admission,
    placement::Placement,
    reach::NetworkRule,
    sizes::{self, Resources, SIZE_DEFAULT},
};
use fairway_scheduler::snapshot::{App, Deployment, PodKind, Release, ReleaseType, Want};

pub(super) use self::jobs::KnownRun;
use self::jobs::{cron, known_run, remembered};
use super::specs::Specs;
use crate::{
    deploy::spec::{company, requests_port},
    features::affinity,
    network::Reach,
    routing::Edge,
    secrets::Secrets,
    store::{
        Db, StoreError,
        apps::{self, AppRow},
        autoscale::{self, AutoscaleRow},
        deployments::{self, DeploymentRow},
        domains, features,
        formation::{self, FormationRow},
        jobs::{self as stored_jobs, JobRow},
        network,
        placements::{self, PlacementRow},
        pods::{self, PodRow},
        releases::{ReleaseMount, ReleaseRow},
        runs::{self, RunRow, Taken},
        volumes::{self as stored_volumes, VolumeRow},
    },
};

/// The longest that a one-off pod may live. Its own time to live, which is sealed, is its agent's to
/// keep.
const ONE_OFF_LIFE_MAX: TimeDelta = TimeDelta::seconds(RUN_TTL_SECS_MAX as i64);

/// What is known of an app besides what the planner sees.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) row: AppRow,
    /// Those that have not ended.
    pub(super) deployments: BTreeMap<DeploymentId, DeploymentRow>,
    /// The releases that pods run, that serve, or that the app is on its way to.
    pub(super) releases: BTreeMap<ReleaseId, Arc<ReleaseRow>>,
    /// What only one-off pods have, sealed.
    pub(super) one_offs: BTreeMap<PodId, String>,
    pub(super) volumes: BTreeMap<VolumeId, VolumeRow>,
    /// Runs that have not ended.
    pub(super) runs: BTreeMap<RunId, KnownRun>,
    pub(super) edge: Edge,
    pub(super) reach: Reach,
}

impl Known {
    /// Takes over the states of deployments, and forgets those that have ended.
    pub(super) fn follow(&mut self, app: &App, now: DateTime<Utc>) {
        for deployment in &app.deployments {
            if deployment.state.has_ended() {
                self.deployments.remove(&deployment.id);
            } else if let Some(row) = self.deployments.get_mut(&deployment.id)
                && row.state != deployment.state
            {
                row.updated_at = now;
                row.state.clone_from(&deployment.state);
                row.deadline_at = deployment.deadline_at;
            }
        }
    }
}

/// The rows that belong to one app.
#[derive(Debug)]
struct Rows {
    app: AppRow,
    pods: Vec<PodRow>,
    deployments: Vec<DeploymentRow>,
    formation: Vec<FormationRow>,
    placements: BTreeMap<ProcessType, Arc<Placement>>,
    hostnames: Vec<Hostname>,
    on_demand: bool,
    affinity: Option<Vec<u8>>,
    reach: Reach,
    jobs: Vec<JobRow>,
    runs: Vec<RunRow>,
    taken: Vec<Taken>,
    volumes: Vec<VolumeRow>,
}

/// Reads every app.
pub(super) async fn all(
    db: &mut Db,
    secrets: &Secrets,
    specs: &mut Specs,
) -> Result<Vec<(App, Known)>, StoreError> {
    let mut rows: BTreeMap<AppId, Rows> = BTreeMap::new();
    for app in apps::all(db).await? {
        rows.insert(app.id, Rows::new(app));
    }
    for pod in pods::all(db).await? {
        if let Some(rows) = rows.get_mut(&pod.app) {
            rows.pods.push(pod);
        }
    }
    for deployment in deployments::open(db).await? {
        if let Some(rows) = rows.get_mut(&deployment.app) {
            rows.deployments.push(deployment);
        }
    }
    for formation in formation::all(db).await? {
        if let Some(rows) = rows.get_mut(&formation.app) {
            rows.formation.push(formation);
        }
    }
    for domain in domains::all(db).await? {
        if let Some(rows) = rows.get_mut(&domain.app) {
            rows.hostnames.push(domain.hostname);
        }
    }
    read_settings(db, secrets, &mut rows).await?;
    for rule in network::rules(db).await? {
        if let Some(rows) = rows.get_mut(&rule.to.id) {
            rows.reach.admits.push(admission(rule));
        }
    }
    for row in network::external_names(db).await? {
        if let Some(rows) = rows.get_mut(&row.app) {
            rows.reach.external.push(row.name);
        }
    }
    for job in stored_jobs::all(db).await? {
        if let Some(rows) = rows.get_mut(&job.app) {
            rows.jobs.push(job);
        }
    }
    for run in runs::open(db).await? {
        if let Some(rows) = rows.get_mut(&run.app) {
            rows.runs.push(run);
        }
    }
    for taken in runs::taken(db, None).await? {
        if let Some(rows) = rows.get_mut(&taken.app) {
            rows.taken.push(taken);
        }
    }
    sort_volumes(db, &mut rows).await?;
    let mut loaded = Vec::with_capacity(rows.len());
    for rows in rows.into_values() {
        loaded.push(rows.assemble(db, specs).await?);
    }
    Ok(loaded)
}

/// Reads the volumes of every app.
async fn sort_volumes(db: &mut Db, rows: &mut BTreeMap<AppId, Rows>) -> Result<(), StoreError> {
    for volume in stored_volumes::all(db).await? {
        if let Some(rows) = rows.get_mut(&volume.app) {
            rows.volumes.push(volume);
        }
    }
    Ok(())
}

/// What people have set besides counts.
async fn read_settings(
    db: &mut Db,
    secrets: &Secrets,
    rows: &mut BTreeMap<AppId, Rows>,
) -> Result<(), StoreError> {
    for row in placements::all(db).await? {
        if let Some(rows) = rows.get_mut(&row.app) {
            rows.place(row);
        }
    }
    for feature in features::all(db).await? {
        if let Some(rows) = rows.get_mut(&feature.app) {
            rows.affinity = affinity(secrets, &[feature]);
        }
    }
    for policy in autoscale::all(db).await? {
        if let Some(rows) = rows.get_mut(&policy.app) {
            rows.on_demand |= policy.is_on_demand();
        }
    }
    Ok(())
}

/// Reads one app; `None` if it was destroyed.
pub(super) async fn one(
    db: &mut Db,
    secrets: &Secrets,
    specs: &mut Specs,
    id: AppId,
) -> Result<Option<(App, Known)>, StoreError> {
    let app = match apps::get(db, id).await {
        Ok(app) => app,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let domains = domains::of_app(db, id).await?;
    let rules = network::rules_of(db, id).await?.into_iter();
    let policies = autoscale::list(db, id).await?;
    let features = features::list(db, id).await?;
    let external = network::external_names_of(db, id).await?;
    let rows = Rows {
        app,
        pods: pods::of_app(db, id).await?,
        deployments: deployments::open_of(db, id).await?,
        formation: formation::list(db, id).await?,
        placements: placements::list(db, id)
            .await?
            .into_iter()
            .map(|row| (row.process_type, Arc::new(row.placement)))
            .collect(),
        hostnames: domains.into_iter().map(|it| it.hostname).collect(),
        on_demand: policies.iter().any(AutoscaleRow::is_on_demand),
        affinity: affinity(secrets, &features),
        reach: Reach {
            admits: rules
                .filter(|rule| rule.to.id == id)
                .map(admission)
                .collect(),
            external: external.into_iter().map(|row| row.name).collect(),
        },
        jobs: stored_jobs::of_app(db, id).await?,
        runs: runs::open_of(db, id).await?,
        taken: runs::taken(db, Some(id)).await?,
        volumes: stored_volumes::of_app(db, id).await?,
    };
    Ok(Some(rows.assemble(db, specs).await?))
}

impl Rows {
    fn place(&mut self, row: PlacementRow) {
        let placement = Arc::new(row.placement);
        self.placements.insert(row.process_type, placement);
    }

    fn new(app: AppRow) -> Self {
        Self {
            app,
            pods: vec![],
            deployments: vec![],
            formation: vec![],
            placements: BTreeMap::new(),
            hostnames: vec![],
            on_demand: false,
            affinity: None,
            reach: Reach::default(),
            jobs: vec![],
            runs: vec![],
            taken: vec![],
            volumes: vec![],
        }
    }

    async fn assemble(self, db: &mut Db, specs: &mut Specs) -> Result<(App, Known), StoreError> {
        let releases = self.releases(db, specs).await?;
        specs.keep_only(self.app.id, &releases);
        let ports = releases.iter().filter_map(|(id, release)| {
            let image = release.image.as_ref()?;
            Some((*id, requests_port(image)))
        });
        let edge = Edge {
            hostnames: self.hostnames,
            maintenance: self.app.maintenance,
            on_demand: self.on_demand,
            affinity: self.affinity.clone(),
            ports: ports.collect::<HashMap<_, _>>(),
        };
        let app = App {
            id: self.app.id,
            name: self.app.name.clone(),
            current: self.app.current_release,
            releases: releases
                .values()
                .map(|row| (row.id, release(row)))
                .collect(),
            placements: self.placements,
            formation: self.formation.into_iter().map(want).collect(),
            deployments: self.deployments.iter().map(deployment).collect(),
            pods: self
                .pods
                .iter()
                .map(|row| {
                    let release = releases.get(&row.release);
                    let image = release.and_then(|release| release.image.as_ref());
                    (row.id, row.known(stop_at(row), sidecars_of(row, image)))
                })
                .collect(),
            jobs: remembered(&self.jobs, &self.runs, &self.taken),
            volumes: self.volumes.iter().map(volumes::planned).collect(),
        };
        let one_offs = self
            .pods
            .into_iter()
            .filter_map(|row| Some((row.id, row.one_off?)));
        let known = Known {
            row: self.app,
            deployments: self.deployments.into_iter().map(|it| (it.id, it)).collect(),
            releases,
            one_offs: one_offs.collect(),
            volumes: self.volumes.into_iter().map(|it| (it.id, it)).collect(),
            runs: self.runs.into_iter().map(known_run).collect(),
            edge,
            reach: self.reach,
        };
        Ok((app, known))
    }

    async fn releases(
        &self,
        db: &mut Db,
        specs: &mut Specs,
    ) -> Result<BTreeMap<ReleaseId, Arc<ReleaseRow>>, StoreError> {
        let underway = self.deployments.iter().map(|deployment| deployment.release);
        let warm = self.deployments.iter().filter_map(|it| it.state.warm());
        let running = self.pods.iter().map(|pod| pod.release);
        let running = running.chain(self.runs.iter().map(|run| run.release));
        let mut releases = BTreeMap::new();
        for id in self
            .app
            .current_release
            .into_iter()
            .chain(underway)
            .chain(warm)
            .chain(running)
        {
            if let Entry::Vacant(unread) = releases.entry(id) {
                unread.insert(specs.release(db, self.app.id, id).await?);
            }
        }
        Ok(releases)
    }
}

fn admission(rule: NetworkRule) -> Admission {
    Admission {
        app: rule.from.id,
        port: rule.port,
    }
}

fn want(row: FormationRow) -> (ProcessType, Want) {
    let want = Want {
        quantity: row.quantity,
        size: row.size,
    };
    (row.process_type, want)
}

/// What the sidecars of a pod take.
fn sidecars_of(row: &PodRow, image: Option<&BuiltImage>) -> Resources {
    let company = company(row.kind, &row.process_type);
    image.map_or_else(Resources::default, |image| {
        image.sidecars.resources(company)
    })
}

fn release(row: &Arc<ReleaseRow>) -> Release {
    let once = row.image.as_ref().map(|it| it.sidecars.resources(None));
    Release {
        id: row.id,
        version: row.version,
        types: row
            .image
            .as_ref()
            .map(|image| release_types(image, &row.mounts))
            .unwrap_or_default(),
        cron: cron(row),
        one_off_sidecars: once.unwrap_or_default(),
    }
}

fn deployment(row: &DeploymentRow) -> Deployment {
    Deployment {
        id: row.id,
        release: row.release,
        from_push: row.build.is_some(),
        strategy: row.strategy.clone(),
        wish: row.wish.clone(),
        state: row.state.clone(),
        deadline_at: row.deadline_at,
    }
}

/// When a one-off pod ends at the latest.
fn stop_at(row: &PodRow) -> Option<DateTime<Utc>> {
    (row.kind == PodKind::Run).then(|| row.created_at + ONE_OFF_LIFE_MAX)
}

/// Process types with the count and size that app.json asks for, else one web pod and none of the
/// others.
fn release_types(
    image: &BuiltImage,
    mounts: &[ReleaseMount],
) -> BTreeMap<ProcessType, ReleaseType> {
    let release_type =
        |(name, process): (&ProcessType, &fairway_api::build_orders::BuiltProcess)| {
            let asked = image.formation.get(name);
            let initial = Want {
                quantity: asked.map_or(u32::from(name.is_web()), |asked| asked.quantity),
                size: size_or_default(asked.and_then(|asked| asked.size.as_deref())),
            };
            let startup_deadline_secs = process
                .checks
                .as_ref()
                .map_or(STARTUP_DEADLINE_SECS_DEFAULT, |checks| {
                    checks.startup_deadline_secs
                });
            // In the worst case each waits for the one before.
            let sidecars = image.sidecars.of(Some(name));
            let startup_deadline_secs = sidecars.fold(startup_deadline_secs, |sum, it| {
                sum.saturating_add(it.checks.startup_deadline_secs)
            });
            (
                name.clone(),
                ReleaseType {
                    initial,
                    startup_deadline_secs,
                    placement: Arc::new(asked.map(|it| it.placement.clone()).unwrap_or_default()),
                    sidecars: image.sidecars.resources(Some(name)),
                    volumes: volumes::of_type(mounts, name),
                },
            )
        };
    image.processes.iter().map(release_type).collect()
}

fn size_or_default(name: Option<&str>) -> SizeName {
    name.and_then(sizes::find)
        .or_else(|| sizes::find(SIZE_DEFAULT))
        .expect("the default size is in the table, as a test of the table says")
        .name
}
