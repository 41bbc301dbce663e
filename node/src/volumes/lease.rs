//! Ends the pods whose lease has run out: those with a volume that other machines can reach. What
//! a lease is stands in [`fairway_api::volumes::lease`].
//!
//! ```text
//! plans -> orders -> guard -> orders without such pods -> pods
//! report answered -----^
//! ```

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use fairway_api::{
    ids::PodId,
    volumes::lease::{Lease, Right},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{diff::State, engine::Engine, plans::Orders};

/// How long orders with such pods wait for the first answer of the controller, in seconds: without
/// one the pods of the last orders may not run, and must not be stopped for a moment of waiting.
const FIRST_ANSWER_SECS: u64 = 5;
/// How often what outlives its lease is killed again, in seconds: the engine may be away.
const KILL_AGAIN_SECS: u64 = 2;

/// The last report that the controller answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answered {
    /// When it was sent, on [`clock`].
    pub(super) sent_at: Duration,
    /// The newest plan that there was then.
    pub(super) generation: u64,
}

/// The time since the machine started, asleep or awake: a lease runs out in its sleep too.
pub(crate) fn clock() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(secs, nanos)
}

/// Publishes the orders as far as leases allow, for ever.
pub(super) async fn guard(
    engine: Arc<Engine>,
    mut orders: watch::Receiver<Option<Arc<Orders>>>,
    mut answered: watch::Receiver<Answered>,
    allowed: watch::Sender<Option<Arc<Orders>>>,
) {
    let mut lease = Lease::default();
    let mut waited = false;
    loop {
        let now = orders.borrow_and_update().clone();
        let last = *answered.borrow_and_update();
        if let Some(orders) = &now {
            renew(&mut lease, last, orders.generation);
            let leased = leased(orders);
            let unknown = lease == Lease::default() && !leased.is_empty();
            if unknown && !waited {
                waited = true;
                let first = timeout(Duration::from_secs(FIRST_ANSWER_SECS), answered.changed());
                drop(first.await);
                continue;
            }
            let right = lease.right(clock());
            publish(&allowed, orders, right == Right::Run || leased.is_empty());
            if right == Right::Kill && !leased.is_empty() {
                kill(&engine, &leased).await;
            }
        }
        let until = pause(&lease, now.as_deref());
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            changed = answered.changed() => if changed.is_err() { return },
            () = sleep(until) => {}
        }
    }
}

/// An answer counts only if the machine has the orders that were the newest then.
fn renew(lease: &mut Lease, answered: Answered, generation: u64) {
    if answered.generation == generation && answered.sent_at > Duration::ZERO {
        lease.renew(answered.sent_at);
    }
}

fn leased(orders: &Orders) -> BTreeSet<PodId> {
    let pods = orders.pods.iter();
    pods.filter(|pod| pod.needs_lease())
        .map(|pod| pod.id)
        .collect()
}

fn pause(lease: &Lease, orders: Option<&Orders>) -> Duration {
    const LONG: Duration = Duration::from_secs(3600);
    if orders.is_none_or(|orders| leased(orders).is_empty()) {
        return LONG;
    }
    let now = clock();
    match lease.changes_at(now) {
        Some(at) => at.saturating_sub(now),
        None if lease.right(now) == Right::Kill => Duration::from_secs(KILL_AGAIN_SECS),
        None => LONG,
    }
}

/// Publishes orders, whole or without the pods that need a lease; nobody wakes when that is the
/// same as before.
fn publish(allowed: &watch::Sender<Option<Arc<Orders>>>, orders: &Arc<Orders>, whole: bool) {
    allowed.send_if_modified(|before| {
        let pods = |orders: &Orders| {
            let ids = orders.pods.iter().map(|pod| pod.id);
            ids.collect::<Vec<PodId>>()
        };
        let now = if whole {
            orders.clone()
        } else {
            Arc::new(without_leased(orders))
        };
        let same = before.as_ref().is_some_and(|before| {
            Arc::ptr_eq(before, &now)
                || before.generation == now.generation && pods(before) == pods(&now)
        });
        if !same {
            *before = Some(now);
        }
        !same
    });
}

