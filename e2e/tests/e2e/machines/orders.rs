//! What people order while all is well. No request may be lost.

use anyhow::ensure;
use fairway_api::machines::NodeState;

use super::Cluster;

/// A machine is drained in the middle of a deployment.
pub(super) fn drained_in_a_deployment(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    cluster.populate("three")?;
    let before = cluster.dynos("alpha")?[0].release.version;
    cluster.alpha.write("second", "")?;
    cluster.alpha.commit("second")?;
    let (mut push, output) = cluster.alpha.start_push(&["fairway", "main"])?;
    let drain = ["nodes:drain", "three", "--timeout", "2m"];
    let drained = cluster.platform.operator_ok(&drain);
    let pushed = push.wait()?;
    drained?;
    ensure!(pushed.success(), "{}", std::fs::read_to_string(output)?);
    cluster.settled(&["three"])?;
    let left = cluster.joined("three").pods()?;
    ensure!(left.is_empty(), "a pod is still there: {left:?}");
    let after = cluster.dynos("alpha")?;
    ensure!(
        after.iter().all(|it| it.release.version == before + 1),
        "{after:?}"
    );
    cluster.load.flows()?;
    cluster.platform.operator_ok(&["nodes:uncordon", "three"])?;
    cluster.reaches("three", NodeState::Ready)?;
    // With nothing else under way, the same again.
    cluster.populate("four")?;
    let drain = ["nodes:drain", "four", "--timeout", "2m"];
    cluster.platform.operator_ok(&drain)?;
    cluster.settled(&["four"])?;
    cluster.load.flows()?;
    cluster.platform.operator_ok(&["nodes:uncordon", "four"])?;
    cluster.reaches("four", NodeState::Ready)
}

pub(super) fn scaled(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    for count in [7, 2, 4] {
        cluster.scale("alpha", count)?;
        cluster.has("alpha", count, &[])?;
        cluster.load.flows()?;
    }
    Ok(())
}
