//! Tells the controller what was seen: at once after a change, else as a heartbeat. One report at
//! a time; what changes meanwhile goes into the next.

use std::{sync::Arc, time::Duration};

use fairway_api::{
    client::Client,
    disk::DiskStatus,
    error::ErrorId,
    names::NodeName,
    network::NetworkStatus,
    nodes::{HEARTBEAT_SECS, NodeStatus, StatusAnswer},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    board::{Board, BoardWriter},
    disk::Disk,
    facts::Facts,
    network::Network,
    usage::{self, Usage},
    volumes::{Disks, lease},
};

/// Pause between two tries when the controller is away, in milliseconds, at first and at most.
const AGAIN_MILLIS: (u64, u64) = (100, 2_000);

/// What a report is made of, each as it was seen last.
pub(crate) struct Seen {
    board: watch::Receiver<Board>,
    network: watch::Receiver<NetworkStatus>,
    disk: watch::Receiver<DiskStatus>,
    volumes: Disks,
}

impl Seen {
    pub(crate) fn of(board: &BoardWriter, network: &Network, disk: &Disk, volumes: Disks) -> Self {
        Self {
            board: board.subscribe(),
            network: network.status(),
            disk: disk.status(),
            volumes,
        }
    }
}

/// Reports until the board closes, from the first look at the engine on. Cancels `removed` when it
/// hears that this machine is no part of the cluster any more.
pub(crate) async fn report(
    client: Client,
    node: NodeName,
    facts: Arc<Facts>,
    seen: Seen,
    removed: CancellationToken,
) {
    let (measured, usage) = watch::channel(Vec::new());
    let measuring = usage::measure(facts.engine(), seen.board.clone(), measured);
    tokio::select! {
        () = tell(client, node, facts, (seen, usage), removed) => {}
        () = measuring => {}
    }
}

async fn tell(
    client: Client,
    node: NodeName,
    facts: Arc<Facts>,
    // News of what is used wait for the next report.
    (seen, usage): (Seen, Usage),
    removed: CancellationToken,
) {
    let Seen {
        mut board,
        mut network,
        mut disk,
        volumes,
    } = seen;
    if board.wait_for(|board| board.looked).await.is_err() {
        return;
    }
    let mut failures = 0_u32;
    loop {
        let now = board.borrow_and_update().clone();
        let status = NodeStatus {
            node: node.clone(),
            generation: now.generation,
            capacity: facts.capacity().await,
            facts: Some(facts.facts()),
            pods: now.statuses(),
            network: network.borrow_and_update().clone(),
            disk: disk.borrow_and_update().clone(),
            usage: usage.borrow().clone(),
            volumes: volumes.measured.borrow().clone(),
        };
        let sent_at = lease::clock();
        let answer = client.report_node(&status).await;
        if let Ok(StatusAnswer { generation }) = answer {
            volumes.answered(sent_at, generation);
        }
        if let Err(error) = answer {
            if error
                .api()
                .is_some_and(|error| error.id == ErrorId::Removed)
            {
                removed.cancel();
            }
            if failures == 0 {
                tracing::warn!(
                    "cannot report to the controller: {:#}",
                    anyhow::Error::from(error)
                );
            }
            let pause = AGAIN_MILLIS
                .0
                .saturating_mul(1 << failures.min(u64::BITS - 1));
            failures = failures.saturating_add(1);
            sleep(Duration::from_millis(pause.min(AGAIN_MILLIS.1))).await;
            continue;
        }
        if failures > 0 {
            tracing::info!("reports reach the controller again");
            failures = 0;
        }
        let changed = async {
            tokio::select! {
                changed = board.changed() => changed,
                changed = network.changed() => changed,
                changed = disk.changed() => changed,
            }
        };
        let news = timeout(Duration::from_secs(HEARTBEAT_SECS), changed).await;
        if matches!(news, Ok(Err(_closed))) {
            return;
        }
    }
}
