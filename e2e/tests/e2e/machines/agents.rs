//! Agents that are killed or frozen. Their pods go on, so no request may be lost.

use std::time::Instant;

use anyhow::ensure;
use fairway_api::machines::NodeState;

use super::Cluster;
use crate::{cluster::node, push::wait};

/// An agent is killed and comes back at once: it takes its pods up as they are.
pub(super) fn killed(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    cluster.populate("two")?;
    let before = cluster.joined("two").pods()?;
    let name = cluster.on("two")?.remove(0).name;
    cluster.joined_mut("two").kill();
    cluster.load.flows()?;
    cluster.joined_mut("two").start()?;
    // Only the agent opens the way in.
    let exec = ["ps:exec", "-d", &name, "-a", "alpha", "--", "true"];
    wait("the agent has taken up its pods", || {
        Ok(cluster.platform.app(&exec).output()?.status.success())
    })?;
    cluster.reaches("two", NodeState::Ready)?;
    cluster.settled(&[])?;
    ensure!(
        cluster.joined("two").pods()? == before,
        "pods were started again instead of adopted"
    );
    // What was said when it joined still holds.
    let zone = node(&cluster.platform, "two")?.zone;
    ensure!(zone.is_some_and(|zone| zone.as_str() == "b"));
    cluster.load.flows()
}

/// An agent says nothing for a while, then for too long.
pub(super) fn frozen(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    cluster.populate("three")?;
    let three = cluster.joined("three");
    let (before, bound) = (three.pods()?, cluster.on("three")?);
    let subnet = three.subnet()?;
    three.freeze(true)?;
    cluster.reaches("three", NodeState::Suspected)?;
    three.freeze(false)?;
    cluster.reaches("three", NodeState::Ready)?;
    let after = cluster.on("three")?;
    ensure!(
        after
            .iter()
            .map(|it| it.id)
            .eq(bound.iter().map(|it| it.id)),
        "a pause replaced pods: {after:?}"
    );
    ensure!(three.pods()? == before, "pods were started again");
    cluster.load.flows()?;

    three.freeze(true)?;
    cluster.reaches("three", NodeState::Lost)?;
    cluster.settled(&["three"])?;
    cluster.load.flows()?;
    let flip = Instant::now();
    three.freeze(false)?;
    cluster.reaches("three", NodeState::Ready)?;
    wait("it stops what moved", || Ok(three.pods()?.is_empty()))?;
    cluster.settled(&[])?;
    cluster.load.flows()?;
    cluster.load.none_from(subnet, flip)
}
