//! Notices: "look again". They carry no data, so that losing or doubling one does no harm; whoever
//! waits reads the truth from the store.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

/// Wakes the one reconcile loop. A notice that comes while it works is kept until it waits again.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Something that the loop acts on has changed. Call it after the commit.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    /// Waits for a notice.
    pub async fn notified(&self) {
        self.0.notified().await;
    }
}

/// Wakes everybody who waits for a kind of thing: long polls and followers.
#[derive(Debug, Clone)]
pub struct Bell(watch::Sender<()>);

/// One waiter of a [`Bell`].
#[derive(Debug)]
pub struct Ear(watch::Receiver<()>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Bell {
    /// Something has changed.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Starts to listen. Do it before reading what may change, or a notice can be missed.
    pub fn listen(&self) -> Ear {
        Ear(self.0.subscribe())
    }
}

impl Ear {
    /// Waits until the bell has rung since the last call, or for `limit`. True when it rang.
    pub async fn heard_within(&mut self, limit: Duration) -> bool {
        matches!(
            tokio::time::timeout(limit, self.0.changed()).await,
            Ok(Ok(()))
        )
    }
}
