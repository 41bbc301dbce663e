//! Snapshots, restoring them, and moves to another machine. One thing at a time per volume, written
//! down in its row; until it ends, no pod has the volume.
//!
//! ```text
//! snapshot   machine --archive--> controller (a file)
//! restore    controller --archive--> machine, into an empty place that takes the old one's at the end
//! move       snapshot by the old machine, then restore by the new one; only then the volume is there
//! ```
//!
//! Each ends by what its machine says, or by its deadline; whatever fails leaves the volume where
//! and as it was.

mod archives;

use std::time::Duration;

use chrono::TimeDelta;
use fairway_api::{
    ids::{SnapshotId, VolumeId},
    names::NodeName,
    volumes::{
        SNAPSHOTS_MAX, Snapshot, SnapshotState, Volume, VolumeSource, VolumeTask, show_size,
    },
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub(crate) use archives::{archive, forget as forget_archives, keep as keep_archive};

use super::{record, shown};
use crate::{
    auth::Caller,
    problem::{Answer, Problem},
    state::AppState,
    store::{
        Db,
        apps::{self, AppRow},
        columns::now,
        events::{self, ACTOR_PLATFORM},
        nodes,
        snapshots::{self, SnapshotRow},
        volumes::{self, VolumeRow, Work, WorkKind},
    },
};

/// How long one piece of work may take, in hours: some terabytes over a slow network. Its volume
/// has no pod for that time, so that something must end it.
const WORK_HOURS_MAX: i64 = 6;
/// How often it is looked for what took longer, in seconds.
const LOOK_SECS: u64 = 60;
/// The most bytes of a machine's reason that are kept.
const FAILURE_BYTES_MAX: usize = 500;

/// A machine that a volume is being brought to.
pub(super) struct Elsewhere(pub Option<NodeName>);

pub(super) fn elsewhere(work: &Work) -> Elsewhere {
    match &work.kind {
        WorkKind::Move { to, .. } => Elsewhere(Some(to.clone())),
        WorkKind::Snapshot | WorkKind::Restore => Elsewhere(None),
    }
}

pub(super) fn describe(kind: &WorkKind) -> String {
    match kind {
        WorkKind::Snapshot => "snapshot".into(),
        WorkKind::Restore => "restore".into(),
        WorkKind::Move { to, .. } => format!("move to {to}"),
    }
}

/// What is to be done now, and by which machine.
pub fn task_of(row: &VolumeRow) -> Option<(NodeName, VolumeTask)> {
    let Work { kind, snapshot, .. } = row.work.as_ref()?;
    let (snapshot, mount) = (*snapshot, Box::new(row.mount()?));
    let here = row.node.clone();
    match kind {
        WorkKind::Snapshot | WorkKind::Move { saved: false, .. } => {
            Some((here?, VolumeTask::Save { snapshot, mount }))
        }
        WorkKind::Restore => Some((here?, VolumeTask::Load { snapshot, mount })),
        WorkKind::Move { to, saved: true } => {
            Some((to.clone(), VolumeTask::Load { snapshot, mount }))
        }
    }
}

/// An app's snapshots, newest first.
pub async fn snapshots(db: &mut Db, app: &AppRow) -> Answer<Vec<Snapshot>> {
    let rows = snapshots::of_app(db, app.id).await?;
    Ok(rows.into_iter().map(shown_snapshot).collect())
}

fn shown_snapshot(row: SnapshotRow) -> Snapshot {
    Snapshot {
        id: row.id,
        volume: row.volume_name,
        state: row.state,
        failure: row.failure,
        bytes: row.bytes,
        created_at: row.created_at,
    }
}

async fn find_snapshot(db: &mut Db, app: &AppRow, id: SnapshotId) -> Answer<SnapshotRow> {
    let rows = snapshots::of_app(db, app.id).await?;
    let found = rows.into_iter().find(|row| row.id == id);
    found.ok_or_else(|| {
        Problem::not_found("snapshot").hint("`app volumes:snapshots` lists those that there are.")
    })
}

/// Begins to copy a volume. The caller commits and wakes the reconcile loop.
pub async fn begin_snapshot(
    db: &mut Db,
    app: &AppRow,
    row: &VolumeRow,
    caller: &Caller,
) -> Answer<Snapshot> {
    let node = idle_on(row)?;
    if snapshots::of_app(db, app.id).await?.len() >= SNAPSHOTS_MAX {
        return Err(Problem::invalid(format!(
            "{} has {SNAPSHOTS_MAX} snapshots; there can be no more.",
            app.name
        ))
        .hint("Remove some: app volumes:forget ID"));
    }
    let snapshot = SnapshotRow {
        id: SnapshotId::generate(),
        app: app.id,
        volume: row.id,
        volume_name: row.name.clone(),
        state: SnapshotState::Pending,
        failure: None,
        bytes: None,
        created_at: now(),
        updated_at: now(),
    };
    snapshots::insert(db, &snapshot).await?;
    begin(db, row, &node, WorkKind::Snapshot, snapshot.id).await?;
    let message = format!("A snapshot of volume {} was begun.", row.name);
    record(db, app, caller, "volume.snapshot", &message).await?;
    Ok(shown_snapshot(snapshot))
}

/// Begins to put a snapshot back, of this volume or of another of the app. The same for who commits.
pub async fn begin_restore(
    state: &AppState,
    db: &mut Db,
    app: &AppRow,
    (row, id): (VolumeRow, SnapshotId),
    caller: &Caller,
) -> Answer<Volume> {
    let node = idle_on(&row)?;
    let snapshot = find_snapshot(db, app, id).await?;
    if snapshot.state != SnapshotState::Complete {
        return Err(Problem::conflict("That snapshot is not complete.")
            .hint("`app volumes:snapshots` says which are."));
    }
    begin(db, &row, &node, WorkKind::Restore, id).await?;
    let message = format!(
        "Volume {} is restored from the snapshot of {}.",
        row.name,
        snapshot.created_at.format("%Y-%m-%d %H:%M:%S UTC")
    );
    record(db, app, caller, "volume.restore", &message).await?;
    let row = volumes::get(db, row.id).await?;
    shown::one(state, db, app, row).await
}

/// Begins to move a volume to another machine. The same for who commits.
pub async fn begin_move(
    state: &AppState,
    db: &mut Db,
    app: &AppRow,
    (row, to): (VolumeRow, NodeName),
    caller: &Caller,
) -> Answer<Volume> {
    let machines = nodes::all(db).await?;
    let target = machines.into_iter().find(|it| it.name == to);
    let target = target.ok_or_else(|| {
        Problem::invalid(format!("There is no machine {to}."))
            .hint("An operator lists them with: fairway nodes")
    })?;
    let node = match (&row.source, &row.node) {
        (VolumeSource::Local, None) => None,
        _ => Some(idle_on(&row)?),
    };
    if node.as_ref() == Some(&to) {
        return Err(Problem::conflict(format!(
            "{} is on {to} already.",
            row.name
        )));
    }
    let disk = target.capacity.map_or(u64::MAX, |it| it.disk_bytes);
    if row.size_bytes.is_some_and(|bytes| bytes > disk) {
        return Err(Problem::invalid(format!(
            "{} may have {}, and the disk of {to} has {}.",
            row.name,
            show_size(row.size_bytes.unwrap_or(0)),
            show_size(disk)
        )));
    }
    let leaving = volumes::removed(db).await?;
    if leaving
        .iter()
        .any(|it| it.volume == row.id && it.node == to)
    {
        return Err(Problem::conflict(format!(
            "{to} is still removing an older copy of {}.",
            row.name
        ))
        .hint("Try again in a moment."));
    }
    match node {
        // There is nothing to move yet.
        None => volumes::set_work(db, row.id, Some(&to), None, now()).await?,
        Some(node) => {
            let kind = WorkKind::Move {
                to: to.clone(),
                saved: false,
            };
            begin(db, &row, &node, kind, SnapshotId::generate()).await?;
        }
    }
    let message = format!("Volume {} moves to {to}.", row.name);
    record(db, app, caller, "volume.move", &message).await?;
    let row = volumes::get(db, row.id).await?;
    shown::one(state, db, app, row).await
}

/// Removes a snapshot, unless it is being made or read.
pub async fn destroy_snapshot(
    state: &AppState,
    app: &AppRow,
    id: SnapshotId,
    caller: &Caller,
) -> Answer<Snapshot> {
    let mut tx = state.store.write().await?;
    let snapshot = find_snapshot(&mut tx, app, id).await?;
    let mut working = volumes::of_app(&mut tx, app.id).await?.into_iter();
    if working.any(|row| row.work.is_some_and(|work| work.snapshot == id)) {
        return Err(Problem::conflict("That snapshot is in use.")
            .hint("Wait until `app volumes` says that its volume is no longer at work."));
    }
    snapshots::delete(&mut tx, id).await?;
    let message = format!(
        "A snapshot of volume {} was destroyed.",
        snapshot.volume_name
    );
    record(&mut tx, app, caller, "volume.snapshot-destroyed", &message).await?;
    tx.commit().await?;
    archives::remove(state, app.id, id).await;
    Ok(shown_snapshot(snapshot))
}

/// The machine of a volume that nothing is being done to.
fn idle_on(row: &VolumeRow) -> Answer<NodeName> {
    if row.source != VolumeSource::Local {
        return Err(Problem::invalid(format!(
            "{} is not Fairway's to copy: it is {}.",
            row.name,
            row.source.describe()
        ))
        .hint("Copy it by the means of what it is on."));
    }
    if let Some(work) = &row.work {
        return Err(Problem::conflict(format!(
            "{} is at work: {}.",
            row.name,
            describe(&work.kind)
        ))
        .hint("Wait for it; `app volumes` says when it is done."));
    }
    row.node.clone().ok_or_else(|| {
        Problem::conflict(format!(
            "{} is on no machine yet: no pod has had it.",
            row.name
        ))
        .hint("Mount it first, or say where it is to be: app volumes:move NAME --to NODE")
    })
}

async fn begin(
    db: &mut Db,
    row: &VolumeRow,
    node: &NodeName,
    kind: WorkKind,
    snapshot: SnapshotId,
) -> Answer<()> {
    let work = Work {
        kind,
        snapshot,
        deadline_at: now() + TimeDelta::hours(WORK_HOURS_MAX),
    };
    volumes::set_work(db, row.id, Some(node), Some(&work), now()).await?;
    Ok(())
}

/// The volume that a machine speaks of, with its work, if that is the machine's now.
async fn own_work(
    db: &mut Db,
    node: &NodeName,
    (volume, snapshot): (VolumeId, SnapshotId),
) -> Answer<(VolumeRow, Work, VolumeTask)> {
    let row = volumes::get(db, volume).await?;
    let ours = task_of(&row)
        .filter(|(at, _)| at == node)
        .map(|(_, task)| task);
    let work = row.work.clone().filter(|work| work.snapshot == snapshot);
    let (Some(task), Some(work)) = (ours, work) else {
        return Err(Problem::conflict(
            "That is not, or no longer, this machine's to do.",
        ));
    };
    Ok((row, work, task))
}

/// Takes in how a machine's order ended. An archive that arrived says by itself that it is whole.
pub async fn end_task(
    state: &AppState,
    node: &NodeName,
    ids: (VolumeId, SnapshotId),
    failure: Option<String>,
) -> Answer<()> {
    let mut tx = state.store.write().await?;
    let (row, work, task) = own_work(&mut tx, node, ids).await?;
    match (failure, task) {
        (Some(mut reason), _) => {
            reason.truncate(reason.floor_char_boundary(FAILURE_BYTES_MAX));
            fail(&mut tx, &row, &work, &format!("{node}: {reason}")).await?;
        }
        (None, VolumeTask::Load { .. }) => loaded(&mut tx, &row, &work).await?,
        (None, _) => return Err(Problem::invalid("The archive has not arrived.")),
    }
    tx.commit().await?;
    if let WorkKind::Move { .. } = work.kind {
        archives::remove(state, row.app, work.snapshot).await;
    }
    state.wake.app(row.app);
    state.wake.volumes();
    Ok(())
}

/// The archive is in the volume.
async fn loaded(db: &mut Db, row: &VolumeRow, work: &Work) -> Answer<()> {
    let node = match &work.kind {
        WorkKind::Move { to, .. } => {
            if let Some(old) = &row.node {
                volumes::remove_from(db, row.id, old, now()).await?;
            }
            Some(to)
        }
        WorkKind::Snapshot | WorkKind::Restore => row.node.as_ref(),
    };
    volumes::set_work(db, row.id, node, None, now()).await?;
    let what = describe(&work.kind);
    tell(
        db,
        row,
        "volume.done",
        &format!("Volume {}: {what} is done.", row.name),
    )
    .await
}

/// The archive of a volume is whole.
async fn saved(db: &mut Db, row: &VolumeRow, work: &Work, bytes: u64) -> Answer<()> {
    let next = match &work.kind {
        WorkKind::Move { to, .. } => Some(Work {
            kind: WorkKind::Move {
                to: to.clone(),
                saved: true,
            },
            ..work.clone()
        }),
        WorkKind::Snapshot | WorkKind::Restore => {
            snapshots::end(db, work.snapshot, Ok(bytes), now()).await?;
            let (name, size) = (&row.name, show_size(bytes));
            let message = format!("A snapshot of volume {name} is complete ({size}).");
            tell(db, row, "volume.done", &message).await?;
            None
        }
    };
    volumes::set_work(db, row.id, row.node.as_ref(), next.as_ref(), now()).await?;
    Ok(())
}

/// Gives work up: the volume stays where and as it is.
async fn fail(db: &mut Db, row: &VolumeRow, work: &Work, reason: &str) -> Answer<()> {
    snapshots::end(db, work.snapshot, Err(reason), now()).await?;
    if let WorkKind::Move { to, saved: true } = &work.kind {
        volumes::remove_from(db, row.id, to, now()).await?;
    }
    volumes::set_work(db, row.id, row.node.as_ref(), None, now()).await?;
    let what = describe(&work.kind);
    let message = format!("Volume {}: {what} failed: {reason}", row.name);
    tell(db, row, "volume.failed", &message).await
}

async fn tell(db: &mut Db, row: &VolumeRow, kind: &'static str, message: &str) -> Answer<()> {
    let app = apps::get(db, row.app).await?.app();
    events::record(db, Some(&app), ACTOR_PLATFORM, kind, message).await?;
    Ok(())
}

/// Gives up what has taken too long.
async fn give_up_late(state: &AppState) -> Answer<()> {
    let mut read = state.store.read().await?;
    let late = |row: &VolumeRow| row.work.as_ref().is_some_and(|it| it.deadline_at <= now());
    let rows = volumes::worked_on(&mut read).await?;
    drop(read);
    for row in rows.iter().filter(|row| late(row)) {
        let mut tx = state.store.write().await?;
        let row = volumes::get(&mut tx, row.id).await?;
        let Some(work) = row.work.clone().filter(|_| late(&row)) else {
            continue;
        };
        let reason = format!("it took more than {WORK_HOURS_MAX} hours");
        fail(&mut tx, &row, &work, &reason).await?;
        tx.commit().await?;
        if let WorkKind::Move { .. } = work.kind {
            archives::remove(state, row.app, work.snapshot).await;
        }
        state.wake.app(row.app);
        state.wake.volumes();
    }
    Ok(())
}

/// Looks for what has taken too long until `shutdown`.
pub(crate) async fn watch(state: &AppState, shutdown: &CancellationToken) {
    let mut timer = interval(Duration::from_secs(LOOK_SECS));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = timer.tick() => {}
        }
        if let Err(problem) = give_up_late(state).await {
            tracing::error!("cannot look at the work on volumes: {problem}");
        }
    }
}
