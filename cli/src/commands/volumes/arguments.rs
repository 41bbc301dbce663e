//! What the verbs of volumes take.

use clap::Args;
use fairway_api::{
    names::{HostPath, NfsShare, NodeName, ProcessType, VolumeName},
    volumes::{NewVolume, VolumeMount, VolumeSource, parse_size},
};

/// List the app's volumes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes
  app volumes --json | jq -r '.[].name'")]
pub(crate) struct ListArgs {}

/// Make a volume: a disk that outlives processes and releases
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:create data --size 10GB --mount worker:/data
  app volumes:create uploads --shared --mount web:/app/uploads --mount worker:/uploads:ro
  app volumes:create media --host-path /srv/media --mount web:/media
  app volumes:create files --nfs nas.example.com:/export/files --mount web:/files
It is on the disk of one machine, that of the first process that mounts it, and its processes run
there. A release with a volume starts in the place of the one before, with a short gap.")]
pub(crate) struct CreateArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: VolumeName,
    /// How much it can hold, such as 10GB; without it as much as its disk
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    size: Option<i64>,
    /// Mount it in a process type; :ro at the end makes it read-only. May be given several times
    #[arg(long = "mount", value_name = "TYPE:PATH", value_parser = at)]
    mounts: Vec<At>,
    /// Any number of processes may have it at a time; they all run on its machine
    #[arg(long)]
    shared: bool,
    /// Put it on this machine
    #[arg(long, value_name = "NODE")]
    node: Option<NodeName>,
    /// Use a directory of a machine, if its operator allows that
    #[arg(long, value_name = "DIR", conflicts_with_all = ["size", "nfs"])]
    host_path: Option<HostPath>,
    /// Use a directory of a file server; for admins
    #[arg(long, value_name = "SERVER:PATH", conflicts_with_all = ["size", "node"])]
    nfs: Option<NfsShare>,
}

/// Show one volume
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:info data")]
pub(crate) struct InfoArgs {
    /// The volume
    #[arg(value_name = "NAME")]
    pub(super) name: VolumeName,
}

/// Mount a volume in a process type; makes a release and restarts the app with it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:mount data worker:/data
  app volumes:mount uploads web:/uploads:ro
Processes have it from the release on that this makes. `app run` and the release phase have no
volumes: look into one with app ps:exec.")]
pub(crate) struct MountArgs {
    /// The volume
    #[arg(value_name = "NAME")]
    pub(super) name: VolumeName,
    /// The process type and where it finds the volume; :ro at the end makes it read-only
    #[arg(value_name = "TYPE:PATH", value_parser = at)]
    pub(super) at: At,
}

/// Take a volume from a process type; makes a release and restarts the app with it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:unmount data worker
What is on the volume stays.")]
pub(crate) struct UnmountArgs {
    /// The volume
    #[arg(value_name = "NAME")]
    pub(super) name: VolumeName,
    /// The process type
    #[arg(value_name = "TYPE")]
    pub(super) process_type: ProcessType,
}

/// Destroy a volume and all that is on it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:destroy data                 # asks for the name
  app volumes:destroy data --confirm data  # for scripts
  app volumes:destroy data --force         # unmounts it first
Its snapshots stay.")]
pub(crate) struct DestroyArgs {
    /// The volume
    #[arg(value_name = "NAME")]
    pub(super) name: VolumeName,
    /// Although it is mounted: unmount it, and wait until no process has it
    #[arg(long)]
    pub(super) force: bool,
    /// The volume's name once more, instead of being asked
    #[arg(short, long, value_name = "NAME")]
    pub(super) confirm: Option<String>,
}

/// Move a volume, and the processes that have it, to another machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:move data --to db-2
Its processes are stopped while it is copied. If that fails, it stays where it was.")]
pub(crate) struct MoveArgs {
    /// The volume
    #[arg(value_name = "NAME")]
    pub(super) name: VolumeName,
    /// The machine
    #[arg(long, value_name = "NODE")]
    pub(super) to: NodeName,
    /// Return at once
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// `web:/data:ro`.
#[derive(Debug, Clone)]
pub(crate) struct At(pub(super) VolumeMount);

fn at(text: &str) -> Result<At, String> {
    let (text, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (process_type, path) = text
        .split_once(':')
        .ok_or("write the process type and the path, such as web:/data")?;
    Ok(At(VolumeMount {
        process_type: process_type.parse().map_err(|error| format!("{error}"))?,
        path: path.parse().map_err(|error| format!("{error}"))?,
        read_only,
    }))
}

fn size(text: &str) -> Result<i64, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    i64::try_from(bytes).map_err(|error| error.to_string())
}

impl From<CreateArgs> for NewVolume {
    fn from(args: CreateArgs) -> Self {
        let source = match (args.host_path, args.nfs) {
            (Some(path), _) => VolumeSource::HostPath { path },
            (None, Some(share)) => VolumeSource::Nfs { share },
            (None, None) => VolumeSource::Local,
        };
        Self {
            name: args.name,
            size_bytes: args.size,
            source,
            shared: args.shared.then_some(true),
            node: args.node,
            mounts: args.mounts.into_iter().map(|at| at.0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::at;

    #[test]
    fn a_mount_is_a_type_a_path_and_perhaps_read_only() {
        let shown = |text: &str| {
            at(text).map(|it| {
                (
                    it.0.process_type.to_string(),
                    it.0.path.to_string(),
                    it.0.read_only,
                )
            })
        };
        assert_eq!(
            shown("web:/data"),
            Ok(("web".into(), "/data".into(), false))
        );
        assert_eq!(
            shown("web:/data:ro"),
            Ok(("web".into(), "/data".into(), true))
        );
        for wrong in [
            "web",
            "/data",
            "web:data",
            "Web:/data",
            "web:/etc",
            "web:/a:rw",
        ] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
