//! Everything that decides what should run, read at one moment: the database in one snapshot, and
//! over it what agents and routers reported last.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    build_orders::BuiltImage,
    checks::STARTUP_DEADLINE_SECS_DEFAULT,
    dynos::RUN_TTL_SECS_MAX,
    ids::{AppId, DeploymentId, PodId, ReleaseId},
    names::{NodeName, ProcessType, SizeName},
    pods::PodStatus,
    sizes::{self, SIZE_DEFAULT},
};
use fairway_scheduler::snapshot::{
    App, Deployment, Facts, Node, NodeState, Pod, PodIntent, PodKind, Release, ReleaseType, Router,
    Routers, Snapshot, Want,
};

use super::specs::Specs;
use crate::{
    deploy::spec::web_port,
    observed::before,
    orchestrator::{NodeSeen, Observation, Orchestrator},
    routing::Edge,
    state::AppState,
    store::{
        Db, StoreError, apps,
        apps::AppRow,
        deployments::{self, DeploymentRow},
        domains, formation,
        nodes::{self, NodeIntent, NodeRow},
        pods::{self, PodRow},
        releases::ReleaseRow,
    },
};

/// The longest that a one-off pod may live. Its own time to live, which is sealed, is its agent's to
/// keep.
const ONE_OFF_LIFE_MAX: TimeDelta = TimeDelta::seconds(RUN_TTL_SECS_MAX as i64);

/// The planner's input, and beside it what the pass needs to carry the plan out.
#[derive(Debug)]
pub(super) struct World {
    snapshot: Option<Snapshot>,
    pub(super) edge: Edge,
    pub(super) apps: BTreeMap<AppId, AppRow>,
    pub(super) pods: BTreeMap<PodId, PodRow>,
    pub(super) deployments: BTreeMap<DeploymentId, DeploymentRow>,
    pub(super) releases: HashMap<ReleaseId, Arc<ReleaseRow>>,
    pub(super) nodes: BTreeMap<NodeName, NodeRow>,
    pub(super) seen: Observation,
    /// Statuses that are not what the database has.
    pub(super) news: Vec<(PodId, PodStatus)>,
}

impl World {
    /// The planner's input. It is taken once.
    pub(super) fn take_snapshot(&mut self) -> Snapshot {
        self.snapshot.take().expect("a world is planned once")
    }
}

/// Reads everything.
pub(super) async fn load(
    state: &AppState,
    specs: &mut Specs,
    routes_generation: u64,
    now: DateTime<Utc>,
) -> Result<World, StoreError> {
    let seen = state.cluster.observe();
    let mut tx = state.store.read().await?;
    let nodes = nodes::all(&mut tx).await?;
    let mut world = World {
        snapshot: None,
        edge: Edge::default(),
        apps: apps::all(&mut tx)
            .await?
            .into_iter()
            .map(|app| (app.id, app))
            .collect(),
        pods: pods::all(&mut tx)
            .await?
            .into_iter()
            .map(|pod| (pod.id, pod))
            .collect(),
        deployments: deployments::open(&mut tx)
            .await?
            .into_iter()
            .map(|it| (it.id, it))
            .collect(),
        releases: HashMap::new(),
        nodes: nodes
            .into_iter()
            .map(|node| (node.name.clone(), node))
            .collect(),
        seen,
        news: vec![],
    };
    load_releases(&mut tx, &mut world, specs).await?;
    let mut apps = world_apps(&world);
    for row in formation::all(&mut tx).await? {
        if let Some(app) = apps.get_mut(&row.app) {
            let want = Want {
                quantity: row.quantity,
                size: row.size,
            };
            app.formation.insert(row.process_type, want);
        }
    }
    for domain in domains::all(&mut tx).await? {
        world.edge.hostnames.insert(domain.hostname, domain.app);
    }
    drop(tx);
    world.edge.maintenance = world
        .apps
        .values()
        .map(|app| (app.id, app.maintenance))
        .collect();
    place_pods(&mut apps, &mut world);
    world.snapshot = Some(Snapshot {
        apps,
        nodes: world_nodes(&world),
        routers: world_routers(state, now),
        routes_generation,
        policy: state.config.placement.clone(),
    });
    Ok(world)
}

/// The releases that pods run, that serve, or that apps are on their way to.
async fn load_releases(
    db: &mut Db,
    world: &mut World,
    specs: &mut Specs,
) -> Result<(), StoreError> {
    let serving = world.apps.values().filter_map(|app| app.current_release);
    let underway = world
        .deployments
        .values()
        .map(|deployment| deployment.release);
    let running = world.pods.values().map(|pod| pod.release);
    let needed: Vec<ReleaseId> = serving.chain(underway).chain(running).collect();
    for id in needed {
        if !world.releases.contains_key(&id) {
            let release = specs.release(db, id).await?;
            if let Some(image) = &release.image {
                world.edge.ports.insert(id, web_port(image));
            }
            world.releases.insert(id, release);
        }
    }
    Ok(())
}

