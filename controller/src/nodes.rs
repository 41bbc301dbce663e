//! What operators see of machines and ask of them: cordon, drain, label, taint, remove.
//!
//! Requests only write intent; the reconcile loop moves pods.

use std::collections::HashMap;

use chrono::TimeDelta;
use fairway_api::{
    machines::{CLOCK_SKEW_SECS_MAX, Node, NodeIntent, NodePatch, NodeState, Promised},
    names::{LabelKey, NodeName},
    placement::{LABELS_MAX, TAINTS_MAX, Taint, ZONE_LABEL},
    sizes::{self, SIZE_DEFAULT},
};

use crate::{
    auth::Caller,
    config::Role,
    orchestrator::cluster::Heard,
    problem::{Answer, Problem},
    state::AppState,
    store::{
        Db, StoreError,
        columns::now,
        events::{self, ACTOR_PLATFORM},
        nodes::{self, NodeRow, SidecarLoad},
        pods, volumes as volume_rows,
    },
    volumes,
};

/// All machines as operators see them, by name.
pub async fn list(state: &AppState) -> Answer<Vec<Node>> {
    let heard = state.cluster.heard();
    let mut tx = state.store.read().await?;
    let rows = nodes::all(&mut tx).await?;
    let loads = Loads::read(&mut tx).await?;
    Ok(rows.iter().map(|row| shown(row, &heard, &loads)).collect())
}

/// One machine.
pub async fn find(state: &AppState, name: &str) -> Answer<Node> {
    let heard = state.cluster.heard();
    let mut tx = state.store.read().await?;
    let row = nodes::find(&mut tx, name).await?;
    let loads = Loads::read(&mut tx).await?;
    Ok(shown(&row, &heard, &loads))
}

/// Changes what is asked of a machine.
pub async fn update(state: &AppState, caller: &Caller, name: &str, patch: NodePatch) -> Answer<()> {
    let mut tx = state.store.write().await?;
    let mut row = nodes::find(&mut tx, name).await?;
    let before = row.clone();
    change(&mut row, patch)?;
    if row == before {
        return Ok(());
    }
    nodes::update(&mut tx, &row, now()).await?;
    for (kind, message) in told(&before, &row) {
        let who = caller.account.email.as_str();
        events::record(&mut tx, None, who, kind, &message).await?;
    }
    tx.commit().await?;
    state.members.let_route(row.id, row.may_route());
    state.wake.nodes();
    Ok(())
}

/// Takes a machine out of the cluster. Its pods count as gone from then on and are replaced; its
/// agent is told when it calls, and stops what it still runs.
pub async fn remove(state: &AppState, caller: &Caller, name: &str, force: bool) -> Answer<Node> {
    let heard = state.cluster.heard();
    let mut tx = state.store.write().await?;
    let row = nodes::find(&mut tx, name).await?;
    if is_our_own(state, &row.name) {
        return Err(Problem::conflict(format!(
            "{name} is the controller's own machine and cannot be removed."
        ))
        .hint(format!(
            "To keep pods away from it: fairway nodes:drain {name}"
        )));
    }
    let lives = matches!(
        node_state(&row, &heard),
        NodeState::Ready | NodeState::Suspected | NodeState::Cordoned | NodeState::Draining
    );
    let pods = pods::of_node(&mut tx, &row.name).await?.len();
    if lives && pods > 0 && !force {
        return Err(Problem::conflict(format!(
            "{name} lives and has {pods} {}.",
            if pods == 1 { "pod" } else { "pods" }
        ))
        .hint(format!(
            "Drain it first: fairway nodes:drain {name}. Or remove it with --force: its pods are \
             cut off and replaced."
        )));
    }
    let volumes = volumes::on_node(&mut tx, &row.name).await?;
    if let Some(first) = volumes.first().filter(|_| !force) {
        return Err(Problem::conflict(format!(
            "{name} has {} {} of apps on its disk, such as {first}.",
            volumes.len(),
            if volumes.len() == 1 {
                "volume"
            } else {
                "volumes"
            }
        ))
        .hint(format!(
            "Move them first: app volumes:move {first} --to NODE. Or remove it with --force: their \
             data stays on that disk, and pods that want it wait until their app destroys the \
             volume, or the machine joins again under its name."
        )));
    }
    let node = shown(&row, &heard, &Loads::read(&mut tx).await?);
    nodes::delete(&mut tx, row.id).await?;
    volume_rows::forget_removed_nodes(&mut tx).await?;
    let message = format!("{name} was removed from the cluster with {pods} pods");
    let who = caller.account.email.as_str();
    events::record(&mut tx, None, who, "node.removed", &message).await?;
    tx.commit().await?;
    state.members.remove(row.id);
    state.cluster.forget(&row.name);
    state.routers.forget(&row.name);
    state.wake.nodes();
    Ok(node)
}

