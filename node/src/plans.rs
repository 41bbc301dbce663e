//! Gets the plan: from the controller while it is there, from the ledger while it is not.

use std::{sync::Arc, time::Duration};

use fairway_api::{
    client::Client,
    error::ErrorId,
    images::{ImageRef, RegistryAccess},
    names::NodeName,
    network::NetworkPlan,
    nodes::NodePlan,
    pods::PodSpec,
    volumes::VolumeOrder,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::ledger::{Ledger, Written};

/// The ledger's name for the plan.
const PLAN_FILE: &str = "plan";
/// How long the controller may take for its first answer before the last plan is taken up, in
/// seconds. A newer plan may say otherwise, so it is worth a moment; crashed pods are not worth
/// more.
const FIRST_ANSWER_SECS: u64 = 5;
/// Pause between two tries when the controller is away, in milliseconds, at first and at most.
const AGAIN_MILLIS: (u64, u64) = (100, 3_000);
/// Pause after a plan that was refused, in seconds: a person has to look at it.
const REFUSED_SECS: u64 = 30;

/// A plan, ready to be shared out.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) generation: u64,
    pub(crate) registry: RegistryAccess,
    pub(crate) pods: Vec<Arc<PodSpec>>,
    pub(crate) keep_images: Vec<ImageRef>,
    pub(crate) network: Option<NetworkPlan>,
    /// What is to be done with volumes besides mounting them.
    pub(crate) volumes: Vec<VolumeOrder>,
}

/// What to do with a plan that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Take,
    /// It is the one that is being worked on.
    Known,
    Refuse(&'static str),
}

fn judge(node: &NodeName, current: Option<&NodePlan>, new: &NodePlan) -> Verdict {
    if new.node != *node {
        return Verdict::Refuse("it is for another node");
    }
    match current {
        Some(current) if new.generation < current.generation => Verdict::Refuse(
            "it is older than the one this node works on; if the controller was restored from a \
             backup, stop the agent and remove plan.json from its directory",
        ),
        Some(current) if new.generation == current.generation => {
            if new == current {
                Verdict::Known
            } else {
                Verdict::Refuse("its generation is that of another plan")
            }
        }
        _ => Verdict::Take,
    }
}

/// Pulls plans and publishes those that are taken, until the machine is removed from the cluster:
/// then its last plan is to run nothing, also after a restart. Cancels `removed` when it hears of
/// that first.
pub(crate) async fn pull(
    client: Client,
    node: NodeName,
    ledger: Arc<Ledger>,
    orders: watch::Sender<Option<Arc<Orders>>>,
    removed: CancellationToken,
) {
    let pulled = pull_while_member(&client, &node, &ledger, &orders, &removed);
    removed.run_until_cancelled(pulled).await;
    tracing::error!("this machine was removed from the cluster: stopping its pods");
    let plan = ledger.load(PLAN_FILE).map(|plan: NodePlan| NodePlan {
        pods: vec![],
        // What is on its disk is nobody's to take from here on.
        volumes: vec![],
        ..plan
    });
    if let Some(plan) = &plan
        && let Err(error) = ledger.save(PLAN_FILE, plan).and_then(Written::sync)
    {
        tracing::error!(
            "cannot remember the removal: {:#}",
            anyhow::Error::from(error)
        );
    }
    // Published also if that failed; without a plan on disk there was none.
    if let Some(plan) = plan {
        publish(&orders, &plan);
    }
    std::future::pending().await
}

