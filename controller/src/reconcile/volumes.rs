//! What each machine is to do with volumes besides mounting them.

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::{
    ids::{AppId, VolumeId},
    names::NodeName,
    volumes::{VolumeOrder, VolumeTask},
};
use fairway_scheduler::snapshot::{App, Pod};

use super::{load::Known, world::World};
use crate::{
    store::{Db, StoreError, volumes as rows},
    volumes,
};

/// What the loop remembers of it.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    /// Apps with a volume that something is being done to.
    working: BTreeSet<AppId>,
    removed: BTreeMap<NodeName, Vec<VolumeId>>,
}

impl Volumes {
    /// The machines that work on an app's volumes.
    pub(super) fn machines(&self, apps: &BTreeMap<AppId, Known>, app: AppId) -> Vec<NodeName> {
        if !self.working.contains(&app) {
            return vec![];
        }
        let rows = apps.get(&app).map(|known| &known.volumes);
        let rows = rows.into_iter().flat_map(|rows| rows.values());
        rows.filter_map(machine).collect()
    }
}

impl World {
    /// Reads what machines have to remove.
    pub(super) async fn load_removed_volumes(&mut self, db: &mut Db) -> Result<(), StoreError> {
        let mut removed: BTreeMap<NodeName, Vec<VolumeId>> = BTreeMap::new();
        for row in rows::removed(db).await? {
            removed.entry(row.node).or_default().push(row.volume);
        }
        for ids in removed.values_mut() {
            ids.sort_unstable();
        }
        if removed != self.volumes.removed {
            let before = std::mem::replace(&mut self.volumes.removed, removed);
            let machines = before.keys().chain(self.volumes.removed.keys());
            self.news.orders.extend(machines.cloned());
        }
        Ok(())
    }

    /// An app is as it now stands in the database.
    pub(super) fn note_work(&mut self, id: AppId, known: &Known) {
        // A machine that was at work may have to hear that it no longer is.
        self.note_work_orders(id);
        let mut volumes = known.volumes.values();
        if volumes.any(|row| row.work.is_some()) {
            self.volumes.working.insert(id);
        } else {
            self.volumes.working.remove(&id);
        }
        let machines = known.volumes.values().filter_map(machine);
        self.news.orders.extend(machines);
    }

    pub(super) fn forget_work(&mut self, id: AppId) {
        self.note_work_orders(id);
        self.volumes.working.remove(&id);
    }

    /// Notes that machines which work on an app's volumes may get other orders.
    pub(super) fn note_work_orders(&mut self, app: AppId) {
        let machines = self.volumes.machines(&self.apps, app);
        self.news.orders.extend(machines);
    }

    /// What a machine is to do. Work waits until no pod has the volume; the planner sees to it that
    /// none does.
    pub(super) fn volume_orders(&self, node: &NodeName) -> Vec<VolumeOrder> {
        let removed = self.volumes.removed.get(node).into_iter().flatten();
        let remove = |id: &VolumeId| VolumeOrder {
            volume: *id,
            task: VolumeTask::Remove,
        };
        let mut orders: Vec<VolumeOrder> = removed.map(remove).collect();
        let apps = &self.planner.snapshot().apps;
        for id in &self.volumes.working {
            let (Some(app), Some(known)) = (apps.get(id), self.apps.get(id)) else {
                continue;
            };
            for row in known.volumes.values() {
                if let Some((at, task)) = volumes::task_of(row)
                    && at == *node
                    && !is_held(app, row.id)
                {
                    let volume = row.id;
                    orders.push(VolumeOrder { volume, task });
                }
            }
        }
        orders
    }
}

impl Known {
    /// Takes over where volumes are.
    pub(super) fn follow_volumes(&mut self, app: &App) {
        for (id, row) in &mut self.volumes {
            if let Some(volume) = app.volumes.get(id) {
                row.node.clone_from(&volume.node);
            }
        }
    }
}

/// The machine that works on a volume.
fn machine(row: &rows::VolumeRow) -> Option<NodeName> {
    volumes::task_of(row).map(|(node, _)| node)
}

fn is_held(app: &App, id: VolumeId) -> bool {
    let holds = |pod: &&Pod| pod.node.is_some() && pod.holds();
    let mut pods = app.pods.values().filter(holds);
    pods.any(|pod| app.volumes_of(pod).any(|(held, _)| held == id))
}
