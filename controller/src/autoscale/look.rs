//! One look at every process type that is autoscaled: what is known of it, the decision, the count.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    autoscale::LastDecision,
    ids::AppId,
    names::ProcessType,
    pods::PodPhase,
    sizes::{self, Resources},
};
use fairway_scheduler::{
    autoscale::{Memory, Seen, Situation, Use, Verdict, WINDOW_SECS, decide},
    snapshot::{PodIntent, PodKind},
};
use tokio::time::Instant;

use crate::{
    formation,
    metrics::Metrics,
    state::AppState,
    store::{
        Db, StoreError,
        apps::{self, AppRow},
        autoscale::{self, AutoscaleRow},
        columns::now,
        deployments, formation as formation_rows,
        pods::{self, PodRow},
        releases,
    },
};

type Key = (AppId, ProcessType);

/// What the database says of one process type.
struct Known {
    app: AppRow,
    policy: AutoscaleRow,
    quantity: u32,
    deploying: bool,
    /// Of the release that serves; up.
    up: Vec<PodRow>,
    /// What the sidecars of each take.
    sidecars: Resources,
}

/// Looks at all of them. What one of them suffers the others do not.
pub(super) async fn all(
    state: &AppState,
    memories: &mut BTreeMap<Key, Memory>,
) -> anyhow::Result<()> {
    let now = now();
    let mut tx = state.store.read().await.context("open the database")?;
    let policies = autoscale::all(&mut tx).await.context("read the policies")?;
    let mut known = Vec::with_capacity(policies.len());
    for policy in policies {
        known.extend(read(&mut tx, policy).await.context("read what runs")?);
    }
    drop(tx);
    let keys: BTreeSet<Key> = known.iter().map(Known::key).collect();
    memories.retain(|key, _| keys.contains(key));
    state.autoscaling.lock().retain(|key, _| keys.contains(key));
    for known in known {
        let mut seen = seen(&state.metrics, &known, now);
        if known.policy.policy.queue.is_some() {
            let process_type = &known.policy.process_type;
            seen.queue = state.queues.of(known.app.id, process_type, Instant::now());
        }
        let situation = Situation {
            policy: &known.policy.policy,
            quantity: known.quantity,
            up: u32::try_from(known.up.len()).unwrap_or(u32::MAX),
            is_web: known.policy.process_type.is_web(),
            deploying: known.deploying,
            seen: &seen,
            now,
        };
        let memory = memories.entry(known.key()).or_default();
        let verdict = decide(memory, &situation);
        let told = match verdict.wanted == known.quantity {
            true => verdict.reason.clone(),
            false => match set(state, &known, &verdict).await {
                Ok(()) => verdict.reason.clone(),
                Err(why) => format!("{}; but the count could not be set: {why}", verdict.reason),
            },
        };
        let last = LastDecision {
            at: now,
            wanted: verdict.wanted,
            reason: told,
        };
        state.autoscaling.lock().insert(known.key(), last);
    }
    Ok(())
}

impl Known {
    fn key(&self) -> Key {
        (self.app.id, self.policy.process_type.clone())
    }
}

/// `None` for a process type that the app does not have, or not yet.
async fn read(db: &mut Db, policy: AutoscaleRow) -> Result<Option<Known>, StoreError> {
    let app = apps::get(db, policy.app).await?;
    let Some(release) = app.current_release else {
        return Ok(None);
    };
    let formation = formation_rows::list(db, app.id).await?;
    let row = formation
        .into_iter()
        .find(|row| row.process_type == policy.process_type);
    let Some(row) = row else { return Ok(None) };
    let mut up = pods::of_app(db, app.id).await?;
    up.retain(|pod| {
        pod.process_type == policy.process_type && pod.release == release && is_up(pod)
    });
    let deploying = !deployments::open_of(db, app.id).await?.is_empty();
    let image = releases::get(db, release).await?.image;
    let sidecars = image.map(|it| it.sidecars.resources(Some(&policy.process_type)));
    Ok(Some(Known {
        sidecars: sidecars.unwrap_or_default(),
        app,
        policy,
        quantity: row.quantity,
        deploying,
        up,
    }))
}

/// True for a pod that does its work.
pub(crate) fn is_up(pod: &PodRow) -> bool {
    let phase = pod.status.as_ref().map(|status| &status.phase);
    let runs = match phase {
        Some(PodPhase::Running { ready }) => *ready || !pod.process_type.is_web(),
        _ => false,
    };
    runs && pod.kind == PodKind::Service && pod.intent == PodIntent::Wanted
}

fn seen(metrics: &Metrics, known: &Known, now: DateTime<Utc>) -> Seen {
    let is_web = known.policy.process_type.is_web();
    let requests = is_web.then(|| metrics.requests(known.app.id, Instant::now()));
    let window = TimeDelta::seconds(WINDOW_SECS);
    // What a pod uses while it starts is no load.
    let settled = known.up.iter().filter(|pod| {
        let status = pod.status.as_ref();
        let started = status.and_then(|status| status.started_at);
        started.is_some_and(|started| now - started >= window)
    });
    Seen {
        traffic: requests.flatten(),
        pods: settled
            .filter_map(|pod| usage(metrics, pod, known.sidecars))
            .collect(),
        ..Seen::default()
    }
}

/// What a pod uses of its size and of what its sidecars may use, which is what `beside` says.
pub(crate) fn usage(metrics: &Metrics, pod: &PodRow, beside: Resources) -> Option<Use> {
    let (cpu_millis, memory_bytes) = metrics.used(pod.id)?;
    let size = sizes::find(pod.size.as_str()).or_else(|| sizes::find(sizes::SIZE_DEFAULT))?;
    let has = size.resources.plus(beside);
    Some(Use {
        cpu: cpu_millis / f64::from(has.cpu_millis.max(1)) * 100.0,
        memory: memory_bytes / has.memory_bytes.max(1) as f64 * 100.0,
    })
}

/// Sets the count, unless somebody else has meanwhile.
async fn set(state: &AppState, known: &Known, verdict: &Verdict) -> anyhow::Result<()> {
    let process_type = &known.policy.process_type;
    let mut tx = state.store.write().await?;
    let rows = formation_rows::list(&mut tx, known.app.id).await?;
    let same = rows
        .iter()
        .any(|row| row.process_type == *process_type && row.quantity == known.quantity);
    if !same {
        return Ok(());
    }
    formation::autoscale(&mut tx, &known.app, process_type, verdict)
        .await
        .map_err(|problem| anyhow::anyhow!(problem))?;
    tx.commit().await?;
    state.wake.app(known.app.id);
    Ok(())
}
