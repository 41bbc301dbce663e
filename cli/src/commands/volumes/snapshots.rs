//! `volumes:snapshot`, `volumes:snapshots`, `volumes:restore`.

use clap::{Args, Subcommand};
use fairway_api::{
    client::Client,
    events::EventFilter,
    ids::SnapshotId,
    names::{AppName, VolumeName},
    volumes::{Snapshot, SnapshotState, show_size},
};

use super::{Confirmation, at_rest};
use crate::{
    failure::Failure,
    output::{table, time},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "volumes:snapshots")]
    List(ListArgs),
    #[command(name = "volumes:snapshot")]
    Take(TakeArgs),
    #[command(name = "volumes:restore")]
    Restore(RestoreArgs),
    #[command(name = "volumes:forget")]
    Destroy(DestroyArgs),
}

/// List the snapshots of the app's volumes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:snapshots")]
pub(crate) struct ListArgs {}

/// Copy a volume to the controller's machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:snapshot data
The processes that have it are stopped while it is copied, so that the copy is whole.")]
pub(crate) struct TakeArgs {
    /// The volume
    #[arg(value_name = "NAME")]
    name: VolumeName,
    /// Return at once
    #[arg(long)]
    no_wait: bool,
}

/// Replace what is on a volume by a snapshot
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:restore data 01993c1e-7d4e-7000-8000-000000000001
  app volumes:restore copy 01993c1e-7d4e-7000-8000-000000000001 --confirm copy
The processes that have it are stopped meanwhile. The snapshot may be of another volume of the app.
If anything fails, the volume stays as it was.")]
pub(crate) struct RestoreArgs {
    /// The volume
    #[arg(value_name = "NAME")]
    name: VolumeName,
    /// The snapshot, as `app volumes:snapshots` shows it
    #[arg(value_name = "SNAPSHOT")]
    snapshot: SnapshotId,
    /// The volume's name once more, instead of being asked
    #[arg(short, long, value_name = "NAME")]
    confirm: Option<String>,
    /// Return at once
    #[arg(long)]
    no_wait: bool,
}

/// Destroy a snapshot
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app volumes:forget 01993c1e-7d4e-7000-8000-000000000001")]
pub(crate) struct DestroyArgs {
    /// The snapshot
    #[arg(value_name = "SNAPSHOT")]
    snapshot: SnapshotId,
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Take(args) => take(&args, session).await,
            Self::Restore(args) => restore(&args, session).await,
            Self::Destroy(args) => destroy(&args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let snapshots = client.volume_snapshots(&app).await?;
    if snapshots.is_empty() {
        session.output.talk(format!("{app} has no snapshots."));
    }
    session.output.data(&snapshots, |snapshots| {
        let rows = snapshots.iter().map(|snapshot| {
            [
                snapshot.id.to_string(),
                snapshot.volume.to_string(),
                time(snapshot.created_at),
                state(snapshot),
            ]
        });
        table(["SNAPSHOT", "VOLUME", "BEGUN", "STATE"], rows)
    })
}

fn state(snapshot: &Snapshot) -> String {
    match (snapshot.state, snapshot.bytes, &snapshot.failure) {
        (SnapshotState::Pending, ..) => "pending".into(),
        (SnapshotState::Complete, Some(bytes), _) => format!("complete ({})", show_size(bytes)),
        (SnapshotState::Complete, ..) => "complete".into(),
        (SnapshotState::Failed, _, Some(why)) => format!("failed: {why}"),
        (SnapshotState::Failed, ..) => "failed".into(),
    }
}

async fn take(args: &TakeArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let name = args.name.as_str();
    let begun = client.snapshot_volume(&app, name).await?;
    session.output.talk(format!(
        "Snapshot {} of {name} is begun. Its pods stop until it is complete.",
        begun.id
    ));
    if args.no_wait {
        return session.output.answer(&begun);
    }
    let volume = client.volume(&app, name).await?;
    at_rest(&client, &app, volume).await?;
    let taken = find(&client, &app, begun.id).await?;
    if taken.state != SnapshotState::Complete {
        return Err(Failure::failed(format!(
            "the snapshot of {name}: {}",
            state(&taken)
        )));
    }
    session
        .output
        .talk(format!("Snapshot {}: {}.", taken.id, state(&taken)));
    session.output.answer(&taken)
}

async fn find(client: &Client, app: &AppName, id: SnapshotId) -> Result<Snapshot, Failure> {
    let all = client.volume_snapshots(app).await?;
    let found = all.into_iter().find(|snapshot| snapshot.id == id);
    found.ok_or_else(|| Failure::not_found("that snapshot is gone"))
}

async fn restore(args: &RestoreArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let name = args.name.as_str();
    let what = Confirmation {
        verb: "volumes:restore",
        says: format!("This replaces all that is on {name} of {app} by the snapshot."),
    };
    what.ask(args.confirm.as_deref(), &args.name, session)?;
    let begun = client.restore_volume(&app, name, args.snapshot).await?;
    session.output.talk(format!(
        "{name} is being restored; its pods stop until that is done."
    ));
    if args.no_wait {
        return session.output.answer(&begun);
    }
    let began_at = begun.updated_at;
    let volume = at_rest(&client, &app, begun).await?;
    let events = client.events(&app, &EventFilter::default()).await?;
    let failed = events
        .iter()
        .find(|event| event.kind == "volume.failed" && event.created_at >= began_at);
    match failed {
        Some(event) => Err(Failure::failed(event.message.clone())),
        None => {
            session.output.talk(format!("{name} is restored."));
            session.output.answer(&volume)
        }
    }
}

async fn destroy(args: &DestroyArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let destroyed = client.destroy_snapshot(&app, args.snapshot).await?;
    session
        .output
        .talk(format!("Destroyed the snapshot {}.", destroyed.id));
    session.output.answer(&destroyed)
}
