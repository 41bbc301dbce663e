//! What the agent sees of its pods, in one place: pod tasks write their own entry, the report and
//! the ledger read.

use std::{collections::BTreeMap, sync::Arc};

use fairway_api::{ids::PodId, pods::PodStatus};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{ledger::Ledger, pod::Record};

/// The ledger's name for the records.
pub(crate) const PODS_FILE: &str = "pods";

/// All pods as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Board {
    /// Of the plan that is being worked on; 0 before the first.
    pub(crate) generation: u64,
    pub(crate) pods: BTreeMap<PodId, Record>,
    /// The engine has been looked at since the agent started; before that, a report would be a
    /// guess.
    #[serde(skip)]
    pub(crate) looked: bool,
}

impl Board {
    /// What the controller is told.
    pub(crate) fn statuses(&self) -> Vec<PodStatus> {
        self.pods
            .values()
            .map(|record| record.status.clone())
            .collect()
    }
}

/// The writing end.
#[derive(Debug, Clone)]
pub(crate) struct BoardWriter(Arc<watch::Sender<Board>>);

impl BoardWriter {
    pub(crate) fn new(board: Board) -> Self {
        Self(Arc::new(watch::Sender::new(board)))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Board> {
        self.0.subscribe()
    }

    pub(crate) fn read(&self) -> Board {
        self.0.borrow().clone()
    }

    /// Writes one pod's entry; readers wake only if it differs.
    pub(crate) fn put(&self, record: &Record) {
        self.0.send_if_modified(|board| {
            let old = board.pods.insert(record.status.id, record.clone());
            old.as_ref() != Some(record)
        });
    }

    /// The pod has left the machine.
    pub(crate) fn remove(&self, pod: PodId) {
        self.0
            .send_if_modified(|board| board.pods.remove(&pod).is_some());
    }

    /// Changes several things as one: a report must not name a generation without its pods.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Board)) {
        self.0.send_modify(change);
    }
}

/// Keeps the ledger's copy current until `board` closes. Written without waiting for the disk:
/// after a power cut no container runs, and then there is nothing to take up again.
pub(crate) async fn remember(ledger: Arc<Ledger>, mut board: watch::Receiver<Board>) {
    loop {
        let now = board.borrow_and_update().clone();
        if let Err(error) = ledger.save(PODS_FILE, &now) {
            tracing::error!("cannot remember the pods: {:#}", anyhow::Error::from(error));
        }
        if board.changed().await.is_err() {
            return;
        }
    }
}
