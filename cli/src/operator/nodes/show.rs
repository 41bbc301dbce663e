//! A machine as text. Pure.

use fairway_api::{
    machines::{CLOCK_SKEW_SECS_MAX, Node, NodeState},
    nodes::HEARTBEAT_SECS,
};

use crate::output::time;

const GIB: u64 = 1024 * 1024 * 1024;

/// A row of the table: name, state, zone, kind, pods, CPU, memory, disk, address, version, note.
pub(super) fn row(node: &Node) -> [String; 11] {
    let capacity = node.capacity.as_ref();
    let of_capacity = |show: &dyn Fn(&fairway_api::nodes::Capacity) -> String| {
        capacity.map_or_else(|| "-".to_owned(), show)
    };
    [
        node.name.to_string(),
        node.state.to_string(),
        node.zone
            .as_ref()
            .map_or_else(|| "-".into(), ToString::to_string),
        node.kind
            .map_or_else(|| "-".into(), |kind| kind.to_string()),
        node.pods.to_string(),
        of_capacity(&|it| cores(node.promised.cpu_millis, it.resources.cpu_millis.into())),
        of_capacity(&|it| gib(node.promised.memory_bytes, it.resources.memory_bytes)),
        of_capacity(&|it| {
            gib(
                it.disk_bytes.saturating_sub(it.disk_free_bytes),
                it.disk_bytes,
            )
        }),
        node.address
            .map_or_else(|| "-".into(), |address| address.to_string()),
        node.version.clone().unwrap_or_else(|| "-".into()),
        note(node),
    ]
}

/// Names and values.
pub(super) fn details(node: &Node) -> Vec<(&'static str, String)> {
    let [
        name,
        state,
        zone,
        kind,
        pods,
        cpu,
        memory,
        disk,
        address,
        version,
        note,
    ] = row(node);
    let capacity = node.capacity.as_ref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".into());
    let mut details = vec![
        ("Name", name),
        ("Id", node.id.to_string()),
        ("State", state),
        ("Zone", zone),
        ("Kind", kind),
        ("Labels", labels(node)),
        ("Taints", taints(node)),
        ("Address", address),
        ("Architecture", text(capacity.map(|it| &it.architecture))),
        ("Kernel", text(node.kernel.as_ref())),
        ("Engine", text(capacity.map(|it| &it.engine))),
        ("Agent", version),
        ("CPU", format!("{cpu} cores promised")),
        ("Memory", format!("{memory} promised")),
        ("Disk", format!("{disk} used")),
        ("Pods", pods),
        ("Joined", time(node.created_at)),
    ];
    if let Some(until) = node.certificate_expires_at {
        details.push((
            "Certificate",
            format!("until {}, renewed before", time(until)),
        ));
    }
    if !note.is_empty() {
        details.push(("Note", note));
    }
    details
}

/// `a=b c=d`.
pub(super) fn labels(node: &Node) -> String {
    let labels: Vec<_> = node
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    or_none(labels.join(" "))
}

/// `a=b:no-schedule`.
pub(super) fn taints(node: &Node) -> String {
    let taints: Vec<_> = node.taints.iter().map(ToString::to_string).collect();
    or_none(taints.join(" "))
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".into() } else { text }
}

/// What somebody should look at.
fn note(node: &Node) -> String {
    let mut notes = Vec::new();
    let late = node
        .silent_secs
        .filter(|&secs| secs > 2 * HEARTBEAT_SECS || node.state == NodeState::Suspected);
    match (node.state, late) {
        (_, Some(secs)) => notes.push(format!("silent for {secs} s")),
        (NodeState::Lost, None) => notes.push("silent since the controller started".into()),
        _ => {}
    }
    if let Some(until) = node.held_until {
        let until = until.format("%H:%M:%SZ");
        notes.push(format!(
            "many were lost with it, so its pods wait until {until}"
        ));
    }
    if let Some(secs) = node
        .clock_ahead_secs
        .filter(|it| it.abs() > CLOCK_SKEW_SECS_MAX)
    {
        let how = if secs > 0 { "ahead" } else { "behind" };
        notes.push(format!("clock {} s {how}", secs.abs()));
    }
    if let Some(why) = &node.disk_pressure {
        notes.push(format!("disk pressure: {why}"));
    }
    notes.join(", ")
}

/// `1.5/4` cores.
fn cores(used: u64, all: u64) -> String {
    let cores = |millis: u64| {
        let (whole, tenths) = (millis / 1000, millis % 1000 / 100);
        if tenths == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{tenths}")
        }
    };
    format!("{}/{}", cores(used), cores(all))
}

/// `1.5/8.0 GiB`.
fn gib(used: u64, all: u64) -> String {
    let tenths = |bytes: u64| {
        let tenths = bytes / (GIB / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    format!("{}/{} GiB", tenths(used), tenths(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!(cores(1500, 4000), "1.5/4");
        assert_eq!(gib(3 * GIB / 2, 8 * GIB), "1.5/8.0 GiB");
        assert_eq!(gib(0, 0), "0.0/0.0 GiB");
    }
}
