//! Removes images that pods of this machine used and no plan needs any more. It never touches an
//! image that no pod of a plan has named. While the disk is short they go at once, those that were
//! last needed longest ago first, until enough is free.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::images::ImageRef;
use tokio::{sync::watch, time::timeout};

use crate::{
    disk::{Disk, Level},
    engine::Engine,
    ledger::Ledger,
    plans::Orders,
};

/// The ledger's name for the images.
const IMAGES_FILE: &str = "images";
/// How long an image that nothing needs is kept, in minutes: an app that is scaled to zero or
/// rolled back and forth should not be pulled each time.
const UNNEEDED_MINUTES: i64 = 60;
/// How often it is looked for such images, in seconds.
const PASS_SECS: u64 = 600;

/// The same while the disk is short: images in use by what is just ending may be free now.
const PASS_SECS_SHORT: u64 = 10;

/// When each image was last needed.
type Used = BTreeMap<String, DateTime<Utc>>;

/// Cleans up for ever.
pub(crate) async fn clean(
    engine: Arc<Engine>,
    ledger: Arc<Ledger>,
    mut orders: watch::Receiver<Option<Arc<Orders>>>,
    disk: Arc<Disk>,
) {
    let mut used: Used = ledger.load(IMAGES_FILE).unwrap_or_default();
    let mut level = disk.level();
    loop {
        let now = orders.borrow_and_update().clone();
        let short = *level.borrow_and_update() >= Level::Short;
        if let Some(orders) = now {
            let before = used.clone();
            for reference in pass(&mut used, needed(&orders, Level::Roomy), Utc::now()) {
                remove(&engine, &mut used, reference).await;
            }
            if short {
                make_room(&engine, &mut used, &orders, &disk).await;
            }
            if used.keys().ne(before.keys()) {
                remember(&ledger, &used);
            }
        }
        let pause = if short { PASS_SECS_SHORT } else { PASS_SECS };
        let news = async {
            tokio::select! {
                changed = orders.changed() => changed,
                changed = level.changed() => changed,
            }
        };
        match timeout(Duration::from_secs(pause), news).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return,
            Err(_) => remember(&ledger, &used),
        }
    }
}

/// Removes images until enough of the disk is free, or none is left that may go.
async fn make_room(engine: &Engine, used: &mut Used, orders: &Orders, disk: &Disk) {
    for level in [Level::Short, Level::Pressed] {
        for reference in spare(used, orders, level) {
            if disk.look().await < level {
                break;
            }
            remove(engine, used, reference).await;
        }
    }
}

/// What is needed at this level: once the machine takes no new pods, a rollback can pull its image
/// again.
fn needed(orders: &Orders, level: Level) -> impl Iterator<Item = &ImageRef> {
    let kept = orders
        .keep_images
        .iter()
        .filter(move |_| level < Level::Pressed);
    let pods = orders.pods.iter();
    let sidecars = pods.clone().flat_map(|pod| &pod.sidecars.containers);
    pods.map(|pod| &pod.image)
        .chain(sidecars.map(|sidecar| &sidecar.image))
        .chain(kept)
}

/// What may go at this level, longest ago needed first.
fn spare(used: &Used, orders: &Orders, level: Level) -> Vec<String> {
    let needed: BTreeSet<String> = needed(orders, level).map(ToString::to_string).collect();
    let mut spare: Vec<_> = used
        .iter()
        .filter(|(image, _)| !needed.contains(*image))
        .collect();
    spare.sort_by_key(|(_, at)| **at);
    spare.into_iter().map(|(image, _)| image.clone()).collect()
}

/// Notes what is needed now and names what has not been needed for long.
fn pass<'a>(
    used: &mut Used,
    needed: impl Iterator<Item = &'a ImageRef>,
    now: DateTime<Utc>,
) -> Vec<String> {
    used.extend(needed.map(|image| (image.to_string(), now)));
    let oldest = now - TimeDelta::minutes(UNNEEDED_MINUTES);
    used.iter()
        .filter(|(_, at)| **at < oldest)
        .map(|(image, _)| image.clone())
        .collect()
}

async fn remove(engine: &Engine, used: &mut Used, reference: String) {
    match engine.remove_image(&reference).await {
        Ok(()) => {
            tracing::info!(
                image = reference,
                "removed an image that nothing needs any more"
            );
            used.remove(&reference);
        }
        Err(error) if error.status() == Some(404) => drop(used.remove(&reference)),
        // In use by a container that is still on its way out, or the engine is away: next time.
        Err(error) => tracing::debug!(image = reference, "cannot remove an image yet: {error}"),
    }
}

fn remember(ledger: &Ledger, used: &Used) {
    if let Err(error) = ledger.save(IMAGES_FILE, used) {
        tracing::error!(
            "cannot remember the images: {:#}",
            anyhow::Error::from(error)
        );
    }
}

#[cfg(test)]
mod tests {
    use fairway_api::{images::RegistryAccess, secret::Secret};

    use super::*;

    fn image(n: u8) -> ImageRef {
        ImageRef {
            registry: "127.0.0.1:5000".into(),
            repository: format!("apps/a{n}"),
            digest: format!("sha256:{}", format!("{n:02x}").repeat(32))
                .parse()
                .unwrap(),
        }
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    #[test]
    fn a_short_disk_takes_what_is_not_needed_oldest_first_and_then_what_rollbacks_need() {
        let mut pod = crate::testing::spec(1);
        pod.image = image(1);
        let orders = Orders {
            generation: 1,
            registry: RegistryAccess {
                host: "127.0.0.1:5000".into(),
                username: "node".into(),
                password: Secret::new("x"),
                plain_http: true,
            },
            pods: vec![Arc::new(pod)],
            keep_images: vec![image(2)],
            network: None,
            volumes: vec![],
        };
        let used: Used = [(1, 0), (2, 1), (3, 3), (4, 2)]
            .map(|(n, minute)| (image(n).to_string(), at(minute)))
            .into();
        let names = |list: &[u8]| {
            list.iter()
                .map(|n| image(*n).to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(spare(&used, &orders, Level::Short), names(&[4, 3]));
        assert_eq!(spare(&used, &orders, Level::Pressed), names(&[2, 4, 3]));
    }

    #[test]
    fn an_image_goes_an_hour_after_it_was_last_needed() {
        let (old, kept) = (image(1), image(2));
        let mut used = Used::new();
        assert!(pass(&mut used, [&old, &kept].into_iter(), at(0)).is_empty());
        assert!(pass(&mut used, [&kept].into_iter(), at(60)).is_empty());
        assert_eq!(
            pass(&mut used, [&kept].into_iter(), at(61)),
            [old.to_string()]
        );
        assert!(pass(&mut used, [&kept, &old].into_iter(), at(62)).is_empty());
    }
}