/// Puts it on the record when a machine's clock goes wrong or right. `before` is how far it was
/// ahead when it reported last.
pub async fn watch_clock(
    state: &AppState,
    name: &NodeName,
    before: Option<TimeDelta>,
) -> Result<(), StoreError> {
    let after = state.cluster.clock_ahead(name);
    let wrong = |ahead: Option<TimeDelta>| {
        ahead.filter(|ahead| ahead.abs() > TimeDelta::seconds(CLOCK_SKEW_SECS_MAX))
    };
    let (kind, message) = match (wrong(before), wrong(after)) {
        (None, Some(ahead)) => {
            let secs = ahead.num_seconds();
            let how = if secs > 0 { "ahead of" } else { "behind" };
            let secs = secs.abs();
            let message = format!("The clock of {name} is {secs} s {how} the controller's");
            ("node.clock-wrong", message)
        }
        (Some(_), None) if after.is_some() => (
            "node.clock-right",
            format!("The clock of {name} is right again"),
        ),
        _ => return Ok(()),
    };
    tracing::warn!(node = %name, "{message}");
    let mut tx = state.store.write_relaxed().await?;
    events::record(&mut tx, None, ACTOR_PLATFORM, kind, &message).await?;
    tx.commit().await
}

/// Puts it on the record when a machine begins or ends to refuse pods for its disk. `before` is why
/// it did when it reported last.
pub async fn watch_disk(
    state: &AppState,
    name: &NodeName,
    before: Option<String>,
) -> Result<(), StoreError> {
    let (kind, message) = match (before, state.cluster.disk_pressure(name)) {
        (None, Some(why)) => (
            "node.disk-pressure",
            format!("{name} takes no new pods: {why}"),
        ),
        (Some(_), None) => (
            "node.disk-relieved",
            format!("Enough of the disk of {name} is free again"),
        ),
        _ => return Ok(()),
    };
    tracing::warn!(node = %name, "{message}");
    let mut tx = state.store.write_relaxed().await?;
    events::record(&mut tx, None, ACTOR_PLATFORM, kind, &message).await?;
    tx.commit().await
}

/// A machine with a credential from the start runs in, or beside, the controller's process.
fn is_our_own(state: &AppState, name: &NodeName) -> bool {
    let mut credentials = state.config.role_credentials.iter();
    credentials.any(|credential| credential.role == Role::Node(name.clone()))
}

fn change(row: &mut NodeRow, patch: NodePatch) -> Answer<()> {
    if let Some(intent) = patch.intent {
        row.intent = intent;
    }
    let of_agent = |row: &NodeRow, key: &LabelKey| {
        let facts = row.facts.as_ref();
        facts.is_some_and(|facts| facts.labels.contains_key(key))
    };
    for (key, value) in patch.labels {
        // Only a label of the agent has to be remembered as taken off.
        if value.is_none() && !of_agent(row, &key) {
            row.own_labels.remove(&key);
        } else {
            row.own_labels.insert(key, value);
        }
    }
    row.taints
        .retain(|taint| !patch.untaint.contains(&taint.key));
    for taint in patch.taints {
        let same = |it: &Taint| (&it.key, it.effect) == (&taint.key, taint.effect);
        row.taints.retain(|it| !same(it));
        row.taints.push(taint);
    }
    if row.labels().len() > LABELS_MAX || row.own_labels.len() > LABELS_MAX {
        return Err(Problem::invalid(format!(
            "A machine can have at most {LABELS_MAX} labels."
        )));
    }
    if row.taints.len() > TAINTS_MAX {
        return Err(Problem::invalid(format!(
            "A machine can have at most {TAINTS_MAX} taints."
        )));
    }
    Ok(())
}

