//! Events: who follows them, and how long they are kept. What is recorded is decided where it
//! happens.

use std::{collections::VecDeque, time::Duration};

use chrono::TimeDelta;
use fairway_api::{
    error::ErrorId,
    events::{Event, EventFilter},
    ids::AppId,
};
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    problem::{Answer, Problem},
    state::AppState,
    store::{
        Store, StoreError,
        columns::now,
        events::{self, APP_DESTROYED},
    },
};

/// How long what people did is kept.
const KEPT: TimeDelta = TimeDelta::days(400);
/// How long what was observed of pods and machines is kept.
const OBSERVED_KEPT: TimeDelta = TimeDelta::days(30);
/// How many events that were observed are kept of one app; the newest. Repeats are one event.
const OBSERVED_PER_APP_MAX: u32 = 5_000;
/// How often what is too old, or too much, is removed. Between two times an app can add no more
/// than one event per pod, kind and cause.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// The most that follow events at a time: each reads the database when an event is recorded.
const FOLLOWERS_MAX: usize = 256;
/// How many events a follower reads at once.
const READ_AT_ONCE: u32 = 200;

/// Events of one app, or of all, that come after a position, as they come.
///
/// # Errors
/// When too many follow already.
pub fn follow(
    state: &AppState,
    app: Option<AppId>,
    filter: EventFilter,
    after: u64,
) -> Answer<impl Stream<Item = Event> + use<>> {
    if state.store.event_followers() >= FOLLOWERS_MAX {
        return Err(Problem::new(ErrorId::RateLimit, "Too many follow events.")
            .hint("Close some of those who follow, or try again later."));
    }
    let follower = Follower {
        // Before the first look, so that nothing falls in between.
        news: state.store.events(),
        store: state.store.clone(),
        app,
        filter,
        after,
        ready: VecDeque::new(),
        ended: false,
    };
    Ok(stream::unfold(follower, |mut follower| async move {
        match follower.next().await {
            Ok(event) => Some((event?, follower)),
            Err(error) => {
                tracing::error!("cannot read events: {:#}", anyhow::Error::from(error));
                None
            }
        }
    }))
}

/// One who follows.
struct Follower {
    store: Store,
    news: watch::Receiver<u64>,
    app: Option<AppId>,
    filter: EventFilter,
    after: u64,
    ready: VecDeque<Event>,
    ended: bool,
}

impl Follower {
    /// The next event to show; `None` when there will be none.
    async fn next(&mut self) -> Result<Option<Event>, StoreError> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                self.ended |= self.app.is_some() && event.kind == APP_DESTROYED;
                if self.filter.shows(&event) {
                    return Ok(Some(event));
                }
            }
            if self.ended || !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Reads what came, and waits if nothing did. False at the end of the store.
    async fn read(&mut self) -> Result<bool, StoreError> {
        self.news.mark_unchanged();
        let mut tx = self.store.read().await?;
        let came = events::after(&mut tx, self.app, self.after, READ_AT_ONCE).await?;
        drop(tx);
        if let Some(last) = came.last() {
            self.after = last.position;
            self.ready = came.into();
            return Ok(true);
        }
        Ok(self.news.changed().await.is_ok())
    }
}

/// The position after which events are news now.
pub async fn newest(state: &AppState) -> Answer<u64> {
    Ok(events::newest(&mut *state.store.read().await?).await?)
}

/// Keeps the record bounded until `shutdown`.
pub(crate) async fn sweep(state: &AppState, shutdown: &CancellationToken) {
    loop {
        if let Err(error) = forget(&state.store).await {
            tracing::error!("cannot forget old events: {:#}", anyhow::Error::from(error));
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

async fn forget(store: &Store) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    events::delete_before(&mut tx, now() - KEPT).await?;
    events::forget_observed(&mut tx, now() - OBSERVED_KEPT, OBSERVED_PER_APP_MAX).await?;
    tx.commit().await
}
