//! Which images are still wanted, and who has to hear that something may go.
//!
//! An image that is given up is given up for good: its releases are marked, in the same transaction
//! that leaves it out of an answer, and marked releases are never run again. So whoever asked may
//! remove the image at any later time, and a rollback finds either its image or a refusal.

mod window;

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::wanted::{DESTROYED_APPS_MAX, Notice, Wanted};
use tokio::sync::watch;

pub use self::window::Candidate;
use crate::{
    problem::Answer,
    state::AppState,
    store::{apps, columns::now, events, releases},
};

/// The whole document, of this moment. Gives up the images that have become too old.
pub async fn wanted(state: &AppState) -> Answer<Wanted> {
    let mut tx = state.store.write().await?;
    let mut wanted = Wanted {
        apps: BTreeMap::new(),
        destroyed: events::destroyed_apps(&mut tx, DESTROYED_APPS_MAX).await?,
    };
    for app in apps::all(&mut tx).await? {
        wanted.apps.insert(app.id, BTreeSet::new());
    }
    let candidates = releases::with_image(&mut tx).await?;
    let mut expired = Vec::new();
    for releases in candidates.chunk_by(|a, b| a.app == b.app) {
        let window = window::window(releases, state.config.images_kept);
        expired.extend(window.expired);
        if let Some(release) = releases.first() {
            wanted.apps.insert(release.app, window.images);
        }
    }
    releases::expire_images(&mut tx, &expired, now()).await?;
    tx.commit().await?;
    Ok(wanted)
}

/// A number that changes when an app is destroyed. A new controller begins with another one than
/// the last, so that nobody misses what happened around its start.
#[derive(Debug)]
pub struct Notices(watch::Sender<u64>);

impl Default for Notices {
    fn default() -> Self {
        let started = now().timestamp_micros();
        Self(watch::Sender::new(started.unsigned_abs()))
    }
}

impl Notices {
    /// An app was destroyed. Call it after the commit.
    pub fn ring(&self) {
        self.0
            .send_modify(|number| *number = number.wrapping_add(1));
    }

    /// Waits until the number is unlike this one; drop it to give up.
    pub async fn unlike(&self, number: u64) -> Option<Notice> {
        let mut numbers = self.0.subscribe();
        // The sender lives as long as we do.
        let found = numbers.wait_for(|now| *now != number).await.ok()?;
        Some(Notice { number: *found })
    }
}

#[cfg(test)]
mod tests;
