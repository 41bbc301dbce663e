//! What users see of pods and ask of them: run, restart, stop.
//!
//! Requests only write intent (a row for a one-off pod, a newer pod in a slot); the reconcile loop
//! does the rest. The caller commits and wakes it.

mod shown;

use std::collections::{BTreeMap, btree_map::Entry};

use fairway_api::{
    dynos::{Dyno, NewDyno, RUN_TTL_SECS_MAX},
    ids::{AttachId, PodId},
    machines::NodePod,
    names::{NodeName, ProcessType, SizeName},
    pods::Attach,
};
use fairway_scheduler::snapshot::{PodIntent, PodKind};

use crate::{
    auth::Caller,
    deploy::one_off::{ONE_OFF_TYPE, OneOff},
    problem::{Answer, Problem},
    runs,
    secrets::Secrets,
    store::{
        Db,
        apps::{self, AppRow},
        columns::now,
        events, formation,
        pods::{self, PodRow},
        releases::{self, ReleaseRow},
    },
};

/// The most one-off pods of one app at a time, ended ones that are still shown included. Guards
/// the machines against a loop in somebody's script.
const ONE_OFFS_PER_APP_MAX: usize = 100;

/// An app's pods as users see them, superseded and one-off ones included.
pub async fn list(db: &mut Db, secrets: &Secrets, app: &AppRow) -> Answer<Vec<Dyno>> {
    let rows = pods::of_app(db, app.id).await?;
    let mut shown = Vec::with_capacity(rows.len());
    let mut releases: BTreeMap<_, ReleaseRow> = BTreeMap::new();
    let commands = runs::commands(db, secrets, app, &rows).await?;
    for row in &rows {
        if let Entry::Vacant(unread) = releases.entry(row.release) {
            unread.insert(releases::get(db, row.release).await?);
        }
        let one_off = row
            .one_off
            .as_ref()
            .map(|sealed| OneOff::open(sealed, secrets, row.id))
            .transpose()?;
        let superseded = is_superseded(row, &rows);
        let release = &releases[&row.release];
        let mut dyno = shown::dyno(app, row, release, one_off.as_ref(), superseded);
        if let Some(command) = commands.get(&row.id) {
            dyno.command.clone_from(command);
        }
        shown.push(dyno);
    }
    shown.sort_by(|one, other| {
        (&one.process_type, &one.name, one.id).cmp(&(&other.process_type, &other.name, other.id))
    });
    Ok(shown)
}

/// A machine's pods as operators see them.
pub async fn of_node(db: &mut Db, node: &NodeName) -> Answer<Vec<NodePod>> {
    let mut owners = BTreeMap::new();
    let mut versions = BTreeMap::new();
    let mut found = Vec::new();
    for row in pods::of_node(db, node).await? {
        if let Entry::Vacant(unread) = owners.entry(row.app) {
            unread.insert(apps::get(db, row.app).await?.app());
        }
        if let Entry::Vacant(unread) = versions.entry(row.release) {
            unread.insert(releases::get(db, row.release).await?.version);
        }
        found.push(NodePod {
            id: row.id,
            app: owners[&row.app].clone(),
            release: versions[&row.release],
            state: shown::state(&row),
            name: row.name,
            size: row.size,
            created_at: row.created_at,
        });
    }
    Ok(found)
}

/// One pod, by id or by name; of several with one name, the wanted one.
pub async fn find(db: &mut Db, secrets: &Secrets, app: &AppRow, which: &str) -> Answer<Dyno> {
    let mut named: Vec<_> = list(db, secrets, app)
        .await?
        .into_iter()
        .filter(|dyno| dyno.name == which || dyno.id.to_string() == which)
        .collect();
    named.sort_by_key(|dyno| dyno.superseded);
    named
        .into_iter()
        .next()
        .ok_or_else(|| Problem::not_found("pod"))
}

/// True when the pod is on its way out or another one is to take its place.
fn is_superseded(pod: &PodRow, all: &[PodRow]) -> bool {
    pod.intent != PodIntent::Wanted
        || pod.kind == PodKind::Service
            && all.iter().any(|other| {
                other.kind == PodKind::Service
                    && other.intent == PodIntent::Wanted
                    && (&other.process_type, other.ordinal) == (&pod.process_type, pod.ordinal)
                    && other.release == pod.release
                    && other.id > pod.id
            })
}

/// Starts a one-off pod of the current release. Gives it as users see it, and where its terminal
/// waits if it has one.
pub async fn run(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    new: NewDyno,
    caller: &Caller,
) -> Answer<(Dyno, Option<AttachId>)> {
    let release = runs::runnable(db, app).await?;
    check(&new)?;
    let siblings = pods::of_app(db, app.id).await?;
    let number = free_number(db, app, &siblings).await?;
    let size = size(db, app, &new).await?;
    let attach = new.attach.then(|| Attach {
        id: AttachId::generate(),
        tty: !new.force_no_tty,
    });
    let one_off = OneOff {
        command: new.command,
        env: new.env,
        attach,
        time_to_live_secs: new.time_to_live.unwrap_or(RUN_TTL_SECS_MAX),
    };
    let (id, now) = (PodId::generate(), now());
    let prefix = new.process_type.as_ref().map_or("run", ProcessType::as_str);
    let pod = PodRow {
        id,
        app: app.id,
        release: release.id,
        kind: PodKind::Run,
        process_type: ONE_OFF_TYPE.parse().expect("the word is a process type"),
        name: format!("{prefix}.{number}"),
        ordinal: number,
        size,
        node: None,
        unplaced: None,
        intent: PodIntent::Wanted,
        one_off: Some(one_off.seal(secrets, id)),
        status: None,
        created_at: now,
        updated_at: now,
    };
    pods::insert(db, &pod).await?;
    let (command, secs) = (&one_off.command, one_off.time_to_live_secs);
    runs::one_off(db, secrets, &pod, command, secs, caller).await?;
    // The command line may hold a secret; the record says only that something was run.
    record(
        db,
        app,
        caller,
        "pod.run",
        format!("{} was started.", pod.name),
    )
    .await?;
    let dyno = shown::dyno(app, &pod, &release, Some(&one_off), false);
    Ok((dyno, one_off.attach.map(|attach| attach.id)))
}

