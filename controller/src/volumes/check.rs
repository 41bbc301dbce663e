//! What is refused of volumes, before anything is made that could never work.

use std::path::Path;

use fairway_api::{
    names::{HostPath, NodeName, ProcessType},
    volumes::{
        NewVolume, VOLUME_BYTES_MAX, VOLUME_BYTES_MIN, VolumeMount, VolumeSource, show_size,
    },
};
use fairway_scheduler::snapshot::RELEASE_PHASE_TYPE;

use crate::{
    auth::Caller,
    formation,
    problem::{Answer, Problem},
    store::{
        Db,
        apps::AppRow,
        autoscale, formation as formation_rows,
        nodes::{self, NodeRow},
        volumes::{self, VolumeRow},
    },
};

/// The size of a new volume.
pub(super) async fn size(db: &mut Db, new: &NewVolume) -> Answer<Option<u64>> {
    let Some(asked) = new.size_bytes else {
        return Ok(None);
    };
    if new.source != VolumeSource::Local {
        return Err(Problem::invalid(format!(
            "A volume of the kind {} cannot have a size: its limit is that of what it is on.",
            new.source.describe()
        ))
        .hint("Leave the size out."));
    }
    let bytes = u64::try_from(asked).unwrap_or(0);
    if !(VOLUME_BYTES_MIN..=VOLUME_BYTES_MAX).contains(&bytes) {
        return Err(Problem::invalid(format!(
            "A volume cannot have {asked} bytes: it has from {} to {}.",
            show_size(VOLUME_BYTES_MIN),
            show_size(VOLUME_BYTES_MAX)
        ))
        .hint("Write a size such as 10GB."));
    }
    let machines = nodes::all(db).await?.into_iter();
    let allowed = |row: &NodeRow| new.node.as_ref().is_none_or(|name| *name == row.name);
    let largest = machines
        .filter(allowed)
        .filter_map(|row| Some(row.capacity?.disk_bytes))
        .max();
    match largest {
        Some(largest) if bytes > largest => Err(Problem::invalid(format!(
            "{} are more than the disk of any machine that it may be on: the largest has {}.",
            show_size(bytes),
            show_size(largest)
        ))
        .hint("Take a smaller size, or add a machine with a larger disk.")),
        _ => Ok(Some(bytes)),
    }
}

/// The machine of a new volume, if that is decided already.
pub(super) async fn place(
    db: &mut Db,
    new: &NewVolume,
    caller: &Caller,
) -> Answer<Option<NodeName>> {
    let machines = nodes::all(db).await?;
    if let Some(name) = &new.node
        && !machines.iter().any(|row| row.name == *name)
    {
        return Err(Problem::invalid(format!("There is no machine {name}."))
            .hint("An operator lists them with: fairway nodes"));
    }
    match &new.source {
        VolumeSource::Local => Ok(new.node.clone()),
        VolumeSource::Nfs { .. } if !caller.account.is_admin() => Err(Problem::forbidden(
            "Volumes on NFS are made by admins: machines reach what a server lets them reach, \
                 whoever asks.",
        )
        .hint("Ask an admin of this Fairway to make it for the app.")),
        VolumeSource::Nfs { .. } if new.node.is_some() => Err(Problem::invalid(
            "A volume on NFS is on no machine: every one can reach it.",
        )
        .hint("Leave the machine out.")),
        VolumeSource::Nfs { .. } => Ok(None),
        VolumeSource::HostPath { path } => host_path(&machines, path, new.node.as_ref()).map(Some),
    }
}

fn host_path(machines: &[NodeRow], path: &HostPath, asked: Option<&NodeName>) -> Answer<NodeName> {
    let of_asked = |row: &&NodeRow| asked.is_none_or(|name| *name == row.name);
    let allowing: Vec<&NodeRow> = machines
        .iter()
        .filter(of_asked)
        .filter(|row| allows(row, path))
        .collect();
    match allowing[..] {
        [only] => Ok(only.name.clone()),
        [] => Err(Problem::forbidden(match asked {
            Some(name) => format!("{name} does not allow volumes in {path}."),
            None => format!("No machine allows volumes in {path}."),
        })
        .hint(format!(
            "An operator allows it by starting the machine's agent with --allow-host-path {path}"
        ))),
        [first, ..] => Err(Problem::invalid(format!(
            "{path} is allowed on {} machines; say which one's is meant.",
            allowing.len()
        ))
        .hint(format!("For example: --node {}", first.name))),
    }
}

