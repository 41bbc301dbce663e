//! Moves pods that run to better machines, a few at a time: the replacement is written bound to its
//! machine, and from then on it is what `ps:restart` makes, so the planner ends the old pod when the
//! new one is up.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use fairway_api::{
    events::Cause,
    ids::PodId,
    logs::{LogLine, LogSource},
};
use fairway_scheduler::{
    rebalance::{Move, plan_all, propose},
    snapshot::{PodIntent, PodKind, Snapshot},
};

use super::{news::News, specs::Specs, world::World};
use crate::{
    state::AppState,
    store::{
        Db, StoreError, apps, events,
        pods::{self, PodRow},
    },
};

/// How often it looks for moves: each look counts all pods.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long it goes on after somebody asked once. A type moves one pod in five minutes.
const ASKED_FOR: Duration = Duration::from_secs(3_600);
/// How many moves are shown before they are asked for.
const SHOWN_MAX: usize = 200;

/// When it looked, and until when somebody wants it.
#[derive(Debug, Default)]
pub(super) struct Rebalancer {
    looked_at: Option<Instant>,
    asked_at: Option<Instant>,
}

impl Rebalancer {
    /// Somebody asked for it.
    pub(super) fn ask(&mut self) {
        self.asked_at = Some(Instant::now());
        self.looked_at = None;
    }

    /// Begins the moves that are worth it now.
    pub(super) async fn look(
        &mut self,
        state: &AppState,
        world: &World,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let snapshot = world.planner.snapshot();
        let asked = self.asked_at.is_some_and(|at| at.elapsed() < ASKED_FOR);
        let lately = self.looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY);
        // Machines that vanished together may be back in a minute, and then nothing was uneven.
        let held = !world.planner.mass_failure().machines.is_empty();
        if !(snapshot.policy.rebalance || asked) || lately || held {
            return Ok(());
        }
        self.looked_at = Some(Instant::now());
        let moves = propose(snapshot, now);
        if moves.is_empty() {
            return Ok(());
        }
        let mut tx = state.store.write_relaxed().await?;
        let mut told = vec![];
        for it in moves {
            if let Some(news) = begin(&mut tx, &it, now).await? {
                told.push((it.app, news));
            }
        }
        tx.commit().await?;
        for (app, news) in told {
            tracing::info!(%app, "{}", news.message);
            state.logs.append_app(LogLine {
                app,
                at: now,
                source: LogSource::Fairway,
                process: news.pod.unwrap_or_default(),
                pod: None,
                text: news.message,
            });
            state.wake.app(app);
        }
        Ok(())
    }
}

/// Writes the replacement of a pod; nothing if the pod is not what it was any more.
pub(super) async fn begin(
    db: &mut Db,
    it: &Move,
    now: DateTime<Utc>,
) -> Result<Option<News>, StoreError> {
    let siblings = pods::of_app(db, it.app).await?;
    let in_slot = |pod: &&PodRow| pod.name == it.name && pod.kind == PodKind::Service;
    let [pod] = siblings.iter().filter(in_slot).collect::<Vec<_>>()[..] else {
        return Ok(None);
    };
    let app = apps::get(db, it.app).await?;
    if pod.id != it.pod
        || pod.intent != PodIntent::Wanted
        || Some(pod.release) != app.current_release
    {
        return Ok(None);
    }
    let fresh = PodRow {
        id: PodId::generate(),
        node: Some(it.to.clone()),
        unplaced: None,
        status: None,
        created_at: now,
        updated_at: now,
        ..pod.clone()
    };
    pods::insert(db, &fresh).await?;
    let (name, from, to) = (&it.name, &it.from, &it.to);
    let news = News {
        pod: Some(name.clone()),
        cause: Some(Cause::Rebalanced { node: from.clone() }),
        ..News::told(
            "pod.moved",
            format!("{name} gets replaced: machine {to} is the better one than {from}"),
        )
    };
    events::observe(db, &news.of(Some(&app.app())), now).await?;
    Ok(Some(news))
}

/// All that would be moved as things are, whether it is switched on or not.
pub(crate) async fn planned(
    state: &AppState,
    now: DateTime<Utc>,
) -> Result<(Snapshot, Vec<Move>), StoreError> {
    let mut world = World::load(state, &mut Specs::default()).await?;
    world.observe(state);
    let snapshot = world.planner.into_snapshot();
    let moves = plan_all(snapshot.clone(), now, SHOWN_MAX);
    Ok((snapshot, moves))
}
