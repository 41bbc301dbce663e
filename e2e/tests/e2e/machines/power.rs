//! Engines that are killed, and a machine that loses its power.

use anyhow::ensure;
use fairway_api::machines::NodeState;

use super::Cluster;
use crate::push::wait;

/// Without its engine a machine's pods go on. The engine that comes back ends them, as it does
/// unless it was set to keep them; the agent starts them again.
pub(super) fn engine(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    cluster.populate("three")?;
    let three = cluster.joined("three");
    let (before, bound) = (three.pods()?, cluster.on("three")?);
    three.machine().kill_engine()?;
    cluster.load.flows()?;
    cluster.load.excuse();
    three.machine().start_engine()?;
    wait("its pods were started again", || {
        let now = three.pods()?;
        let old = |pod| before.contains(pod);
        Ok(now.len() == before.len() && !now.iter().any(old))
    })?;
    cluster.settled(&[])?;
    cluster.load.over();
    cluster.load.flows()?;
    let after = cluster.on("three")?;
    ensure!(
        after
            .iter()
            .map(|it| it.id)
            .eq(bound.iter().map(|it| it.id)),
        "pods were replaced: {after:?}"
    );
    cluster.load.until_from("alpha", three.subnet()?)
}

/// The power goes and comes back: nothing is left but the disk.
pub(super) fn reboot(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    cluster.populate("two")?;
    cluster.load.excuse();
    cluster.joined("two").machine().power_off()?;
    cluster.joined_mut("two").kill();
    cluster.joined("two").machine().power_on()?;
    cluster.joined_mut("two").start()?;
    cluster.reaches("two", NodeState::Ready)?;
    wait("its pods run again, or elsewhere", || {
        Ok(cluster.on("two")?.is_empty() == cluster.joined("two").pods()?.is_empty())
    })?;
    cluster.settled(&[])?;
    cluster.load.over();
    cluster.load.flows()?;
    // Its part of the pod network is there again.
    cluster.populate("two")
}