async fn pull_while_member(
    client: &Client,
    node: &NodeName,
    ledger: &Arc<Ledger>,
    orders: &watch::Sender<Option<Arc<Orders>>>,
    removed: &CancellationToken,
) {
    let mut current: Option<NodePlan> = ledger
        .load(PLAN_FILE)
        .filter(|plan: &NodePlan| plan.node == *node);
    // Asked from 0, so that the controller shows its plan even if it is the one we have.
    let first = timeout(
        Duration::from_secs(FIRST_ANSWER_SECS),
        client.node_plan(node, 0),
    )
    .await;
    let mut answer = first.ok();
    if !matches!(answer, Some(Ok(_)))
        && let Some(plan) = &current
    {
        tracing::info!(
            generation = plan.generation,
            "the controller is away: on with the last plan"
        );
        publish(orders, plan);
    }
    let mut failures = 0_u32;
    loop {
        match answer {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(plan))) => {
                failures = 0;
                take(node, &mut current, plan, ledger, orders).await;
            }
            Some(Err(error)) => {
                if error
                    .api()
                    .is_some_and(|error| error.id == ErrorId::Removed)
                {
                    return removed.cancel();
                }
                if failures == 0 {
                    tracing::warn!("cannot get the plan: {:#}", anyhow::Error::from(error));
                }
                let pause = AGAIN_MILLIS
                    .0
                    .saturating_mul(1 << failures.min(u64::BITS - 1));
                failures = failures.saturating_add(1);
                sleep(Duration::from_millis(pause.min(AGAIN_MILLIS.1))).await;
            }
        }
        let after = current.as_ref().map_or(0, |plan| plan.generation);
        answer = Some(client.node_plan(node, after).await);
    }
}

async fn take(
    node: &NodeName,
    current: &mut Option<NodePlan>,
    plan: NodePlan,
    ledger: &Arc<Ledger>,
    orders: &watch::Sender<Option<Arc<Orders>>>,
) {
    match judge(node, current.as_ref(), &plan) {
        Verdict::Known => {
            if orders.borrow().is_none() {
                publish(orders, &plan);
            }
            return;
        }
        Verdict::Refuse(why) => {
            tracing::error!(generation = plan.generation, "refused a plan: {why}");
            // The pods of the plan at hand still count.
            if let Some(plan) = current.as_ref().filter(|_| orders.borrow().is_none()) {
                publish(orders, plan);
            }
            return sleep(Duration::from_secs(REFUSED_SECS)).await;
        }
        Verdict::Take => {}
    }
    let saved = ledger.save(PLAN_FILE, &plan);
    publish(orders, &plan);
    *current = Some(plan);
    // A push waits for its pods, not for the platter.
    let synced = match saved {
        Ok(written) => tokio::task::spawn_blocking(|| written.sync())
            .await
            .unwrap_or(Ok(())),
        Err(error) => Err(error),
    };
    if let Err(error) = synced {
        tracing::error!("cannot remember the plan: {:#}", anyhow::Error::from(error));
    }
}

fn publish(orders: &watch::Sender<Option<Arc<Orders>>>, plan: &NodePlan) {
    orders.send_replace(Some(Arc::new(Orders {
        generation: plan.generation,
        registry: plan.registry.clone(),
        pods: plan.pods.iter().cloned().map(Arc::new).collect(),
        keep_images: plan.keep_images.clone(),
        network: plan.network.clone(),
        volumes: plan.volumes.clone(),
    })));
}

#[cfg(test)]
mod tests {
    use fairway_api::secret::Secret;

    use super::*;

    fn plan(node: &str, generation: u64, host: &str) -> NodePlan {
        NodePlan {
            node: node.parse().unwrap(),
            generation,
            registry: RegistryAccess {
                host: host.into(),
                username: "node".into(),
                password: Secret::new("x"),
                plain_http: true,
            },
            pods: vec![],
            keep_images: vec![],
            network: None,
            volumes: vec![],
        }
    }

    #[test]
    fn only_a_newer_plan_for_this_node_is_taken() {
        let current = plan("n1", 5, "a");
        let judge = |new: NodePlan| judge(&"n1".parse().unwrap(), Some(&current), &new);
        assert_eq!(judge(plan("n1", 6, "a")), Verdict::Take);
        assert_eq!(judge(plan("n1", 5, "a")), Verdict::Known);
        assert!(matches!(judge(plan("n1", 5, "b")), Verdict::Refuse(_)));
        assert!(matches!(judge(plan("n1", 4, "a")), Verdict::Refuse(_)));
        assert!(matches!(judge(plan("n2", 6, "a")), Verdict::Refuse(_)));
    }
}