/// What goes on the record of a change.
fn told(before: &NodeRow, after: &NodeRow) -> Vec<(&'static str, String)> {
    let name = &after.name;
    let mut told = Vec::new();
    if before.intent != after.intent {
        told.push(match after.intent {
            NodeIntent::Ready => ("node.uncordoned", format!("{name} takes pods")),
            NodeIntent::Cordoned => ("node.cordoned", format!("{name} takes no new pods")),
            NodeIntent::Draining => ("node.drained", format!("The pods of {name} move away")),
        });
    }
    if before.own_labels != after.own_labels {
        let labels = after.labels();
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        told.push(("node.labelled", format!("{name} is {}", labels.join(" "))));
    }
    if before.taints != after.taints {
        let taints: Vec<_> = after.taints.iter().map(ToString::to_string).collect();
        told.push((
            "node.tainted",
            format!("{name} has the taints {}", taints.join(" ")),
        ));
    }
    told
}

/// Pods by machine.
struct Loads(HashMap<NodeName, (u32, Promised)>);

impl Loads {
    async fn read(db: &mut Db) -> Result<Self, StoreError> {
        let mut loads: HashMap<NodeName, (u32, Promised)> = HashMap::new();
        for row in nodes::loads(db).await? {
            let size = sizes::find(row.size.as_str()).or_else(|| sizes::find(SIZE_DEFAULT));
            let (pods, promised) = loads.entry(row.node).or_default();
            *pods += row.pods;
            if let Some(size) = size {
                let count = u64::from(row.pods);
                promised.memory_bytes += size.resources.memory_bytes * count;
                promised.cpu_millis += u64::from(size.resources.cpu_millis) * count;
            }
        }
        for SidecarLoad { node, resources } in nodes::sidecar_loads(db).await? {
            let (_, promised) = loads.entry(node).or_default();
            promised.memory_bytes += resources.memory_bytes;
            promised.cpu_millis += u64::from(resources.cpu_millis);
        }
        Ok(Self(loads))
    }
}

fn node_state(row: &NodeRow, heard: &Heard) -> NodeState {
    match row.intent {
        _ if heard.of(&row.name).is_none() && row.capacity.is_none() => NodeState::Joining,
        _ if heard.is_lost(&row.name) => NodeState::Lost,
        NodeIntent::Ready if heard.is_suspected(&row.name) => NodeState::Suspected,
        NodeIntent::Ready => NodeState::Ready,
        NodeIntent::Cordoned => NodeState::Cordoned,
        NodeIntent::Draining => NodeState::Draining,
    }
}

fn shown(row: &NodeRow, heard: &Heard, loads: &Loads) -> Node {
    let last = heard.of(&row.name);
    let status = last.map(|last| &last.report);
    let facts = status
        .and_then(|status| status.facts.as_ref())
        .or(row.facts.as_ref());
    let labels = row.labels();
    let (pods, promised) = loads.0.get(&row.name).copied().unwrap_or_default();
    Node {
        id: row.id,
        name: row.name.clone(),
        state: node_state(row, heard),
        capacity: status
            .map(|status| &status.capacity)
            .or(row.capacity.as_ref())
            .cloned(),
        promised,
        pods,
        zone: labels.get(ZONE_LABEL).cloned(),
        labels,
        taints: row.taints.clone(),
        kind: facts.map(|facts| facts.kind),
        kernel: facts.map(|facts| facts.kernel.clone()),
        version: facts.map(|facts| facts.version.clone()),
        address: status.and_then(|status| status.network.underlay),
        clock_ahead_secs: heard.clock_ahead(&row.name).map(|it| it.num_seconds()),
        silent_secs: last.map(|last| last.age.as_secs()),
        disk_pressure: status.and_then(|status| status.disk.pressure.clone()),
        held_until: heard.held_until(&row.name),
        certificate_expires_at: row.certificate_until,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}
