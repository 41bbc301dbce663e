//! A second machine: it joins a real controller over mTLS, runs pods, is labelled, renewed, removed
//! and refused. What happens to machines under load stands in `machines.rs`.

use std::fs;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::machines::{Node, NodeState};
use fairway_e2e::{JoinedNode, Machine, Machines, Platform, change_json};

use crate::{Alone, push::wait, sample};

pub(crate) const TESTS: &[(&str, Alone)] = &[("cluster_of_two_machines", two_machines)];

fn two_machines() -> anyhow::Result<()> {
    let machines = Machines::start(1)?;
    let machine = machines.get(0);
    let platform = Platform::start_on_wire(machines.host(), &[])?;
    let repository = platform.create_app("spread")?;
    sample::docker_app(&repository, "spread")?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);

    let command = platform.operator_ok(&["node", "token", "--ttl", "10m"])?;
    let flags = ["--name", "two", "--zone", "b", "--kind", "vm"];
    let mut two = JoinedNode::join(machine, &command, &flags)?;
    is_ready(&platform, &two)?;
    let node = node(&platform, "two")?;
    ensure!(node.zone.as_ref().is_some_and(|zone| zone.as_str() == "b"));
    ensure!(
        node.certificate_expires_at
            .is_some_and(|at| at > Utc::now() + TimeDelta::days(6))
    );
    refused_joins(&platform, machine, &command)?;

    platform.app_ok(&["ps:scale", "web=2", "-a", "spread"])?;
    wait("a pod runs on the second machine", || {
        Ok(two.pods()?.len() == 1)
    })?;
    answers(&platform)?;

    is_labelled(&platform)?;
    is_renewed(&platform, &mut two)?;
    is_removed(&platform, machine, &mut two)
}

pub(crate) fn nodes(platform: &Platform) -> anyhow::Result<Vec<Node>> {
    let text = platform.operator_ok(&["nodes", "--json"])?;
    Ok(serde_json::from_str(&text)?)
}

pub(crate) fn node(platform: &Platform, name: &str) -> anyhow::Result<Node> {
    let mut nodes = nodes(platform)?.into_iter();
    let found = nodes.find(|node| node.name.as_str() == name);
    found.with_context(|| format!("there is no node {name}"))
}

fn is_ready(platform: &Platform, machine: &JoinedNode<'_>) -> anyhow::Result<()> {
    let ready = wait("the second machine is ready", || {
        let nodes = nodes(platform)?;
        let two = nodes.iter().find(|node| node.name.as_str() == "two");
        Ok(two.is_some_and(|two| two.state == NodeState::Ready && two.capacity.is_some()))
    });
    ready.with_context(|| machine.log())
}

fn answers(platform: &Platform) -> anyhow::Result<()> {
    wait("both pods answer", || {
        let pods = platform.app_ok(&["ps", "-a", "spread", "--json"])?;
        let pods: Vec<fairway_api::dynos::Dyno> = serde_json::from_str(&pods)?;
        let up = |pod: &&fairway_api::dynos::Dyno| pod.state.to_string() == "up";
        Ok(pods.iter().filter(up).count() == 2)
    })?;
    for _ in 0..10 {
        let page = platform.get("spread", "/")?;
        ensure!(page == (200, "spread".into()), "{page:?}");
    }
    Ok(())
}

/// A token lets one machine in, and a name is one machine's.
fn refused_joins(platform: &Platform, machine: &Machine, used: &str) -> anyhow::Result<()> {
    let another = platform.operator_ok(&["node", "token"])?;
    let damaged = another.trim().trim_end_matches(|c| c != '_').to_owned() + "abc";
    for (command, name, why) in [
        (used, "three", "was used already, by two"),
        (another.as_str(), "two", "is part of the cluster already"),
        (damaged.as_str(), "three", "join token"),
    ] {
        let mut refused = JoinedNode::join(machine, command, &["--name", name])?;
        wait("the join is refused", || Ok(refused.ended()?.is_some()))?;
        let log = refused.log();
        ensure!(log.contains(why), "{name}: {log}");
    }
    Ok(())
}

fn is_labelled(platform: &Platform) -> anyhow::Result<()> {
    platform.operator_ok(&["nodes:cordon", "two"])?;
    ensure!(node(platform, "two")?.state == NodeState::Cordoned);
    platform.operator_ok(&["nodes", "uncordon", "two"])?;
    platform.operator_ok(&["nodes:label", "two", "disk=ssd", "zone-"])?;
    platform.operator_ok(&["nodes:taint", "two", "gpu=yes:prefer-no-schedule"])?;
    let changed = node(platform, "two")?;
    let labels: Vec<_> = changed
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    ensure!(labels == ["disk=ssd"], "{labels:?}");
    ensure!(changed.taints.len() == 1, "{:?}", changed.taints);
    Ok(())
}

/// Two thirds of the certificate's life are over.
fn is_renewed(platform: &Platform, two: &mut JoinedNode<'_>) -> anyhow::Result<()> {
    two.stop()?;
    let path = two.data().join("membership.json");
    change_json(&path, |it| {
        for time in ["issued_at", "ends_at"] {
            let at: Option<DateTime<Utc>> = serde_json::from_value(it[time].clone()).ok();
            it[time] = serde_json::json!(at.map(|at| at - TimeDelta::days(5)));
        }
    })?;
    let before = fs::read_to_string(&path)?;
    two.start()?;
    wait("the certificate is renewed", || {
        Ok(fs::read_to_string(&path)? != before)
    })?;
    is_ready(platform, two)?;
    let until = node(platform, "two")?.certificate_expires_at;
    ensure!(
        until.is_some_and(|at| at > Utc::now() + TimeDelta::days(6)),
        "{until:?}"
    );
    Ok(())
}

fn is_removed(
    platform: &Platform,
    machine: &Machine,
    two: &mut JoinedNode<'_>,
) -> anyhow::Result<()> {
    platform.operator_ok(&["nodes:taint", "two", "gpu-"])?;
    platform.app_ok(&["ps:restart", "-a", "spread"])?;
    wait("it has a pod again", || Ok(!two.pods()?.is_empty()))?;
    answers(platform)?;
    let output = platform.operator(&["nodes:remove", "two"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && text.contains("Drain it first"),
        "{text}"
    );
    platform.operator_ok(&["nodes:remove", "two", "--force"])?;
    wait("its agent ends", || Ok(two.ended()?.is_some()))?;
    ensure!(
        two.log().contains("was removed from the cluster"),
        "{}",
        two.log()
    );
    let left = machine.docker(&["ps", "--quiet"])?;
    ensure!(left.is_empty(), "a container outlived the removal");
    answers(platform)?;
    // A restart changes nothing about it.
    two.start()?;
    wait("its agent ends again", || Ok(two.ended()?.is_some()))?;
    ensure!(nodes(platform)?.len() == 1);
    let own = nodes(platform)?.remove(0).name.to_string();
    let output = platform.operator(&["nodes:remove", &own]).output()?;
    ensure!(
        !output.status.success(),
        "the controller's own machine was removed"
    );
    Ok(())
}
