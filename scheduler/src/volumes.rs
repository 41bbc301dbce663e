//! Volumes: where they bind their pods to, and who may have one.
//!
//! A local volume is on one machine, so its pods run there and nowhere else. A volume that is not
//! shared is held by one pod at a time: the pod that is bound to a machine holds it until its agent
//! says that it is no more, or, for one that other machines can reach too, until the lease of a lost
//! machine has certainly run out ([`fairway_api::volumes::lease`]).
//!
//! So the pods of such a process type cannot change places side by side. The new pod waits for its
//! machine; when everything else of its release is up, the old one is taken out of service, and the
//! new one starts in its place. If the deployment fails, the old release's pod is made again.

use chrono::Duration;
use fairway_api::{
    ids::VolumeId,
    names::{NodeName, ProcessType, VolumeName},
    volumes::lease::TAKEOVER_SECS,
};

use crate::{
    filter::Why,
    pass::Pass,
    place::cluster::{Index, Machine},
    slots,
    snapshot::{App, DeploymentState, NodeState, Pod, PodIntent, PodKind, Release, Volume},
};

const MIB: u64 = 1024 * 1024;

/// What a pod's volumes ask of the machine that it gets.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Where a local one is.
    pins: Option<(VolumeName, NodeName)>,
    /// What local ones that are nowhere yet will take.
    disk_bytes: u64,
    /// What volumes take on each machine, by its index; only if it matters.
    promised: Vec<u64>,
}

impl App {
    /// The volumes that a pod mounts. One-off pods and release phases have none: the pod that serves
    /// has them.
    pub fn volumes_of<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = (VolumeId, &'a Volume)> {
        let release = self.releases.get(&pod.release);
        let of_type = release
            .filter(|_| pod.kind == PodKind::Service)
            .and_then(|release| release.types.get(&pod.process_type));
        let ids = of_type.into_iter().flat_map(|of_type| &of_type.volumes);
        ids.filter_map(|id| Some((*id, self.volumes.get(id)?)))
    }

    /// True for a pod whose volume is on its machine's disk: it cannot go elsewhere.
    pub(crate) fn is_pinned(&self, pod: &Pod) -> bool {
        self.volumes_of(pod)
            .any(|(_, volume)| volume.local && volume.node == pod.node)
    }
}

impl Needs {
    pub(crate) fn of(app: &App, pod: &Pod) -> Self {
        let mut needs = Self::default();
        for (_, volume) in app.volumes_of(pod).filter(|(_, volume)| volume.local) {
            match &volume.node {
                Some(node) => needs.pins = Some((volume.name.clone(), node.clone())),
                None => needs.disk_bytes += volume.size_bytes,
            }
        }
        needs
    }

    /// Notes what volumes take already, if it matters.
    pub(crate) fn count<'a>(
        &mut self,
        apps: impl Iterator<Item = &'a App>,
        index: impl Fn(&NodeName) -> Option<Index>,
        machines: usize,
    ) {
        if self.disk_bytes == 0 {
            return;
        }
        self.promised = vec![0; machines];
        for volume in apps.flat_map(|app| app.volumes.values()) {
            if let Some(index) = volume.node.as_ref().and_then(&index) {
                self.promised[index as usize] += volume.size_bytes;
            }
        }
    }

    /// Why a machine cannot be the pod's.
    pub(crate) fn refuses(&self, index: Index, machine: &Machine) -> Option<Why> {
        if let Some((volume, node)) = &self.pins
            && *node != machine.name
        {
            return Some(Why::Volume {
                volume: volume.clone(),
                node: node.clone(),
            });
        }
        let has = machine.node.facts.disk_bytes;
        let promised = self.promised.get(index as usize).copied()?;
        (promised.saturating_add(self.disk_bytes) > has).then_some(Why::Disk {
            promised: promised / MIB,
            has: has / MIB,
            need: self.disk_bytes / MIB,
        })
    }
}

/// Why no machine may have the pod now.
pub(crate) fn hindrance(app: &App, pod: &Pod, pass: &mut Pass<'_>) -> Option<String> {
    for (id, volume) in app.volumes_of(pod) {
        if let Some(what) = volume.hindrance {
            return Some(format!("its volume {} {what}", volume.name));
        }
        if let Some(holder) = holder(app, id, volume, pod, pass) {
            return Some(held(app, volume, holder));
        }
    }
    None
}

fn held(app: &App, volume: &Volume, holder: &Pod) -> String {
    let release = app.releases.get(&holder.release);
    let version = release.map_or_else(String::new, |it| format!(" of v{}", it.version));
    let node = holder.node.as_ref().map_or("no machine", NodeName::as_str);
    format!(
        "its volume {} is held by {}{version} on {node}",
        volume.name, holder.name
    )
}

/// Another pod that has the volume for itself.
fn holder<'a>(
    app: &'a App,
    id: VolumeId,
    volume: &Volume,
    other_than: &Pod,
    pass: &mut Pass<'_>,
) -> Option<&'a Pod> {
    if volume.shared {
        return None;
    }
    let mut others = app.pods.values().filter(|pod| pod.id != other_than.id);
    others.find(|pod| {
        pod.node.is_some()
            && pod.holds()
            && app.volumes_of(pod).any(|(held, _)| held == id)
            && !(pod.intent == PodIntent::Stopping && lease_is_over(pod, pass))
    })
}