fn without_leased(orders: &Orders) -> Orders {
    let pods = orders.pods.iter().filter(|pod| !pod.needs_lease());
    Orders {
        pods: pods.cloned().collect(),
        ..orders.clone()
    }
}

/// Kills what still runs of these pods.
async fn kill(engine: &Engine, leased: &BTreeSet<PodId>) {
    let found = match engine.list().await {
        Ok(found) => found.containers,
        Err(error) => return tracing::error!("cannot end pods without a lease: {error}"),
    };
    let runs =
        |it: &&crate::diff::Observed| it.state == State::Running && leased.contains(&it.stamp.pod);
    for container in found.iter().filter(runs) {
        let pod = container.stamp.pod;
        tracing::warn!(%pod, "killing a pod whose lease on its volume has run out");
        if let Err(error) = engine.signal(&container.id, "SIGKILL").await {
            tracing::error!(%pod, "cannot kill it: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use fairway_api::{
        images::RegistryAccess,
        secret::Secret,
        volumes::{Mount, VolumeSource},
    };

    use super::*;
    use crate::testing::spec;

    fn orders(generation: u64) -> Arc<Orders> {
        let mut leased = spec(1);
        leased.mounts.push(Mount {
            volume: fairway_api::ids::VolumeId::from_u128(1),
            name: "files".parse().unwrap(),
            source: VolumeSource::Nfs {
                share: "nas:/x".parse().unwrap(),
            },
            size_bytes: None,
            path: "/files".parse().unwrap(),
            read_only: false,
            leased: true,
        });
        Arc::new(Orders {
            generation,
            registry: RegistryAccess {
                host: "127.0.0.1:5000".into(),
                username: "node".into(),
                password: Secret::new("x"),
                plain_http: true,
            },
            pods: vec![Arc::new(leased), Arc::new(spec(2))],
            keep_images: vec![],
            network: None,
            volumes: vec![],
        })
    }

    #[test]
    fn an_answer_about_other_orders_renews_nothing() {
        let secs = Duration::from_secs;
        for (generation, right) in [(4, Right::Stop), (5, Right::Run), (6, Right::Stop)] {
            let mut lease = Lease::default();
            let answered = Answered {
                sent_at: secs(10),
                generation,
            };
            renew(&mut lease, answered, 5);
            assert_eq!(lease.right(secs(11)), right, "{generation}");
        }
    }

    #[test]
    fn without_a_lease_only_pods_that_need_one_are_missing() {
        let (allowed, seen) = watch::channel::<Option<Arc<Orders>>>(None);
        let ids = || -> Vec<PodId> {
            let orders: Arc<Orders> = seen.borrow().clone().unwrap();
            orders.pods.iter().map(|pod| pod.id).collect()
        };
        let now = orders(5);
        publish(&allowed, &now, true);
        assert_eq!(ids(), [spec(1).id, spec(2).id]);
        publish(&allowed, &now, false);
        assert_eq!(ids(), [spec(2).id]);
        publish(&allowed, &orders(6), true);
        assert_eq!(ids().len(), 2);
    }

    #[tokio::test]
    async fn orders_wait_a_moment_for_the_first_answer() {
        let engine = Arc::new(Engine::new("/nonexistent".into(), "test".into()));
        let (orders_out, orders_in) = watch::channel(Some(orders(5)));
        let (answers, answered) = watch::channel(Answered::default());
        let (allowed, mut seen) = watch::channel::<Option<Arc<Orders>>>(None);
        let guarding = tokio::spawn(guard(engine, orders_in, answered, allowed));
        tokio::task::yield_now().await;
        assert!(seen.borrow().is_none());
        answers.send_replace(Answered {
            sent_at: clock(),
            generation: 5,
        });
        seen.wait_for(|orders| orders.as_ref().is_some_and(|it| it.pods.len() == 2))
            .await
            .unwrap();
        // Orders without a lease of their own time: the answer was about others.
        orders_out.send_replace(Some(orders(6)));
        seen.wait_for(|orders| orders.as_ref().is_some_and(|it| it.generation == 6))
            .await
            .unwrap();
        guarding.abort();
    }
}
