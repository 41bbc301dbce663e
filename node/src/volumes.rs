//! Volumes on this machine: the directories that pods have beside their image.
//!
//! ```text
//! VOLUMES/ID/mnt/data   what pods see of a local volume; a plain directory, or, with a size, in
//! VOLUMES/ID/image      a file system of its own, mounted on mnt over a loop device
//! ```
//!
//! A file system of its own rather than project quotas: those need a certain file system with a
//! certain option below the agent's directory, this works on every one. What pods see is a
//! directory in it, so that `lost+found` is not among their files, and a volume that is not mounted
//! cannot be taken for an empty one.
//!
//! Nothing is removed but what the controller says was destroyed, and nothing is worked on while a
//! container has it.

mod archive;
mod claims;
mod docker;
mod files;
mod host_path;
mod keep;
pub(crate) mod lease;
mod local;
mod measure;
mod owner;
mod programs;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bollard::models::Mount as EngineMount;
use fairway_api::{
    client::Client,
    names::{HostPath, NodeName},
    pods::{FILES_DIR, PodSpec},
    volumes::{Mount, VolumeSource, VolumeStatus, VolumeTask},
};
use tokio::sync::watch;

pub(crate) use self::owner::{Named, User, look_up, read as read_user};
use self::{claims::Claims, files::Files, lease::Answered, local::Local};
use crate::{engine::Engine, facts::Description, plans::Orders, pod::handle::Host};

/// What the rest of the agent has of it.
#[derive(Debug)]
pub(crate) struct Disks {
    pub(crate) volumes: Arc<Volumes>,
    /// What volumes use; `None` before the first look.
    pub(crate) measured: watch::Receiver<Option<Vec<VolumeStatus>>>,
    /// The orders as far as leases allow.
    pub(crate) allowed: watch::Receiver<Option<Arc<Orders>>>,
    answers: watch::Sender<Answered>,
}

impl Disks {
    /// The controller answered a report that was sent at this time of [`lease::clock`], and said
    /// which plan is the newest.
    pub(crate) fn answered(&self, sent_at: Duration, generation: u64) {
        self.answers.send_replace(Answered {
            sent_at,
            generation,
        });
    }
}

/// Opens the volumes of this machine; nothing is done before [`Keeper::run`].
pub(crate) fn open(
    data_dir: &Path,
    engine: &Arc<Engine>,
    orders: &watch::Receiver<Option<Arc<Orders>>>,
    description: Description,
) -> (Disks, Keeper) {
    let volumes = Arc::new(Volumes {
        local: Local::new(data_dir.join("volumes")),
        files: Files::new(engine.instance()),
        claims: Claims::default(),
        engine: engine.clone(),
        orders: orders.clone(),
        allowed: description.host_paths,
    });
    let (answers, answered) = watch::channel(Answered::default());
    let (allowed_out, allowed) = watch::channel(None);
    let (measured_out, measured) = watch::channel(None);
    let keeper = Keeper {
        volumes: volumes.clone(),
        answered,
        allowed: allowed_out,
        measured: measured_out,
    };
    let disks = Disks {
        volumes,
        measured,
        allowed,
        answers,
    };
    (disks, keeper)
}

/// What is done about volumes beside the starts of pods.
#[derive(Debug)]
pub(crate) struct Keeper {
    volumes: Arc<Volumes>,
    answered: watch::Receiver<Answered>,
    allowed: watch::Sender<Option<Arc<Orders>>>,
    measured: watch::Sender<Option<Vec<VolumeStatus>>>,
}

impl Keeper {
    /// Obeys, measures and watches leases for ever.
    pub(crate) async fn run(self, host: Arc<Host>, client: Client, node: NodeName) {
        let (engine, orders) = (self.volumes.engine.clone(), self.volumes.orders.clone());
        let guarding = lease::guard(engine, orders.clone(), self.answered, self.allowed);
        let keeping = keep::keep(keep::Means {
            volumes: self.volumes,
            client,
            node,
            orders,
            board: host.board.subscribe(),
            logs: host.logs.clone(),
            measured: self.measured,
        });
        // Not held longer: the agent ends when the last who writes on the board has gone.
        drop(host);
        tokio::join!(guarding, keeping);
    }
}

