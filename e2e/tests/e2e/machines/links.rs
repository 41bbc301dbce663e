//! Cables that are pulled.

use std::time::Instant;

use anyhow::ensure;
use fairway_api::machines::NodeState;

use super::Cluster;
use crate::{cluster::nodes, push::wait};

/// One machine is cut off until it is lost and its pods are replaced. It knows nothing of that and
/// goes on; when it is back it obeys the newer plan.
pub(super) fn cut(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    cluster.populate("two")?;
    let two = cluster.joined("two");
    let (before, bound, subnet) = (two.pods()?, cluster.on("two")?, two.subnet()?);
    cluster.load.excuse();
    two.machine().connect(false)?;
    cluster.reaches("two", NodeState::Suspected)?;
    let doubted = cluster.on("two")?;
    ensure!(doubted.len() == bound.len(), "{doubted:?}");
    ensure!(
        doubted.iter().all(|it| !it.superseded),
        "replaced before it was lost: {doubted:?}"
    );
    cluster.reaches("two", NodeState::Lost)?;
    cluster.settled(&["two"])?;
    cluster.load.over();
    let flip = Instant::now();
    cluster.load.flows()?;
    ensure!(two.pods()? == before, "a machine that is cut off goes on");

    two.machine().connect(true)?;
    cluster.reaches("two", NodeState::Ready)?;
    wait("it stops what moved", || Ok(two.pods()?.is_empty()))?;
    cluster.settled(&[])?;
    cluster.load.flows()?;
    cluster.load.none_from(subnet, flip)
}

/// Three of four machines are cut off together: more likely a cut on this side, so their pods
/// stay theirs, and all is as before when they are back.
pub(super) fn all_at_once(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    let names = ["two", "three", "four"];
    for name in names {
        cluster.populate(name)?;
    }
    let before = cluster.pods()?;
    let bound = cluster.dynos("alpha")?;
    let ids = |dynos: &[fairway_api::dynos::Dyno]| {
        let mut ids: Vec<_> = dynos.iter().map(|it| (it.id, it.node.clone())).collect();
        ids.sort();
        ids
    };
    cluster.load.excuse();
    for name in names {
        cluster.joined(name).machine().connect(false)?;
    }
    for name in names {
        cluster.reaches(name, NodeState::Lost)?;
    }
    wait("operators are told", || {
        let nodes = nodes(&cluster.platform)?;
        Ok(nodes.iter().filter(|it| it.held_until.is_some()).count() == 3)
    })?;
    let log = cluster.platform.log();
    let told = "3 machines fell silent together (four, three, two)";
    ensure!(log.contains(told), "{log}");
    ensure!(
        ids(&cluster.dynos("alpha")?) == ids(&bound),
        "pods moved although the brake holds them"
    );
    for name in names {
        cluster.joined(name).machine().connect(true)?;
    }
    for name in names {
        cluster.reaches(name, NodeState::Ready)?;
    }
    cluster.settled(&[])?;
    cluster.load.over();
    cluster.load.flows()?;
    ensure!(ids(&cluster.dynos("alpha")?) == ids(&bound), "pods moved");
    ensure!(cluster.pods()? == before, "pods were started again");
    Ok(())
}
