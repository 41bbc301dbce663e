//! Volumes as users see them.

use std::collections::{BTreeMap, btree_map::Entry};

use fairway_api::{
    ids::{ReleaseId, VolumeId},
    sizes::Resources,
    volumes::{Volume, VolumeMount},
};
use fairway_scheduler::snapshot::PodKind;

use super::work;
use crate::{
    problem::{Answer, Problem},
    state::AppState,
    store::{
        Db,
        apps::AppRow,
        pods,
        releases::{self, ReleaseMount},
        volumes::{self, VolumeRow},
    },
};

/// Which pods have which volume.
struct Held(BTreeMap<VolumeId, Vec<String>>);

impl Held {
    async fn by_pods_of(db: &mut Db, app: &AppRow) -> Answer<Self> {
        let mut mounts: BTreeMap<ReleaseId, Vec<ReleaseMount>> = BTreeMap::new();
        let mut held: BTreeMap<VolumeId, Vec<String>> = BTreeMap::new();
        for pod in pods::of_app(db, app.id).await? {
            let known = pod.known(None, Resources::default());
            if pod.kind != PodKind::Service || pod.node.is_none() || !known.holds() {
                continue;
            }
            if let Entry::Vacant(unread) = mounts.entry(pod.release) {
                unread.insert(releases::get(db, pod.release).await?.mounts);
            }
            let of_type = mounts[&pod.release]
                .iter()
                .filter(|it| it.process_type == pod.process_type);
            for mount in of_type {
                held.entry(mount.volume).or_default().push(pod.name.clone());
            }
        }
        Ok(Self(held))
    }
}

/// An app's volumes by name.
pub async fn list(state: &AppState, db: &mut Db, app: &AppRow) -> Answer<Vec<Volume>> {
    let rows = volumes::of_app(db, app.id).await?;
    all(state, db, app, rows).await
}

/// One of them, by name or id.
pub async fn find(db: &mut Db, app: &AppRow, which: &str) -> Answer<VolumeRow> {
    let rows = volumes::of_app(db, app.id).await?;
    let mut found = rows
        .into_iter()
        .filter(|row| row.name.as_str() == which || row.id.to_string() == which);
    found.next().ok_or_else(|| {
        Problem::not_found("volume").hint(format!("`app volumes -a {}` lists them.", app.name))
    })
}

pub(super) async fn one(
    state: &AppState,
    db: &mut Db,
    app: &AppRow,
    row: VolumeRow,
) -> Answer<Volume> {
    let mut all = all(state, db, app, vec![row]).await?;
    all.pop().ok_or_else(|| Problem::not_found("volume"))
}

async fn all(
    state: &AppState,
    db: &mut Db,
    app: &AppRow,
    rows: Vec<VolumeRow>,
) -> Answer<Vec<Volume>> {
    let mounts = volumes::mounts_of(db, app.id).await?;
    let Held(mut held) = Held::by_pods_of(db, app).await?;
    let heard = state.cluster.heard();
    let used = |row: &VolumeRow| {
        let node = row.node.as_ref()?;
        let status = &heard.of(node)?.report;
        status
            .volumes
            .as_ref()?
            .iter()
            .find(|it| it.volume == row.id)?
            .used_bytes
    };
    let shown = |row: VolumeRow| Volume {
        used_bytes: used(&row),
        mounts: mounts
            .iter()
            .filter(|it| it.volume == row.id)
            .map(|it| VolumeMount {
                process_type: it.process_type.clone(),
                path: it.path.clone(),
                read_only: it.read_only,
            })
            .collect(),
        pods: held.remove(&row.id).unwrap_or_default(),
        work: row.work.as_ref().map(|it| work::describe(&it.kind)),
        id: row.id,
        app: app.app(),
        name: row.name,
        source: row.source,
        shared: row.shared,
        size_bytes: row.size_bytes,
        node: row.node,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(rows.into_iter().map(shown).collect())
}
