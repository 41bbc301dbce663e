//! Volumes: what may be made, mounted and destroyed. Where pods go because of them is decided in
//! [`fairway_scheduler::volumes`].
//!
//! A change of mounts takes effect by a release, as a change of config vars does: its pods have
//! the new mounts from their start, and a push or a rollback that comes later has them too.

mod check;
mod files;
mod shown;
mod work;

use fairway_api::{
    ids::VolumeId,
    names::{NodeName, ProcessType, VolumeName},
    nodes::NodeStatus,
    volumes::{
        MountAt, NewVolume, VOLUMES_MAX, Volume, VolumeChange, VolumeMount, VolumeSource,
        VolumeTask, show_size,
    },
};

pub use check::count as check_count;
pub use files::{list as config_files, set as set_config_file, unset as unset_config_file};
pub use shown::{find, list};
pub(crate) use work::{archive, forget_archives, keep_archive, watch};
pub use work::{
    begin_move, begin_restore, begin_snapshot, destroy_snapshot, end_task, snapshots, task_of,
};

use crate::{
    auth::Caller,
    deploy,
    orders::Order as _,
    problem::{Answer, Problem},
    state::AppState,
    store::{
        Db,
        apps::AppRow,
        columns::now,
        deployments, events, releases,
        volumes::{self, VolumeRow},
    },
};

/// Makes a volume and mounts it. The caller commits and wakes the reconcile loop.
pub async fn create(
    state: &AppState,
    db: &mut Db,
    app: &AppRow,
    new: NewVolume,
    caller: &Caller,
) -> Answer<VolumeChange> {
    let known = volumes::of_app(db, app.id).await?;
    if known.iter().any(|row| row.name == new.name) {
        return Err(
            Problem::conflict(format!("{} has a volume {} already.", app.name, new.name))
                .hint("Take another name; `app volumes` lists those that there are."),
        );
    }
    if known.len() >= VOLUMES_MAX {
        return Err(Problem::invalid(format!(
            "An app can have at most {VOLUMES_MAX} volumes."
        )));
    }
    let is_nfs = matches!(new.source, VolumeSource::Nfs { .. });
    let row = VolumeRow {
        id: VolumeId::generate(),
        app: app.id,
        size_bytes: check::size(db, &new).await?,
        node: check::place(db, &new, caller).await?,
        shared: new.shared.unwrap_or(is_nfs),
        name: new.name,
        source: new.source,
        work: None,
        created_at: now(),
        updated_at: now(),
    };
    volumes::insert(db, &row).await?;
    let size = row.size_bytes.map_or("no limit of size".into(), show_size);
    let message = format!(
        "Volume {} was made ({}, {size}).",
        row.name,
        row.source.describe()
    );
    record(db, app, caller, "volume.created", &message).await?;
    for mount in &new.mounts {
        check::mount(db, app, &row, mount).await?;
        volumes::set_mount(db, row.id, mount, now()).await?;
    }
    let release = match new.mounts.first() {
        Some(_) => take_effect(db, app, &format!("Mount volume {}", row.name), caller).await?,
        None => None,
    };
    let volume = shown::one(state, db, app, row).await?;
    Ok(VolumeChange { volume, release })
}

/// Lets the pods of a process type have a volume, or changes where they find it. The caller
/// commits and wakes the reconcile loop.
pub async fn mount(
    state: &AppState,
    db: &mut Db,
    app: &AppRow,
    (row, process_type): (VolumeRow, ProcessType),
    at: MountAt,
    caller: &Caller,
) -> Answer<VolumeChange> {
    let MountAt { path, read_only } = at;
    let mount = VolumeMount {
        process_type,
        path,
        read_only,
    };
    check::mount(db, app, &row, &mount).await?;
    let before = volumes::mounts_of(db, app.id).await?;
    volumes::set_mount(db, row.id, &mount, now()).await?;
    let release = if volumes::mounts_of(db, app.id).await? == before {
        None
    } else {
        let VolumeMount {
            process_type, path, ..
        } = &mount;
        let what = format!("Mount volume {} in {process_type} at {path}", row.name);
        record(db, app, caller, "volume.mounted", &format!("{what}.")).await?;
        take_effect(db, app, &what, caller).await?
    };
    let volume = shown::one(state, db, app, row).await?;
    Ok(VolumeChange { volume, release })
}

