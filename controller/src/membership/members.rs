//! Which certificates still count: the machines of the cluster by id, in memory, since every call
//! of every agent asks.

use std::{collections::HashMap, sync::RwLock};

use fairway_api::{ids::NodeId, names::NodeName};

use crate::store::{Store, StoreError, nodes};

/// The machines of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Members(RwLock<HashMap<NodeId, NodeName>>);

impl Members {
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let rows = nodes::all(&mut *store.read().await?).await?;
        let members = rows.into_iter().map(|row| (row.id, row.name)).collect();
        Ok(Self(RwLock::new(members)))
    }

    /// True when the machine with this id is part of the cluster under this name.
    pub(crate) fn has(&self, id: NodeId, name: &NodeName) -> bool {
        let members = self
            .0
            .read()
            .expect("no code panics while it holds this lock");
        members.get(&id) == Some(name)
    }

    /// Call it after the commit that made a machine part of the cluster.
    pub(crate) fn add(&self, id: NodeId, name: NodeName) {
        let mut members = self
            .0
            .write()
            .expect("no code panics while it holds this lock");
        members.insert(id, name);
    }

    /// Call it after the commit that removed a machine.
    pub(crate) fn remove(&self, id: NodeId) {
        let mut members = self
            .0
            .write()
            .expect("no code panics while it holds this lock");
        members.remove(&id);
    }
}
