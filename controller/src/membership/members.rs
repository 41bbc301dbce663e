//! Which certificates still count: the machines of the cluster by id, in memory, since every call
//! of every agent asks.

use std::{
    collections::HashMap,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use fairway_api::{ids::NodeId, names::NodeName};

use crate::store::{Store, StoreError, nodes};

/// The machines of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Members(RwLock<HashMap<NodeId, Member>>);

/// What a machine may do.
#[derive(Debug)]
struct Member {
    name: NodeName,
    may_route: bool,
}

impl Members {
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let rows = nodes::all(&mut *store.read().await?).await?;
        let members = rows.into_iter().map(|row| {
            let may_route = row.may_route();
            let name = row.name;
            (row.id, Member { name, may_route })
        });
        Ok(Self(RwLock::new(members.collect())))
    }

    /// True when the machine with this id is part of the cluster under this name.
    pub(crate) fn has(&self, id: NodeId, name: &NodeName) -> bool {
        self.read().get(&id).is_some_and(|it| it.name == *name)
    }

    /// True when a router may run on the machine.
    pub(crate) fn may_route(&self, id: NodeId) -> bool {
        self.read().get(&id).is_some_and(|it| it.may_route)
    }

    /// Call it after the commit that made a machine part of the cluster, or let it come back.
    pub(crate) fn add(&self, id: NodeId, name: NodeName) {
        let mut members = self.write();
        let may_route = members.get(&id).is_some_and(|it| it.may_route);
        members.insert(id, Member { name, may_route });
    }

    /// Call it after the commit that let a router run on a machine, or does not any more.
    pub(crate) fn let_route(&self, id: NodeId, may_route: bool) {
        if let Some(member) = self.write().get_mut(&id) {
            member.may_route = may_route;
        }
    }

    /// Call it after the commit that removed a machine.
    pub(crate) fn remove(&self, id: NodeId) {
        self.write().remove(&id);
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<NodeId, Member>> {
        self.0
            .read()
            .expect("no code panics while it holds this lock")
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<NodeId, Member>> {
        self.0
            .write()
            .expect("no code panics while it holds this lock")
    }
}