/// What the agent keeps volumes with.
#[derive(Debug)]
pub(crate) struct Volumes {
    engine: Arc<Engine>,
    orders: watch::Receiver<Option<Arc<Orders>>>,
    local: Local,
    files: Files,
    claims: Claims,
    allowed: Vec<HostPath>,
}

/// What a pod mounts, from before its container is made until it has started: until then the
/// engine does not say that the pod has it.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) mounts: Vec<EngineMount>,
    _claim: claims::Claim<'a>,
}

impl Volumes {
    /// Makes what a pod mounts if it is missing, and mounts it.
    pub(crate) async fn prepare(&self, spec: &PodSpec) -> Result<Prepared<'_>, String> {
        let ids = spec.mounts.iter().map(|mount| mount.volume).collect();
        // From here on no work on them begins.
        let claim = self.claims.claim(ids);
        let mut mounts = Vec::with_capacity(spec.mounts.len() + 1);
        for mount in &spec.mounts {
            if let Some(what) = self.hindrance(mount) {
                return Err(format!("its volume {} {what}", mount.name));
            }
            let made = self.source(mount).await;
            let failed = |why| format!("cannot mount its volume {}: {why}", mount.name);
            mounts.push(made.map_err(failed)?);
        }
        if !spec.files.is_empty() {
            let dir = self.files.write(spec);
            let dir = dir.map_err(|why| format!("cannot give it its config files: {why}"))?;
            mounts.push(docker::bind(&dir, FILES_DIR, true));
        }
        Ok(Prepared {
            mounts,
            _claim: claim,
        })
    }

    /// Why no pod may have it: the controller's orders say so before the pod is taken out of them.
    fn hindrance(&self, mount: &Mount) -> Option<&'static str> {
        if self.claims.is_busy(mount.volume) {
            return Some("is being worked on");
        }
        let orders = self.orders.borrow();
        let orders = orders.iter().flat_map(|orders| &orders.volumes);
        let mut ours = orders.filter(|order| order.volume == mount.volume);
        ours.next().map(|order| match order.task {
            VolumeTask::Remove => "was destroyed",
            VolumeTask::Save { .. } | VolumeTask::Load { .. } => "is being worked on",
        })
    }

    async fn source(&self, mount: &Mount) -> Result<EngineMount, String> {
        let (path, read_only) = (mount.path.as_str(), mount.read_only);
        match &mount.source {
            VolumeSource::Local => {
                let dir = self.local.ready(mount.volume, mount.size_bytes).await?;
                Ok(docker::bind(&dir, path, read_only))
            }
            VolumeSource::HostPath { path: dir } => {
                let dir = host_path::find(dir, &self.allowed)?;
                Ok(docker::bind(&dir, path, read_only))
            }
            VolumeSource::Nfs { share } => Ok(docker::nfs(
                self.engine.instance(),
                mount.volume,
                share,
                path,
                read_only,
            )),
        }
    }

    /// Gives a pod's container what it has to own: config files always, a volume while it is empty.
    pub(crate) async fn settle(&self, spec: &PodSpec, container: &str) {
        let local = |mount: &&Mount| mount.source == VolumeSource::Local;
        let empty: Vec<PathBuf> = spec
            .mounts
            .iter()
            .filter(local)
            .filter_map(|mount| self.local.if_new(mount.volume))
            .collect();
        if empty.is_empty() && spec.files.is_empty() {
            return;
        }
        let user = match self.engine.user_of(container).await {
            Ok(user) => user,
            Err(error) => {
                tracing::warn!(container, "cannot find out a container's user: {error}");
                None
            }
        };
        if let Some(User { uid, gid }) = user {
            for dir in &empty {
                owner::give(dir, uid, gid);
            }
        }
        if !spec.files.is_empty() {
            self.files.settle(spec, user);
        }
    }
}
