//! The controller is away, and with it the router and the builder of its machine.

use anyhow::{Context, ensure};

use super::Cluster;
use crate::push::wait;

/// Asks each pod that has the name, and prints how many answered.
const ASK_ALL: &str = r#"import socket, urllib.request
found = {it[4][0] for it in socket.getaddrinfo("web.alpha.internal", 8080)}
asked = [urllib.request.urlopen(f"http://{it}:8080/x", timeout=5).read() for it in found]
print(len(asked))"#;

/// It is killed. On the other machines pods, their network and their names go on, and so does the
/// router there; what crashes is started again, and what was there before is taken up as it is.
pub(super) fn away(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    cluster.populate("two")?;
    cluster.populate("three")?;
    let before = cluster.pods()?;
    let bound = cluster.dynos("alpha")?;
    cluster.load.excuse_at(cluster.platform.addresses().http);
    cluster.platform.kill();
    cluster.load.flows_at(&[cluster.elsewhere])?;
    for name in ["two", "three"] {
        let answered = cluster.joined(name).python("alpha", ASK_ALL)?;
        ensure!(answered == "4", "{answered} pods answer {name}");
    }
    // What a pod that crashes has in hand is lost.
    cluster.load.excuse();
    let three = cluster.joined("three");
    let old = three.pods()?;
    let victim = old.iter().find(|pod| pod.app == "alpha");
    let victim = &victim.context("it was populated")?.id;
    three.machine().docker(&["kill", victim])?;
    wait("the agent starts a pod that crashed", || {
        let now = three.pods()?;
        let new = now.iter().filter(|pod| !old.contains(pod));
        Ok(now.len() == old.len() && new.count() == 1)
    })?;

    cluster.platform.start_again()?;
    cluster.settled(&[])?;
    cluster.load.over();
    cluster.load.flows()?;
    let after = cluster.pods()?;
    let new = after.iter().filter(|pod| !before.contains(pod));
    ensure!(
        after.len() == before.len() && new.count() == 1,
        "before {before:#?}, after {after:#?}"
    );
    let ids = |dynos: &[fairway_api::dynos::Dyno]| {
        let mut ids: Vec<_> = dynos.iter().map(|it| it.id).collect();
        ids.sort();
        ids
    };
    let now = cluster.dynos("alpha")?;
    ensure!(ids(&now) == ids(&bound), "pods were replaced: {now:?}");
    Ok(())
}