/// True when the pod's machine has been lost for so long that it has stopped the pod by itself.
/// Orders without the pod are out, so that it cannot begin again.
fn lease_is_over(pod: &Pod, pass: &mut Pass<'_>) -> bool {
    let nodes = pass.nodes;
    let node = pod.node.as_ref().and_then(|name| nodes.get(name));
    let lost_at = node
        .filter(|node| node.state == NodeState::Lost)
        .and_then(|node| node.lost_at);
    let wait = Duration::seconds(i64::try_from(TAKEOVER_SECS).unwrap_or(i64::MAX));
    lost_at.is_some_and(|lost_at| pass.reached(lost_at + wait))
}

/// Takes pods out of service for those that are to have their volumes, and those whose volumes are
/// worked on.
pub(crate) fn hand_over(app: &App, pass: &mut Pass<'_>) {
    if app.volumes.is_empty() {
        return;
    }
    let pods = app.pods.values();
    let wanted: Vec<&Pod> = pods
        .filter(|pod| pod.kind == PodKind::Service && pod.intent == PodIntent::Wanted)
        .collect();
    let (waiting, bound): (Vec<&Pod>, Vec<&Pod>) =
        wanted.into_iter().partition(|pod| pod.node.is_none());
    for pod in bound {
        let mut volumes = app.volumes_of(pod);
        let worked_on = volumes.any(|(_, volume)| volume.hindrance.is_some());
        if worked_on || waiting.iter().any(|heir| inherits(app, heir, pod, pass)) {
            slots::leave(app, pod, pass);
        }
    }
    for pod in waiting {
        // A lost machine's lease ends without anybody saying so: this asks to be woken then.
        hindrance(app, pod, pass);
    }
}

/// True when a pod that has no machine is to have the volume of one that has, and could use it.
fn inherits(app: &App, heir: &Pod, pod: &Pod, pass: &Pass<'_>) -> bool {
    let wants = |id: VolumeId| app.volumes_of(heir).any(|(wanted, _)| wanted == id);
    let mut volumes = app.volumes_of(pod);
    let in_the_way = volumes.any(|(id, volume)| !volume.shared && wants(id));
    let same_slot = (&heir.process_type, heir.ordinal) == (&pod.process_type, pod.ordinal);
    let follows = if heir.release == pod.release {
        same_slot && heir.id > pod.id
    } else {
        let begins = starting(app).is_some_and(|release| release.id == heir.release);
        begins && (same_slot || heir.ordinal == 1) && others_are_up(app, heir)
    };
    in_the_way && follows && has_place(app, heir, pass)
}

/// False if the machine that the pod's volume is on takes no pods.
fn has_place(app: &App, pod: &Pod, pass: &Pass<'_>) -> bool {
    let mut pins = app.volumes_of(pod).filter(|(_, volume)| volume.local);
    pins.all(|(_, volume)| {
        let node = volume.node.as_ref().map(|name| pass.nodes.get(name));
        node.is_none_or(|node| node.is_some_and(|node| node.state == NodeState::Ready))
    })
}

/// True when all that can start beside the old release has: the gap that comes now is as short as
/// it can be, and a release that fails for other reasons makes none.
fn others_are_up(app: &App, heir: &Pod) -> bool {
    let Some(release) = app.releases.get(&heir.release) else {
        return false;
    };
    let slots = slots::by_slot(app, release);
    let mut wanted = app.wanted(release).into_iter();
    wanted.all(|(process_type, want)| {
        is_exclusive(app, release, process_type)
            || (1..=want.quantity).all(|ordinal| {
                let newest = slots.get(&(process_type, ordinal));
                newest.is_some_and(|pods| pods.last().is_some_and(|pod| pod.is_up()))
            })
    })
}

/// True when a pod waits for one that is on its way out, or for work on its volume: no sign that it
/// fits nowhere.
pub(crate) fn awaits(app: &App, pod: &Pod, pass: &mut Pass<'_>) -> bool {
    pod.node.is_none() && has_place(app, pod, pass) && hindrance(app, pod, pass).is_some()
}

/// True when the serving release's slots of a type are left empty, because their volumes go to a
/// release that is starting.
pub(crate) fn yields(app: &App, serving: &Release, process_type: &ProcessType) -> bool {
    starting(app).is_some_and(|starting| {
        starting.id != serving.id
            && starting.types.contains_key(process_type)
            && (is_exclusive(app, serving, process_type)
                || is_exclusive(app, starting, process_type))
    })
}

/// True if one release cannot start while the other runs, because of a volume of theirs.
pub(crate) fn change_hands(app: &App, old: &Release, new: &Release) -> bool {
    let exclusive = |release: &Release| {
        let mut types = release.types.keys();
        types.any(|process_type| is_exclusive(app, release, process_type))
    };
    exclusive(old) || exclusive(new)
}

fn starting(app: &App) -> Option<&Release> {
    let deployment = app.active_deployment()?;
    let starts = *deployment.state.beneath_pause() == DeploymentState::Starting;
    starts.then(|| app.releases.get(&deployment.release))?
}

fn is_exclusive(app: &App, release: &Release, process_type: &ProcessType) -> bool {
    let volumes = release.types.get(process_type).map(|it| &it.volumes);
    let mut volumes = volumes.into_iter().flatten();
    volumes.any(|id| app.volumes.get(id).is_some_and(|volume| !volume.shared))
}
