//! `volumes` and its verbs.

mod arguments;
mod snapshots;

use std::time::Duration;

use clap::Subcommand;
use fairway_api::{
    client::Client,
    names::{AppName, VolumeName},
    volumes::{MountAt, NewVolume, Volume, VolumeChange, VolumeMount, show_size},
};
use tokio::time::{Instant, sleep};

use self::arguments::{
    CreateArgs, DestroyArgs, InfoArgs, ListArgs, MountArgs, MoveArgs, UnmountArgs,
};
use crate::{
    failure::Failure,
    output::{pairs, table, time},
    session::Session,
    terminal,
};

/// Pause between two looks at a volume that is at work.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long `volumes:destroy --force` waits for pods to let go; a release may take that long.
const LET_GO_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(
        name = "volumes",
        visible_alias = "volumes:list",
        alias = "storage:list"
    )]
    List(ListArgs),
    #[command(name = "volumes:create")]
    Create(CreateArgs),
    #[command(name = "volumes:info")]
    Info(InfoArgs),
    #[command(name = "volumes:mount", alias = "storage:mount")]
    Mount(MountArgs),
    #[command(name = "volumes:unmount", alias = "storage:unmount")]
    Unmount(UnmountArgs),
    #[command(name = "volumes:destroy")]
    Destroy(DestroyArgs),
    #[command(name = "volumes:move")]
    Move(MoveArgs),
    #[command(flatten)]
    Snapshots(snapshots::Command),
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Create(args) => create(args, session).await,
            Self::Info(args) => info(&args, session).await,
            Self::Mount(args) => mount(args, session).await,
            Self::Unmount(args) => unmount(&args, session).await,
            Self::Destroy(args) => destroy(&args, session).await,
            Self::Move(args) => relocate(&args, session).await,
            Self::Snapshots(command) => command.run(session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let volumes = client.volumes(&app).await?;
    if volumes.is_empty() {
        session.output.talk(format!(
            "{app} has no volumes. Make one: app volumes:create data --mount web:/data"
        ));
    }
    session.output.data(&volumes, |volumes| {
        let rows = volumes.iter().map(|volume| {
            [
                volume.name.to_string(),
                volume.source.describe(),
                used(volume),
                place(volume),
                mounts(volume, ", "),
            ]
        });
        table(["NAME", "KIND", "USED", "NODE", "MOUNTED"], rows)
    })
}

/// `1.2 GB of 10 GB`.
fn used(volume: &Volume) -> String {
    let used = volume.used_bytes.map_or("-".into(), show_size);
    match volume.size_bytes {
        Some(size) => format!("{used} of {}", show_size(size)),
        None => used,
    }
}

fn place(volume: &Volume) -> String {
    let node = match &volume.node {
        Some(node) => node.to_string(),
        None if volume.source.is_on_a_machine() => "not yet".into(),
        None => "any".into(),
    };
    match &volume.work {
        Some(work) => format!("{node} ({work})"),
        None => node,
    }
}

fn mounts(volume: &Volume, between: &str) -> String {
    let shown = |mount: &VolumeMount| {
        let read_only = if mount.read_only { ":ro" } else { "" };
        format!("{}:{}{read_only}", mount.process_type, mount.path)
    };
    let all: Vec<String> = volume.mounts.iter().map(shown).collect();
    if all.is_empty() {
        "-".into()
    } else {
        all.join(between)
    }
}

async fn create(args: CreateArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let new: NewVolume = args.into();
    let change = client.create_volume(&app, &new).await?;
    session
        .output
        .talk(format!("Made volume {} of {app}.", change.volume.name));
    for mount in &change.volume.mounts {
        say_mounted(session, &change, mount);
    }
    session.output.answer(&change)
}

/// Mounts take effect by a release: that is what people have to know.
fn say_mounted(session: &Session, change: &VolumeChange, mount: &VolumeMount) {
    let (
        name,
        VolumeMount {
            process_type, path, ..
        },
    ) = (&change.volume.name, mount);
    session.output.talk(match change.release {
        Some(version) => format!(
            "{process_type} gets {name} at {path} with v{version}, whose pods take the place of \
             those that run now."
        ),
        None => format!("{process_type} gets {name} at {path} with its next release."),
    });
}

async fn info(args: &InfoArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let volume = client.volume(&app, args.name.as_str()).await?;
    session.output.data(&volume, |volume| {
        let pods = if volume.pods.is_empty() {
            "-".into()
        } else {
            volume.pods.join(", ")
        };
        let shared = if volume.shared {
            "any number of pods at a time"
        } else {
            "one pod at a time"
        };
        let rows = [
            ("Name", volume.name.to_string()),
            ("Id", volume.id.to_string()),
            ("Kind", volume.source.describe()),
            (
                "Size",
                volume.size_bytes.map_or("no limit".into(), show_size),
            ),
            (
                "Used",
                volume.used_bytes.map_or("unknown".into(), show_size),
            ),
            ("For", shared.into()),
            ("Node", place(volume)),
            ("Mounted", mounts(volume, "\n")),
            ("Pods", pods),
            ("Created", time(volume.created_at)),
        ];
        pairs(rows)
    })
}

