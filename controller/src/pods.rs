//! What users see of pods and ask of them: run, restart, stop.
//!
//! Requests only write intent (a row for a one-off pod, a newer pod in a slot); the reconcile loop
//! does the rest. The caller commits and wakes it.

mod shown;

use std::collections::{BTreeMap, btree_map::Entry};

use fairway_api::{
    config_vars::{CONFIG_BYTES_MAX, CONFIG_NAMES_RESERVED},
    dynos::{Dyno, NewDyno, RUN_TTL_SECS_MAX},
    ids::{AttachId, PodId},
    machines::NodePod,
    names::{NodeName, ProcessType, SizeName},
    pods::Attach,
    sizes::{self, SIZE_DEFAULT},
};
use fairway_scheduler::snapshot::{PodIntent, PodKind};

use crate::{
    auth::Caller,
    deploy::one_off::{ONE_OFF_TYPE, OneOff},
    problem::{Answer, Problem},
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
/// The most bytes of a one-off command line: Linux takes no longer argument.
const COMMAND_BYTES_MAX: usize = 128 * 1024 - 1;
/// Numbers of one-off pods, above every ordinal that a formation can have.
const ONE_OFF_NUMBERS: std::ops::RangeInclusive<u32> = 1_001..=9_999;

/// An app's pods as users see them, superseded and one-off ones included.
pub async fn list(db: &mut Db, secrets: &Secrets, app: &AppRow) -> Answer<Vec<Dyno>> {
    let rows = pods::of_app(db, app.id).await?;
    let mut shown = Vec::with_capacity(rows.len());
    let mut releases: BTreeMap<_, ReleaseRow> = BTreeMap::new();
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
        shown.push(shown::dyno(
            app,
            row,
            &releases[&row.release],
            one_off.as_ref(),
            superseded,
        ));
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
    let release = runnable(db, app).await?;
    check(&new)?;
    let siblings = pods::of_app(db, app.id).await?;
    let number = free_number(&siblings)?;
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
        PodKind::Run => pods::stop(db, pod.id, now).await?,
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

/// The release that one-off pods run.
async fn runnable(db: &mut Db, app: &AppRow) -> Answer<ReleaseRow> {
    let nothing = || {
        Problem::invalid("The app has no release to run yet.")
            .hint("Push the app first: git push fairway main")
    };
    let release = releases::get(db, app.current_release.ok_or_else(nothing)?).await?;
    if release.image.is_some() {
        Ok(release)
    } else {
        Err(nothing())
    }
}

fn check(new: &NewDyno) -> Answer<()> {
    let command = new.command.trim();
    if command.is_empty() || command.contains('\0') || command.len() > COMMAND_BYTES_MAX {
        return Err(Problem::invalid(format!(
            "A command must have 1 to {COMMAND_BYTES_MAX} bytes and no NUL character."
        ))
        .hint("Name a command: app run -- ls -l"));
    }
    if new
        .time_to_live
        .is_some_and(|secs| secs == 0 || secs > RUN_TTL_SECS_MAX)
    {
        return Err(Problem::invalid(format!(
            "A one-off pod can live for 1 to {RUN_TTL_SECS_MAX} seconds."
        )));
    }
    if let Some(name) = new
        .env
        .keys()
        .find(|name| CONFIG_NAMES_RESERVED.contains(&name.as_str()))
    {
        return Err(Problem::invalid(format!(
            "{name} is set by Fairway and cannot be changed."
        )));
    }
    let bytes: usize = new
        .env
        .iter()
        .map(|(name, value)| name.as_str().len() + value.expose().len())
        .sum();
    if bytes > CONFIG_BYTES_MAX || new.env.values().any(|value| value.expose().contains('\0')) {
        return Err(Problem::invalid(format!(
            "The environment must have at most {CONFIG_BYTES_MAX} bytes and no NUL character."
        )));
    }
    Ok(())
}

/// A number that none of the app's pods has.
fn free_number(siblings: &[PodRow]) -> Answer<u32> {
    let runs = || siblings.iter().filter(|pod| pod.kind == PodKind::Run);
    if runs().count() >= ONE_OFFS_PER_APP_MAX {
        return Err(Problem::invalid(format!(
            "The app has {ONE_OFFS_PER_APP_MAX} one-off pods already."
        ))
        .hint("Wait until some have ended, or stop them with app ps:stop."));
    }
    let span = ONE_OFF_NUMBERS.end() - ONE_OFF_NUMBERS.start() + 1;
    let start = rand::random::<u32>() % span;
    (0..span)
        .map(|step| ONE_OFF_NUMBERS.start() + (start + step) % span)
        .find(|number| runs().all(|pod| pod.ordinal != *number))
        .ok_or_else(|| Problem::conflict("No number for a one-off pod is free."))
}

/// The size asked for, else that of the process type in the formation, else the default.
async fn size(db: &mut Db, app: &AppRow, new: &NewDyno) -> Answer<SizeName> {
    if let Some(size) = &new.size {
        return sizes::find(size.as_str())
            .map(|size| size.name)
            .ok_or_else(|| Problem::invalid(format!("Couldn't find that size ({size}).")));
    }
    let rows = formation::list(db, app.id).await?;
    let row = rows
        .into_iter()
        .find(|row| Some(&row.process_type) == new.process_type.as_ref());
    let default = || SIZE_DEFAULT.parse().expect("the default is a size's name");
    Ok(row.map_or_else(default, |row| row.size))
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