/// True if the machine's operator lets apps have the directory. The agent looks once more, and
/// there symbolic links count.
fn allows(row: &NodeRow, path: &HostPath) -> bool {
    let allowed = row.facts.iter().flat_map(|facts| &facts.host_paths);
    let mut allowed = allowed.map(HostPath::as_str);
    allowed.any(|dir| Path::new(path.as_str()).starts_with(dir))
}

/// Whether a process type's pods can have a volume.
pub(super) async fn mount(
    db: &mut Db,
    app: &AppRow,
    row: &VolumeRow,
    mount: &VolumeMount,
) -> Answer<()> {
    let VolumeMount {
        process_type, path, ..
    } = mount;
    if process_type.as_str() == RELEASE_PHASE_TYPE {
        return Err(Problem::invalid(
            "The release phase has no volumes: while it runs, the pods that serve have them.",
        )
        .hint("Do what needs the data when the process starts."));
    }
    let known = formation::commands(db, app).await?;
    if !known.is_empty() && !known.contains_key(process_type) {
        let names: Vec<&str> = known.keys().map(ProcessType::as_str).collect();
        return Err(
            Problem::invalid(format!("{} has no process type {process_type}.", app.name))
                .hint(format!("It has: {}", names.join(", "))),
        );
    }
    let others = volumes::mounts_of(db, app.id).await?;
    let names = volumes::of_app(db, app.id).await?;
    for other in others
        .iter()
        .filter(|other| other.process_type == *process_type)
    {
        let Some(volume) = names
            .iter()
            .find(|it| it.id == other.volume && it.id != row.id)
        else {
            continue;
        };
        if other.path == *path {
            return Err(Problem::conflict(format!(
                "{process_type} has the volume {} at {path} already.",
                volume.name
            )));
        }
        if let (Some(one), Some(two)) = (&row.node, &volume.node)
            && one != two
        {
            return Err(Problem::conflict(format!(
                "{process_type} cannot have both: {} is on {one}, {} on {two}, and a pod is on one \
                 machine.",
                row.name, volume.name
            ))
            .hint(format!(
                "Move one: app volumes:move {} --to {two}",
                row.name
            )));
        }
    }
    let elsewhere = others
        .iter()
        .find(|it| it.volume == row.id && it.process_type != *process_type);
    if let (false, Some(elsewhere)) = (row.shared, elsewhere) {
        return Err(Problem::conflict(format!(
            "{} is mounted in {}, and one pod has it at a time.",
            row.name, elsewhere.process_type
        ))
        .hint("Unmount it there, or make a volume with --shared."));
    }
    if row.shared {
        return Ok(());
    }
    only_one(db, app, process_type, row.name.as_str()).await
}

/// Refuses a volume for one pod to a process type that has several.
async fn only_one(
    db: &mut Db,
    app: &AppRow,
    process_type: &ProcessType,
    volume: &str,
) -> Answer<()> {
    let rows = formation_rows::list(db, app.id).await?;
    let row = rows.iter().find(|row| row.process_type == *process_type);
    let policies = autoscale::list(db, app.id).await?;
    let policy = policies.iter().find(|it| it.process_type == *process_type);
    let most = row.map_or(0, |row| row.quantity);
    let most = most.max(policy.map_or(0, |row| row.policy.max));
    if most > 1 {
        return Err(Problem::conflict(format!(
            "{process_type} may have {most} pods, and one pod has {volume} at a time."
        ))
        .hint(format!(
            "Scale it first: app ps:scale {process_type}=1. Or make a volume with --shared."
        )));
    }
    Ok(())
}

/// Refuses several pods for a process type with a volume for one.
pub async fn count(
    db: &mut Db,
    app: &AppRow,
    process_type: &ProcessType,
    wanted: u32,
) -> Answer<()> {
    if wanted <= 1 {
        return Ok(());
    }
    let mounts = volumes::mounts_of(db, app.id).await?;
    let rows = volumes::of_app(db, app.id).await?;
    let mut held = mounts.iter().filter(|it| it.process_type == *process_type);
    let exclusive = held.find_map(|mount| {
        let mut rows = rows.iter();
        rows.find(|row| row.id == mount.volume && !row.shared)
    });
    match exclusive {
        Some(row) => Err(Problem::conflict(format!(
            "{process_type} cannot have {wanted} pods: one pod has its volume {} at a time.",
            row.name
        ))
        .hint("Keep one pod, or use a volume that was made with --shared.")),
        None => Ok(()),
    }
}
