//! The queue of builds: who builds what when, and what becomes of builds that nobody finishes.
//!
//! ```text
//! queue -> claim -> touch, touch, ... -> finish -> (deploy) -> verdict
//!    \       \______________________________ lease over, or lost by its builder: failed
//!     \____________ cancel, or the builder is gone: failed
//! ```
//!
//! What a heartbeat changes is kept in memory only ([`Leases`]); a controller that starts gives
//! every running build one whole lease to be heard of.

mod leases;

use std::time::{Duration, Instant};

use fairway_api::{
    build_orders::{
        BuildLease, BuildOrder, BuildResult, CLAIM_WAIT_SECS, ClaimBuild, NewBuild, PushVerdict,
        QueuedBuild, WaitsFor,
    },
    builds::BuildPhase,
    config_vars::is_build_var,
    ids::{AppId, BuildId},
    logs::{LogLine, LogSource},
    names::{AppName, BuilderName},
    secret::Secret,
    wanted::image_repository,
};
use tokio_util::sync::CancellationToken;

pub(crate) use leases::Leases;

use leases::LEASE;

use crate::{
    auth::Caller,
    config_vars, deploy,
    problem::{Answer, Problem},
    state::AppState,
    store::{
        Db, StoreError, accounts, apps,
        builds::{self, BuildRow},
        columns::now,
        events, releases,
    },
    wake::Ear,
};

/// Builds of one app that may be open at once; whoever pushes more waits for them to end.
const OPEN_PER_APP_MAX: usize = 10;
/// Outputs kept per app; each may have `BUILD_OUTPUT_BYTES_MAX`.
const OUTPUTS_PER_APP: u32 = 50;
/// How often leases are looked at: a fraction of the lease, so that it ends about on time.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How much of a commit's summary and author is kept, in characters.
const COMMIT_TEXT_CHARS_MAX: usize = 200;
/// Shorter values are not blacked out of outputs: `1` or `true` stand everywhere.
const REDACTED_BYTES_MIN: usize = 8;

/// In the app's log: who speaks of builds.
const LOG_PROCESS: &str = "api";

const INTERRUPTED: &str = "the build was interrupted by a restart of the builder; push again";
const BUILDER_STOPPED: &str = "the builder stopped answering; push again";
const BUILDER_NEVER_CAME: &str =
    "no builder took the build; check that the builder runs, then push again";

/// Queues a build.
pub async fn queue(state: &AppState, new: NewBuild) -> Answer<QueuedBuild> {
    let mut tx = state.store.write_relaxed().await?;
    let app = apps::find(&mut tx, new.app.as_str()).await?;
    let account = accounts::get(&mut tx, new.user.id).await?;
    if !(account.is_admin() || app.owner.id == account.id) {
        return Err(Problem::not_found("app"));
    }
    let open = builds::open_pushes(&mut tx, app.id).await?;
    if open.len() >= OPEN_PER_APP_MAX {
        return Err(
            Problem::conflict(format!("{} pushes wait for this app already.", open.len()))
                .hint("Wait for them to end, or cancel some of their builds."),
        );
    }
    let now = now();
    let mut source = new.commit;
    source.summary = source.summary.chars().take(COMMIT_TEXT_CHARS_MAX).collect();
    source.author = source.author.chars().take(COMMIT_TEXT_CHARS_MAX).collect();
    let build = BuildRow {
        id: BuildId::generate(),
        app: app.id,
        user: account.user(),
        builder: new.builder,
        source,
        phase: BuildPhase::Queued,
        failure: None,
        lease_until: None,
        result: None,
        release: None,
        verdict: None,
        created_at: now,
        updated_at: now,
    };
    builds::insert(&mut tx, &build).await?;
    let old = builds::beyond_newest(&mut tx, app.id, OUTPUTS_PER_APP).await?;
    tx.commit().await?;
    state.builds_changed.ring();
    for build in old {
        state.build_output.forget(build).await;
    }
    Ok(QueuedBuild {
        id: build.id,
        waits_for: open.last().map(waits_for),
    })
}

fn waits_for(build: &BuildRow) -> WaitsFor {
    WaitsFor {
        build: build.id,
        user: build.user.clone(),
        commit: short(build),
    }
}

fn short(build: &BuildRow) -> String {
    build.source.id.as_str().chars().take(8).collect()
}

