//! Whole orders with a generation, as they go out to nodes and routers by long poll.
//!
//! A generation that was given out never comes again with another content, whatever crashes:
//! [`Generations`] notes a block of numbers as used before it gives out the first of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::store::{Store, StoreError, generations};

/// How many generations are noted as used at once. Each block costs one write to disk, and a
/// restart skips what is left of one.
const GENERATION_BLOCK: u64 = 1_000;

/// No receiver is believed to have a higher generation: no cluster lives to count so far, and a
/// number near the end of the type would leave none to go on with.
const GENERATION_MAX: u64 = 1 << 53;

/// Something that carries a generation.
pub trait Order {
    fn generation(&self) -> u64;

    /// False for one that cannot be sent now.
    fn is_at_hand(&self) -> bool {
        true
    }
}

/// The newest order of one kind, for whoever polls for it.
#[derive(Debug)]
pub struct Published<T> {
    newest: watch::Sender<Option<Arc<T>>>,
    /// The highest generation that a receiver said it has.
    seen: AtomicU64,
}

impl<T> Default for Published<T> {
    fn default() -> Self {
        Self {
            newest: watch::Sender::new(None),
            seen: AtomicU64::new(0),
        }
    }
}

impl<T: Order> Published<T> {
    /// What was published last; `None` until the first pass of the loop.
    pub fn newest(&self) -> Option<Arc<T>> {
        self.newest.borrow().clone()
    }

    /// Hands out a newer order.
    pub fn publish(&self, order: Arc<T>) {
        self.newest.send_replace(Some(order));
    }

    /// An order newer than generation `after`, as soon as there is one; `None` after `limit`.
    pub async fn newer_than(&self, after: u64, limit: Duration) -> Option<Arc<T>> {
        let mut newest = self.newest.subscribe();
        let is_newer = |order: &Option<Arc<T>>| {
            (order.as_ref()).is_some_and(|it| it.generation() > after && it.is_at_hand())
        };
        let found = tokio::time::timeout(limit, newest.wait_for(is_newer))
            .await
            .ok()?
            .ok()?;
        found.clone()
    }

    /// Notes that a receiver has generation `after`. True when that is newer than anything this
    /// controller knows of, as after a database was put back from a backup: the receiver obeys
    /// again once a number above it is published.
    pub fn note_seen(&self, after: u64) -> bool {
        if after > GENERATION_MAX {
            return false;
        }
        self.seen.fetch_max(after, Ordering::Relaxed);
        self.newest()
            .is_some_and(|order| order.generation() < after)
    }

    /// The highest generation that a receiver has said it has.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// True when a receiver has a newer generation than the newest order, and so refuses it.
    pub fn is_behind(&self) -> bool {
        self.newest()
            .is_some_and(|order| order.generation() < self.seen())
    }
}

/// A row of growing numbers.
#[derive(Debug)]
pub struct Generations {
    name: &'static str,
    last: u64,
    noted: u64,
}

impl Generations {
    /// Goes on after the last number of the row `name`.
    pub async fn open(store: &Store, name: &'static str) -> Result<Self, StoreError> {
        let last = generations::get(&mut *store.read().await?, name).await?;
        Ok(Self {
            name,
            last,
            noted: last,
        })
    }

    /// The number given out last.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Makes sure that the next `count` numbers after `floor` may be used.
    pub async fn reserve(
        &mut self,
        store: &Store,
        count: u64,
        floor: u64,
    ) -> Result<(), StoreError> {
        let last = self.last.max(floor);
        if last + count > self.noted {
            let noted = last + count + GENERATION_BLOCK;
            let mut tx = store.write().await?;
            generations::raise(&mut tx, self.name, noted).await?;
            tx.commit().await?;
            self.noted = noted;
        }
        self.last = last;
        Ok(())
    }

    /// The next number, which was reserved.
    pub fn take(&mut self) -> u64 {
        debug_assert!(self.last < self.noted, "the number is reserved");
        self.last += 1;
        self.last
    }
}