/// Ends that; the data stays. The same for who commits.
pub async fn unmount(
    state: &AppState,
    db: &mut Db,
    app: &AppRow,
    (row, process_type): (VolumeRow, ProcessType),
    caller: &Caller,
) -> Answer<VolumeChange> {
    if !volumes::delete_mount(db, row.id, &process_type).await? {
        return Err(Problem::not_found("mount").hint(format!(
            "`app volumes:info {}` says where it is mounted.",
            row.name
        )));
    }
    let what = format!("Unmount volume {} from {process_type}", row.name);
    record(db, app, caller, "volume.unmounted", &format!("{what}.")).await?;
    let release = take_effect(db, app, &what, caller).await?;
    let volume = shown::one(state, db, app, row).await?;
    Ok(VolumeChange { volume, release })
}

/// Destroys a volume and its data, unless something has it. The caller commits and wakes the
/// reconcile loop.
pub async fn destroy(
    state: &AppState,
    db: &mut Db,
    app: &AppRow,
    row: VolumeRow,
    caller: &Caller,
) -> Answer<Volume> {
    let volume = shown::one(state, db, app, row.clone()).await?;
    let name = &row.name;
    if let Some(mount) = volume.mounts.first() {
        return Err(Problem::conflict(format!(
            "{name} is mounted in {} and is not destroyed.",
            mount.process_type
        ))
        .hint(format!(
            "Unmount it first: app volumes:unmount {name} {}. Or, both at once: app \
             volumes:destroy {name} --force",
            mount.process_type
        )));
    }
    if let Some(pod) = volume.pods.first() {
        return Err(
            Problem::conflict(format!("{pod} still has {name}; it is not destroyed."))
                .hint("Wait until the release without it has taken over: app releases"),
        );
    }
    if let Some(work) = &volume.work {
        return Err(Problem::conflict(format!("{name} is at work: {work}."))
            .hint("Wait for it; `app volumes` says when it is done."));
    }
    volumes::delete(db, &row, now()).await?;
    let message = format!("Volume {name} was destroyed.");
    record(db, app, caller, "volume.destroyed", &message).await?;
    Ok(volume)
}

/// Notes that the data of an app's volumes has to go, before its rows do.
pub async fn remove_all(db: &mut Db, app: fairway_api::ids::AppId) -> Answer<()> {
    for row in volumes::of_app(db, app).await? {
        if let Some(work) = &row.work
            && let work::Elsewhere(Some(node)) = work::elsewhere(work)
        {
            volumes::remove_from(db, row.id, &node, now()).await?;
        }
        volumes::delete(db, &row, now()).await?;
    }
    Ok(())
}

/// Takes in that a machine has done what its newest orders say of volumes to remove. True if
/// orders change by that.
pub async fn hear(state: &AppState, status: &NodeStatus) -> Answer<bool> {
    let plan = state.cluster.plan(&status.node).newest();
    let Some(plan) = plan.filter(|plan| plan.generation() == status.generation) else {
        return Ok(false);
    };
    let Some(here) = &status.volumes else {
        return Ok(false);
    };
    let removed = |id: &VolumeId| here.iter().all(|it| it.volume != *id);
    let orders = plan.volumes().iter();
    let done: Vec<VolumeId> = orders
        .filter(|order| order.task == VolumeTask::Remove && removed(&order.volume))
        .map(|order| order.volume)
        .collect();
    if done.is_empty() {
        return Ok(false);
    }
    let mut tx = state.store.write_relaxed().await?;
    for id in done {
        volumes::forget_removed(&mut tx, id, &status.node).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// The names of volumes whose only copy is on a machine, with their apps'.
pub async fn on_node(db: &mut Db, node: &NodeName) -> Answer<Vec<VolumeName>> {
    let all = volumes::all(db).await?.into_iter();
    Ok(all
        .filter(|row| row.source == VolumeSource::Local && row.node.as_ref() == Some(node))
        .map(|row| row.name)
        .collect())
}

/// Makes a release of the app's present mounts, if there is something that runs.
async fn take_effect(
    db: &mut Db,
    app: &AppRow,
    description: &str,
    caller: &Caller,
) -> Answer<Option<u64>> {
    let newest = deployments::newest_open(db, app.id).await?;
    let Some(base) = newest.or(app.current_release) else {
        return Ok(None);
    };
    if releases::get(db, base).await?.image.is_none() {
        return Ok(None);
    }
    let (version, user) = (app.config_version, caller.user());
    let release = deploy::release_from_config(db, app, version, description, &user, now()).await?;
    Ok(Some(release.version))
}

async fn record(
    db: &mut Db,
    app: &AppRow,
    caller: &Caller,
    kind: &'static str,
    message: &str,
) -> Answer<()> {
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, kind, message).await?;
    Ok(())
}