/// Waits for the builder's next build. Ends before it what the builder has lost.
pub async fn claim(state: &AppState, ask: &ClaimBuild) -> Answer<Option<BuildOrder>> {
    let deadline = Instant::now() + Duration::from_secs(CLAIM_WAIT_SECS);
    let builder = &ask.builder;
    end_lost(state, ask).await?;
    loop {
        state.leases.builder(builder);
        let mut ear = state.builds_changed.listen();
        if let Some(order) = claim_now(state, builder).await? {
            return Ok(Some(order));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !heard(state, &mut ear, left).await {
            return Ok(None);
        }
    }
}

/// Fails the running builds that their builder knows nothing of: it was killed and is back, or the
/// answer that would have told it of them got lost. Waiting for the lease would only hold up the
/// app's next push.
async fn end_lost(state: &AppState, ask: &ClaimBuild) -> Result<(), StoreError> {
    for build in builds::unended(&mut *state.store.read().await?).await? {
        let running = build.phase == BuildPhase::Running && build.builder == ask.builder;
        if running && !ask.in_hand.contains(&build.id) {
            end_abandoned(state, &build, INTERRUPTED).await?;
        }
    }
    Ok(())
}

/// Fails a build on behalf of a builder that does not.
async fn end_abandoned(state: &AppState, build: &BuildRow, reason: &str) -> Result<(), StoreError> {
    let mut tx = state.store.write_relaxed().await?;
    let failed = builds::fail(&mut tx, build.id, BuildPhase::Failed, reason, now()).await?;
    tx.commit().await?;
    if failed {
        tell_failed(state, build, reason);
        end_with_notice(state, build.id, reason).await;
    }
    Ok(())
}

/// Waits for a notice; false when there was none in time or the process ends.
async fn heard(state: &AppState, ear: &mut Ear, limit: Duration) -> bool {
    let closing = state.closing.run_until_cancelled(ear.heard_within(limit));
    closing.await.unwrap_or(false)
}

async fn claim_now(state: &AppState, builder: &BuilderName) -> Answer<Option<BuildOrder>> {
    let mut tx = state.store.write_relaxed().await?;
    let now = now();
    let Some(build) = builds::claim(&mut tx, builder, now + LEASE, now).await? else {
        return Ok(None);
    };
    match order(state, &mut tx, &build).await {
        Ok(order) => {
            tx.commit().await?;
            state.leases.begin(build.id, builder);
            let (commit, by) = (short(&build), &build.user.email);
            tell(
                state,
                build.app,
                format!("Build of {commit} started by {by}"),
            );
            Ok(Some(order))
        }
        Err(problem) => {
            // Left in the queue it would block the app for ever.
            let reason = "the app's settings could not be read; an operator has to look at the log";
            builds::fail(&mut tx, build.id, BuildPhase::Failed, reason, now).await?;
            tx.commit().await?;
            state.push_ended(build.id);
            Err(problem)
        }
    }
}

async fn order(state: &AppState, db: &mut Db, build: &BuildRow) -> Answer<BuildOrder> {
    let app = apps::get(db, build.app).await?;
    let vars = config_vars::load(&state.secrets, db, app.id, app.config_version).await?;
    let mut redact: Vec<Secret> = vars
        .values()
        .filter(|value| value.expose().len() >= REDACTED_BYTES_MIN)
        .cloned()
        .collect();
    redact.sort_by_key(|value| std::cmp::Reverse(value.expose().len()));
    let previous = match app.current_release {
        Some(id) => releases::get(db, id).await?.image,
        None => None,
    };
    Ok(BuildOrder {
        id: build.id,
        app: app.app(),
        commit: build.source.clone(),
        registry: state.config.registry.clone(),
        repository: image_repository(app.id),
        previous_image: previous.map(|built| built.image),
        env: vars
            .into_iter()
            .filter(|(name, _)| is_build_var(name))
            .collect(),
        redact,
    })
}

/// A builder says that a build is alive. Answers whether it should go on.
pub async fn touch(state: &AppState, builder: &BuilderName, id: BuildId) -> Answer<BuildLease> {
    if state.leases.renew(id, builder) {
        return Ok(BuildLease { cancelled: false });
    }
    let cancelled = match builds::get(&mut *state.store.read().await?, id).await {
        Ok(build) => build.phase != BuildPhase::Running || build.builder != *builder,
        // Its app was destroyed.
        Err(StoreError::NotFound { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    if !cancelled {
        state.leases.begin(id, builder);
    }
    Ok(BuildLease { cancelled })
}

/// Ends a build. Saying the same again changes nothing and is no error: the answer to the first
/// time may have been lost.
pub async fn finish(
    state: &AppState,
    builder: &BuilderName,
    id: BuildId,
    result: BuildResult,
) -> Answer<()> {
    let mut tx = state.store.write_relaxed().await?;
    let build = builds::get(&mut tx, id).await?;
    if build.builder != *builder {
        return Err(Problem::not_found("build"));
    }
    let ended = match &result {
        BuildResult::Succeeded(image) => {
            let ended = builds::succeed(&mut tx, id, image, now()).await?;
            if ended {
                deploy::release_from_build(&mut tx, &build, image, now()).await?;
            }
            ended
        }
        BuildResult::Failed { reason } => {
            builds::fail(&mut tx, id, BuildPhase::Failed, reason, now()).await?
        }
    };
    let same = match &result {
        BuildResult::Succeeded(_) => build.phase == BuildPhase::Succeeded,
        BuildResult::Failed { .. } => build.phase == BuildPhase::Failed,
    };
    if !ended {
        let phase = format!("{:?}", build.phase).to_lowercase();
        let refused = Problem::conflict(format!("The build has ended already, as {phase}."));
        return if same { Ok(()) } else { Err(refused) };
    }
    tx.commit().await?;
    state.leases.end(id);
    if let BuildResult::Failed { reason } = &result {
        tell_failed(state, &build, reason);
        state.push_ended(id);
    }
    state.builds_changed.ring();
    state.wake.app(build.app);
    Ok(())
}

/// Waits until a push has ended.
pub async fn verdict(state: &AppState, id: BuildId) -> Answer<Option<PushVerdict>> {
    let deadline = Instant::now() + Duration::from_secs(CLAIM_WAIT_SECS);
    loop {
        let mut ear = state.builds_changed.listen();
        let build = builds::get(&mut *state.store.read().await?, id).await?;
        if build.verdict.is_some() {
            return Ok(build.verdict);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !heard(state, &mut ear, left).await {
            return Ok(None);
        }
    }
}

/// Cancels a build that has not ended.
pub async fn cancel(
    state: &AppState,
    app: AppId,
    id: BuildId,
    caller: &Caller,
) -> Answer<BuildRow> {
    let mut tx = state.store.write().await?;
    let build = of_app(&mut tx, app, id).await?;
    let by = &caller.account.email;
    let reason = format!("the build was cancelled by {by}");
    if !builds::fail(&mut tx, id, BuildPhase::Cancelled, &reason, now()).await? {
        return Err(Problem::conflict("The build has ended already.")
            .hint("A release can be undone with a rollback."));
    }
    let name: AppName = apps::get(&mut tx, app).await?.name;
    let app = fairway_api::apps::AppRef { id: app, name };
    let message = format!("The build of {} was cancelled.", short(&build));
    events::record(
        &mut tx,
        Some(&app),
        by.as_str(),
        "build.cancelled",
        &message,
    )
    .await?;
    tx.commit().await?;
    tell_failed(state, &build, &reason);
    end_with_notice(state, id, &reason).await;
    Ok(builds::get(&mut *state.store.read().await?, id).await?)
}

/// One of an app's builds.
pub async fn of_app(db: &mut Db, app: AppId, id: BuildId) -> Answer<BuildRow> {
    let build = builds::get(db, id).await?;
    if build.app == app {
        Ok(build)
    } else {
        Err(Problem::not_found("build"))
    }
}

fn tell_failed(state: &AppState, build: &BuildRow, reason: &str) {
    // Reasons may go on with what the app said; that stands in the build's output.
    let first = reason.lines().next().unwrap_or_default();
    tell(
        state,
        build.app,
        format!("Build of {} failed: {first}", short(build)),
    );
}

/// Writes a line into the app's log.
fn tell(state: &AppState, app: AppId, text: String) {
    state.logs.append_app(LogLine {
        app,
        at: now(),
        source: LogSource::Fairway,
        process: LOG_PROCESS.into(),
        pod: None,
        text,
    });
}

/// Tells in the output why a build has ended that its builder did not end, and lets go of who waits.
async fn end_with_notice(state: &AppState, id: BuildId, reason: &str) {
    state.leases.end(id);
    let notice = format!("\n !     Push failed: {reason}.\n");
    if let Err(error) = state.build_output.append(id, notice).await {
        tracing::warn!(build = %id, "cannot write to a build's output: {error}");
    }
    state.push_ended(id);
}

/// Looks after leases until `shutdown`.
pub(crate) async fn sweep(state: &AppState, shutdown: &CancellationToken) {
    while shutdown
        .run_until_cancelled(tokio::time::sleep(SWEEP_EVERY))
        .await
        .is_some()
    {
        if let Err(error) = sweep_once(state, Instant::now()).await {
            tracing::error!(
                "cannot look after running builds: {:#}",
                anyhow::Error::from(error)
            );
        }
    }
}

/// Fails the builds that nobody works on any more.
async fn sweep_once(state: &AppState, at: Instant) -> Result<(), StoreError> {
    for build in builds::unended(&mut *state.store.read().await?).await? {
        let reason = match build.phase {
            BuildPhase::Running if state.leases.expired(build.id, at) => BUILDER_STOPPED,
            BuildPhase::Queued if state.leases.gone(&build.builder, at) => BUILDER_NEVER_CAME,
            _ => continue,
        };
        end_abandoned(state, &build, reason).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
