//! Notices: "look again". They carry no data but where to look, so that doubling one does no harm;
//! whoever waits reads the truth from the store.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fairway_api::{ids::AppId, names::NodeName};
use tokio::sync::{Notify, watch};

/// Wakes the one reconcile loop. A notice that comes while it works is kept until it waits again.
///
/// A notice names what to read again. The loop remembers everything else, so one that is forgotten
/// shows only when the loop reads the app again by itself, minutes later.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Noticed>);

#[derive(Debug, Default)]
struct Noticed {
    notify: Notify,
    changed: Mutex<Changed>,
}

/// What is to be read again from the store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    pub apps: BTreeSet<AppId>,
    /// What operators ask of machines.
    pub nodes: bool,
    /// Volumes that machines are to remove.
    pub volumes: bool,
    /// Machines that need orders with a higher number.
    pub orders: BTreeSet<NodeName>,
    /// Pods are to move to better machines for a while.
    pub rebalance: bool,
}

impl Wake {
    /// Something of this app has changed. Call it after the commit.
    pub fn app(&self, id: AppId) {
        self.note(|changed| {
            changed.apps.insert(id);
        });
    }

    /// What is asked of a machine has changed. Call it after the commit.
    pub fn nodes(&self) {
        self.note(|changed| changed.nodes = true);
    }

    /// Machines are to remove volumes, or have removed them. Call it after the commit.
    pub fn volumes(&self) {
        self.note(|changed| changed.volumes = true);
    }

    /// Somebody wants pods to move to better machines.
    pub fn rebalance(&self) {
        self.note(|changed| changed.rebalance = true);
    }

    /// A machine has newer orders than this controller gave out.
    pub fn orders(&self, node: &NodeName) {
        self.note(|changed| {
            changed.orders.insert(node.clone());
        });
    }

    /// A machine or a router reported something new.
    pub fn reported(&self) {
        self.note(|_| ());
    }

    /// Waits for a notice.
    pub async fn notified(&self) {
        self.0.notify.notified().await;
    }

    /// What has changed since the last call. Read it from the store after this call.
    pub fn take(&self) -> Changed {
        std::mem::take(&mut *self.changed())
    }

    fn note(&self, note: impl FnOnce(&mut Changed)) {
        note(&mut self.changed());
        self.0.notify.notify_one();
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.0
            .changed
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// Wakes everybody who waits for a kind of thing: long polls and followers.
#[derive(Debug, Clone)]
pub struct Bell(watch::Sender<()>);

/// One waiter of a [`Bell`].
#[derive(Debug)]
pub struct Ear(watch::Receiver<()>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Bell {
    /// Something has changed.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Starts to listen. Do it before reading what may change, or a notice can be missed.
    pub fn listen(&self) -> Ear {
        Ear(self.0.subscribe())
    }
}

impl Ear {
    /// Waits until the bell has rung since the last call, or for `limit`. True when it rang.
    pub async fn heard_within(&mut self, limit: Duration) -> bool {
        matches!(
            tokio::time::timeout(limit, self.0.changed()).await,
            Ok(Ok(()))
        )
    }
}
