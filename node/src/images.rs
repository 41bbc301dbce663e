//! Removes images that pods of this machine used and no plan needs any more. It never touches an
//! image that no pod of a plan has named.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::images::ImageRef;
use tokio::{sync::watch, time::timeout};

use crate::{engine::Engine, ledger::Ledger, plans::Orders};

/// The ledger's name for the images.
const IMAGES_FILE: &str = "images";
/// How long an image that nothing needs is kept, in minutes: an app that is scaled to zero or
/// rolled back and forth should not be pulled each time.
const UNNEEDED_MINUTES: i64 = 60;
/// How often it is looked for such images, in seconds.
const PASS_SECS: u64 = 600;

/// When each image was last needed.
type Used = BTreeMap<String, DateTime<Utc>>;

/// Cleans up for ever.
pub(crate) async fn clean(
    engine: Arc<Engine>,
    ledger: Arc<Ledger>,
    mut orders: watch::Receiver<Option<Arc<Orders>>>,
) {
    let mut used: Used = ledger.load(IMAGES_FILE).unwrap_or_default();
    loop {
        let now = orders.borrow_and_update().clone();
        if let Some(orders) = now {
            let before = used.clone();
            let needed = orders
                .pods
                .iter()
                .map(|pod| &pod.image)
                .chain(&orders.keep_images);
            for reference in pass(&mut used, needed, Utc::now()) {
                remove(&engine, &mut used, reference).await;
            }
            if used.keys().ne(before.keys()) {
                remember(&ledger, &used);
            }
        }
        match timeout(Duration::from_secs(PASS_SECS), orders.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return,
            Err(_) => remember(&ledger, &used),
        }
    }
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
    use super::*;

    #[test]
    fn an_image_goes_an_hour_after_it_was_last_needed() {
        let image = |n: u8| ImageRef {
            registry: "127.0.0.1:5000".into(),
            repository: format!("apps/a{n}"),
            digest: format!("sha256:{}", format!("{n:02x}").repeat(32))
                .parse()
                .unwrap(),
        };
        let (old, kept) = (image(1), image(2));
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
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
