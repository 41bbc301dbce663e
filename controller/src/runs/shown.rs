//! A run in the API's words.

use std::collections::{BTreeMap, btree_map::Entry};

use fairway_api::{dynos::DynoRelease, jobs::Run};

use super::Work;
use crate::{
    problem::Answer,
    secrets::Secrets,
    store::{
        Db,
        apps::AppRow,
        releases::{self, ReleaseRow},
        runs::RunRow,
    },
};

/// Several, each release of which is read once.
pub(super) async fn all(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    rows: Vec<RunRow>,
) -> Answer<Vec<Run>> {
    let mut known: BTreeMap<_, ReleaseRow> = BTreeMap::new();
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        if let Entry::Vacant(unread) = known.entry(row.release) {
            unread.insert(releases::get(db, row.release).await?);
        }
        let release = &known[&row.release];
        shown.push(run(secrets, app, release, row)?);
    }
    Ok(shown)
}

/// One.
pub(super) async fn one(db: &mut Db, secrets: &Secrets, app: &AppRow, row: RunRow) -> Answer<Run> {
    let release = releases::get(db, row.release).await?;
    run(secrets, app, &release, row)
}

fn run(secrets: &Secrets, app: &AppRow, release: &ReleaseRow, row: RunRow) -> Answer<Run> {
    let job = row.job.as_ref().map(AsRef::as_ref);
    let work = Work::of(row.work.as_deref(), secrets, row.id, job, release)?;
    let count = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
    Ok(Run {
        id: row.id,
        app: app.app(),
        command: work.map(|work| work.command).unwrap_or_default(),
        state: row.state,
        reason: row.reason,
        exit_code: row.exit_code,
        release: DynoRelease {
            id: release.id,
            version: release.version,
        },
        completions: row.shape.completions,
        parallelism: row.shape.parallelism,
        retries: row.shape.retries,
        timeout: row.shape.timeout_secs,
        succeeded: row.progress.succeeded,
        active: if row.state.has_ended() {
            0
        } else {
            count(row.progress.active.len())
        },
        failed: row.progress.failed,
        name: row.name,
        job: row.job,
        size: row.size,
        scheduled_at: row.scheduled_at,
        skipped: row.skipped,
        actor: row.actor,
        created_at: row.created_at,
        ended_at: row.ended_at,
    })
}