/// Replaces pods by fresh ones: all of the formation, those of a process type, or one.
pub async fn restart(
    db: &mut Db,
    app: &AppRow,
    which: Option<&str>,
    caller: &Caller,
) -> Answer<()> {
    let rows = pods::of_app(db, app.id).await?;
    let chosen: Vec<&PodRow> = rows
        .iter()
        .filter(|pod| pod.intent == PodIntent::Wanted && pod.kind != PodKind::ReleasePhase)
        .filter(|pod| which.is_some() || pod.kind == PodKind::Service)
        .filter(|pod| which.is_none_or(|which| is_called(pod, which)))
        .filter(|pod| !is_superseded(pod, &rows))
        .collect();
    if let (Some(_), true) = (which, chosen.is_empty()) {
        return Err(Problem::not_found("pod"));
    }
    for pod in chosen {
        end_or_replace(db, app, pod).await?;
    }
    let what = which.unwrap_or("all pods");
    record(
        db,
        app,
        caller,
        "pod.restarted",
        format!("Restarted {what}."),
    )
    .await
}

/// Stops a one-off pod, or replaces a pod of the formation.
pub async fn stop(db: &mut Db, app: &AppRow, which: &str, caller: &Caller) -> Answer<()> {
    let rows = pods::of_app(db, app.id).await?;
    let found = rows.iter().find(|pod| {
        let named = pod.name == which || pod.id.to_string() == which;
        named && pod.intent == PodIntent::Wanted && !is_superseded(pod, &rows)
    });
    let pod = found.ok_or_else(|| Problem::not_found("pod"))?;
    if matches!(pod.kind, PodKind::Run | PodKind::Job)
        && let Some(run) = runs::of_pod(db, app, pod.id).await?
    {
        return runs::cancel(db, app, &run, caller).await;
    }
    end_or_replace(db, app, pod).await?;
    record(
        db,
        app,
        caller,
        "pod.stopped",
        format!("Stopped {}.", pod.name),
    )
    .await
}

fn is_called(pod: &PodRow, which: &str) -> bool {
    pod.name == which
        || pod.id.to_string() == which
        || pod.kind == PodKind::Service && pod.process_type.as_str() == which
}

async fn end_or_replace(db: &mut Db, app: &AppRow, pod: &PodRow) -> Answer<()> {
    let now = now();
    match pod.kind {
        PodKind::Run | PodKind::Job => pods::stop(db, pod.id, now).await?,
        // A deployment counts on its release phase and on its new pods.
        PodKind::ReleasePhase => {}
        PodKind::Service if Some(pod.release) != app.current_release => {}
        PodKind::Service => {
            let fresh = PodRow {
                id: PodId::generate(),
                node: None,
                unplaced: None,
                status: None,
                created_at: now,
                updated_at: now,
                ..pod.clone()
            };
            pods::insert(db, &fresh).await?;
        }
    }
    Ok(())
}

fn check(new: &NewDyno) -> Answer<()> {
    runs::check_command(&new.command)?;
    if new
        .time_to_live
        .is_some_and(|secs| secs == 0 || secs > RUN_TTL_SECS_MAX)
    {
        return Err(Problem::invalid(format!(
            "A one-off pod can live for 1 to {RUN_TTL_SECS_MAX} seconds."
        )));
    }
    runs::check_environment(&new.env)
}

/// A number that none of the app's pods has.
async fn free_number(db: &mut Db, app: &AppRow, siblings: &[PodRow]) -> Answer<u32> {
    let one_offs = siblings.iter().filter(|pod| pod.kind == PodKind::Run);
    let taken: Vec<u32> = one_offs.map(|pod| pod.ordinal).collect();
    if taken.len() >= ONE_OFFS_PER_APP_MAX {
        return Err(Problem::invalid(format!(
            "The app has {ONE_OFFS_PER_APP_MAX} one-off pods already."
        ))
        .hint("Wait until some have ended, or stop them with app ps:stop."));
    }
    runs::free_number(db, app, &taken).await
}

/// The size asked for, else that of the process type in the formation, else the default.
async fn size(db: &mut Db, app: &AppRow, new: &NewDyno) -> Answer<SizeName> {
    if let Some(size) = &new.size {
        return runs::size(size);
    }
    let rows = formation::list(db, app.id).await?;
    let row = rows
        .into_iter()
        .find(|row| Some(&row.process_type) == new.process_type.as_ref());
    Ok(row.map_or_else(runs::size_default, |row| row.size))
}

async fn record(
    db: &mut Db,
    app: &AppRow,
    caller: &Caller,
    kind: &'static str,
    message: String,
) -> Answer<()> {
    let actor = caller.account.email.as_str();
    Ok(events::record(db, Some(&app.app()), actor, kind, &message).await?)
}