fn world_apps(world: &World) -> BTreeMap<AppId, App> {
    let mut apps: BTreeMap<AppId, App> = world
        .apps
        .values()
        .map(|row| {
            let app = App {
                id: row.id,
                name: row.name.clone(),
                current: row.current_release,
                releases: BTreeMap::new(),
                formation: BTreeMap::new(),
                placements: BTreeMap::new(),
                deployments: vec![],
                pods: BTreeMap::new(),
            };
            (row.id, app)
        })
        .collect();
    for row in world.releases.values() {
        if let Some(app) = apps.get_mut(&row.app) {
            let types = row.image.as_ref().map(release_types).unwrap_or_default();
            app.releases.insert(
                row.id,
                Release {
                    id: row.id,
                    version: row.version,
                    types,
                },
            );
        }
    }
    for row in world.deployments.values() {
        if let Some(app) = apps.get_mut(&row.app) {
            app.deployments.push(Deployment {
                id: row.id,
                release: row.release,
                from_push: row.build.is_some(),
                state: row.state.clone(),
                deadline_at: row.deadline_at,
            });
        }
    }
    apps
}

/// Process types with the count and size that app.json asks for, else one web pod and none of the
/// others.
fn release_types(image: &BuiltImage) -> BTreeMap<ProcessType, ReleaseType> {
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
            (
                name.clone(),
                ReleaseType {
                    initial,
                    startup_deadline_secs,
                    placement: Arc::new(asked.map(|it| it.placement.clone()).unwrap_or_default()),
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

/// Puts the pods into their apps, each with the newest that is known of it.
fn place_pods(apps: &mut BTreeMap<AppId, App>, world: &mut World) {
    for row in world.pods.values() {
        let Some(app) = apps.get_mut(&row.app) else {
            continue;
        };
        let seen = row
            .node
            .as_ref()
            .and_then(|node| world.seen.nodes.get(node));
        // Only the machine that a pod is bound to can say anything about it.
        let reported = seen.and_then(|seen| seen.pod(row.id));
        if let Some(status) = reported.filter(|status| row.status.as_ref() != Some(status)) {
            world.news.push((row.id, status.clone()));
        }
        let pod = Pod {
            id: row.id,
            release: row.release,
            kind: row.kind,
            process_type: row.process_type.clone(),
            ordinal: row.ordinal,
            name: row.name.clone(),
            size: row.size.clone(),
            node: row.node.clone(),
            unplaced: row.unplaced.clone(),
            intent: row.intent,
            stop_at: (row.kind == PodKind::Run).then(|| row.created_at + ONE_OFF_LIFE_MAX),
            status: reported.cloned().or_else(|| row.status.clone()),
            gone: is_gone(row, seen, &world.nodes),
            created_at: row.created_at,
        };
        app.pods.insert(row.id, pod);
    }
}

/// True when the pod's machine obeyed the order to stop it, or is no machine of this cluster.
fn is_gone(row: &PodRow, seen: Option<&NodeSeen>, nodes: &BTreeMap<NodeName, NodeRow>) -> bool {
    let Some(node) = &row.node else { return false };
    match seen {
        Some(seen) => {
            row.intent == PodIntent::Stopping && seen.up_to_date && seen.pod(row.id).is_none()
        }
        None => !nodes.contains_key(node),
    }
}

fn world_nodes(world: &World) -> BTreeMap<NodeName, Node> {
    let names = world.nodes.keys().chain(world.seen.nodes.keys());
    names
        .map(|name| {
            let (row, seen) = (world.nodes.get(name), world.seen.nodes.get(name));
            let lost = seen.map_or(world.seen.silence_counts, |seen| seen.lost);
            let state = match row.map(|row| row.intent) {
                _ if lost => NodeState::Lost,
                None | Some(NodeIntent::Ready) => NodeState::Ready,
                Some(NodeIntent::Cordoned) => NodeState::Cordoned,
                Some(NodeIntent::Draining) => NodeState::Draining,
            };
            let capacity = seen
                .map(NodeSeen::capacity)
                .or_else(|| row.and_then(|row| row.capacity.as_ref()));
            let facts = Facts {
                architecture: capacity.and_then(|it| it.architecture.parse().ok()),
                ..Facts::default()
            };
            let node = Node {
                state,
                capacity: capacity.map(|capacity| capacity.resources),
                facts: Arc::new(facts),
            };
            (name.clone(), node)
        })
        .collect()
}

fn world_routers(state: &AppState, now: DateTime<Utc>) -> Routers {
    let reports = &state.routers.reports;
    let seen = reports.all().into_iter().map(|(name, aged)| {
        let router = Router {
            reported_at: before(now, aged.age),
            generation: aged.report.generation,
            draining: aged.report.draining,
        };
        (name, router)
    });
    Routers {
        seen: seen.collect(),
        observing_since: before(now, reports.age()),
    }
}