async fn mount(args: MountArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let VolumeMount {
        process_type,
        path,
        read_only,
    } = args.at.0;
    let at = MountAt {
        path: path.clone(),
        read_only,
    };
    let change = client
        .mount_volume(&app, args.name.as_str(), &process_type, &at)
        .await?;
    let mount = VolumeMount {
        process_type,
        path,
        read_only,
    };
    say_mounted(session, &change, &mount);
    session.output.answer(&change)
}

async fn unmount(args: &UnmountArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let (name, process_type) = (&args.name, &args.process_type);
    let change = client
        .unmount_volume(&app, name.as_str(), process_type)
        .await?;
    session.output.talk(match change.release {
        Some(version) => format!(
            "{process_type} is without {name} from v{version} on. What is on the volume stays."
        ),
        None => format!("{process_type} is without {name}. What is on the volume stays."),
    });
    session.output.answer(&change)
}

async fn destroy(args: &DestroyArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let volume = client.volume(&app, args.name.as_str()).await?;
    let what = Confirmation {
        verb: "volumes:destroy",
        says: format!(
            "This destroys {} of {app} with all that is on it.",
            volume.name
        ),
    };
    what.ask(args.confirm.as_deref(), &volume.name, session)?;
    if args.force && (!volume.mounts.is_empty() || !volume.pods.is_empty()) {
        let_go(&client, &app, &volume, session).await?;
    }
    let destroyed = client.destroy_volume(&app, args.name.as_str()).await?;
    session
        .output
        .talk(format!("Destroyed volume {} of {app}.", destroyed.name));
    session.output.answer(&destroyed)
}

/// What somebody has to be sure of.
struct Confirmation {
    verb: &'static str,
    says: String,
}

impl Confirmation {
    /// Asks for the volume's name, unless it was given.
    fn ask(
        &self,
        given: Option<&str>,
        name: &VolumeName,
        session: &Session,
    ) -> Result<(), Failure> {
        let confirmed = match given {
            Some(text) => text.to_owned(),
            None if terminal::can_ask() => {
                session
                    .output
                    .talk(format!("{} It cannot be undone.", self.says));
                terminal::ask(&format!("Type {name} to go on"))?
            }
            None => {
                return Err(Failure::usage(format!("{} must be confirmed", self.verb))
                    .with_hint(format!("app {} {name} ... --confirm {name}", self.verb)));
            }
        };
        if confirmed.trim() == name.as_str() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{confirmed:?} is not {name}; nothing was done"
        )))
    }
}

/// Takes a volume away from all that has it.
async fn let_go(
    client: &Client,
    app: &AppName,
    volume: &Volume,
    session: &Session,
) -> Result<(), Failure> {
    let name = volume.name.as_str();
    for mount in &volume.mounts {
        client
            .unmount_volume(app, name, &mount.process_type)
            .await?;
        session
            .output
            .talk(format!("Unmounted {name} from {}.", mount.process_type));
    }
    let until = Instant::now() + LET_GO_MAX;
    while let Some(pod) = client.volume(app, name).await?.pods.first() {
        if Instant::now() > until {
            return Err(Failure::failed(format!("{pod} still has {name}"))
                .with_hint("app releases says whether the release without it is on its way"));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn relocate(args: &MoveArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let name = args.name.as_str();
    let volume = client.move_volume(&app, name, &args.to).await?;
    session.output.talk(format!(
        "{name} of {app} moves to {}. Its pods stop, and start there when it has arrived.",
        args.to
    ));
    let volume = if args.no_wait {
        volume
    } else {
        at_rest(&client, &app, volume).await?
    };
    if !args.no_wait {
        if volume.node.as_ref() != Some(&args.to) {
            return Err(
                Failure::failed(format!("{name} was not moved to {}", args.to))
                    .with_hint(format!("app events -a {app} says why")),
            );
        }
        session.output.talk(format!("{name} is on {}.", args.to));
    }
    session.output.answer(&volume)
}

/// Waits until nothing is done to a volume any more.
async fn at_rest(client: &Client, app: &AppName, mut volume: Volume) -> Result<Volume, Failure> {
    while volume.work.is_some() {
        sleep(LOOK_EVERY).await;
        volume = client.volume(app, volume.name.as_str()).await?;
    }
    Ok(volume)
}
