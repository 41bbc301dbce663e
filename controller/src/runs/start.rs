//! The beginning of a run that somebody asks for.

use fairway_api::{
    config_vars::{CONFIG_BYTES_MAX, CONFIG_NAMES_RESERVED, ConfigVars},
    ids::RunId,
    jobs::{
        COMMAND_BYTES_MAX, COMPLETIONS_MAX, CronJob, NewRun, OPEN_RUNS_PER_APP_MAX,
        PARALLELISM_MAX, RETRIES_MAX, RUN_TIMEOUT_SECS_MAX, Run, RunState,
    },
    names::{JobName, SizeName},
    sizes::{self, SIZE_DEFAULT},
};
use fairway_scheduler::jobs::{Active, Progress, RunKind, Shape};

use super::{Work, shown};
use crate::{
    auth::Caller,
    problem::{Answer, Problem},
    secrets::Secrets,
    store::{
        Db,
        apps::AppRow,
        columns::now,
        events,
        pods::PodRow,
        releases::{self, ReleaseRow},
        runs::{self, RunRow},
    },
};

/// Numbers of runs that people start, above every ordinal that a formation can have and below those
/// of scheduled runs.
const NUMBERS: std::ops::RangeInclusive<u32> = 1_001..=9_999;
/// What the pods of a run are called that nobody named.
const NAME_DEFAULT: &str = "run";

/// Runs a command of the current release in one pod or many.
pub async fn start(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    new: NewRun,
    caller: &Caller,
) -> Answer<Run> {
    let release = runnable(db, app).await?;
    check_command(&new.command)?;
    check_environment(&new.env)?;
    let shape = shape(&new)?;
    let size = new.size.as_ref().map(size).transpose()?;
    if let Some(name) = &new.name {
        check_name(name, &release)?;
    }
    let number = free_number(db, app, &[]).await?;
    let (id, now) = (RunId::generate(), now());
    let work = Work {
        command: new.command,
        env: new.env,
    };
    let prefix = new.name.as_ref().map_or(NAME_DEFAULT, JobName::as_str);
    let row = RunRow {
        id,
        app: app.id,
        release: release.id,
        kind: RunKind::Job,
        name: format!("{prefix}.{number}"),
        job: new.name,
        number,
        size: size.unwrap_or_else(size_default),
        work: Some(work.seal(secrets, id)),
        shape,
        progress: Progress::default(),
        state: RunState::Running,
        exit_code: None,
        reason: None,
        scheduled_at: None,
        skipped: 0,
        actor: caller.account.email.to_string(),
        created_at: now,
        ended_at: None,
    };
    begin(db, secrets, app, row, caller).await
}

/// Runs a job of the current release now, suspended or not, whatever its schedule says.
pub async fn start_job(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    which: &str,
    caller: &Caller,
) -> Answer<Run> {
    let release = runnable(db, app).await?;
    let cron = release.image.as_ref().map(|image| &image.cron);
    let (name, job) = cron
        .and_then(|cron| cron.get_key_value(which))
        .ok_or_else(|| Problem::not_found("job"))?;
    let number = free_number(db, app, &[]).await?;
    let row = RunRow {
        id: RunId::generate(),
        app: app.id,
        release: release.id,
        kind: RunKind::Job,
        name: format!("{name}.{number}"),
        job: Some(name.clone()),
        number,
        size: size_of_job(job),
        work: None,
        shape: shape_of_job(job),
        progress: Progress::default(),
        state: RunState::Running,
        exit_code: None,
        reason: None,
        scheduled_at: None,
        skipped: 0,
        actor: caller.account.email.to_string(),
        created_at: now(),
        ended_at: None,
    };
    begin(db, secrets, app, row, caller).await
}

async fn begin(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    row: RunRow,
    caller: &Caller,
) -> Answer<Run> {
    runs::insert(db, &row).await?;
    // The command line may hold a secret; the record says only that something was run.
    let message = format!("{} was started.", row.name);
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "run.started", &message).await?;
    shown::one(db, secrets, app, row).await
}

/// Notes that a one-off pod runs; its exit code is kept here when the pod is gone.
pub(crate) async fn one_off(
    db: &mut Db,
    secrets: &Secrets,
    pod: &PodRow,
    command: &str,
    timeout_secs: u32,
    caller: &Caller,
) -> Answer<()> {
    let id = RunId::from_u128(pod.id.as_uuid().as_u128());
    let work = Work {
        command: command.to_owned(),
        env: ConfigVars::new(),
    };
    let active = Active {
        pod: pod.id,
        failures: 0,
    };
    let row = RunRow {
        id,
        app: pod.app,
        release: pod.release,
        kind: RunKind::OneOff,
        job: None,
        name: pod.name.clone(),
        number: pod.ordinal,
        size: pod.size.clone(),
        work: Some(work.seal(secrets, id)),
        shape: Shape {
            completions: 1,
            parallelism: 1,
            retries: 0,
            timeout_secs,
        },
        progress: Progress {
            active: [(0, active)].into(),
            next: 1,
            ..Progress::default()
        },
        state: RunState::Running,
        exit_code: None,
        reason: None,
        scheduled_at: None,
        skipped: 0,
        actor: caller.account.email.to_string(),
        created_at: pod.created_at,
        ended_at: None,
    };
    Ok(runs::insert(db, &row).await?)
}

/// The release whose commands are run.
pub(crate) async fn runnable(db: &mut Db, app: &AppRow) -> Answer<ReleaseRow> {
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

/// Refuses a command that cannot be run.
pub(crate) fn check_command(command: &str) -> Answer<()> {
    let command = command.trim();
    if command.is_empty() || command.contains('\0') || command.len() > COMMAND_BYTES_MAX {
        return Err(Problem::invalid(format!(
            "A command must have 1 to {COMMAND_BYTES_MAX} bytes and no NUL character."
        ))
        .hint("Name a command: app run -- ls -l"));
    }
    Ok(())
}

/// Refuses an environment that a process cannot have.
pub(crate) fn check_environment(env: &ConfigVars) -> Answer<()> {
    if let Some(name) = env
        .keys()
        .find(|name| CONFIG_NAMES_RESERVED.contains(&name.as_str()))
    {
        return Err(Problem::invalid(format!(
            "{name} is set by Fairway and cannot be changed."
        )));
    }
    let bytes: usize = env
        .iter()
        .map(|(name, value)| name.as_str().len() + value.expose().len())
        .sum();
    if bytes > CONFIG_BYTES_MAX || env.values().any(|value| value.expose().contains('\0')) {
        return Err(Problem::invalid(format!(
            "The environment must have at most {CONFIG_BYTES_MAX} bytes and no NUL character."
        )));
    }
    Ok(())
}

fn check_name(name: &JobName, release: &ReleaseRow) -> Answer<()> {
    let image = release.image.as_ref();
    if image.is_some_and(|image| image.processes.contains_key(name.as_str())) {
        return Err(Problem::invalid(format!(
            "The app has a process type {name}; give the run another name, or its pods could not \
             be told apart in the log."
        )));
    }
    if image.is_some_and(|image| image.cron.contains_key(name)) {
        return Err(Problem::invalid(format!(
            "The app has a job {name}; give the run another name."
        ))
        .hint(format!("To run the job now: app jobs:start {name}")));
    }
    Ok(())
}

fn shape(new: &NewRun) -> Answer<Shape> {
    let within = |what: &str, value: Option<u32>, default: u32, least: u32, most: u32| {
        let value = value.unwrap_or(default);
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(Problem::invalid(format!(
            "{what} is {value}; it must be from {least} to {most}."
        )))
    };
    let completions = within("completions", new.completions, 1, 1, COMPLETIONS_MAX)?;
    let all = completions.min(PARALLELISM_MAX);
    Ok(Shape {
        completions,
        parallelism: within("parallelism", new.parallelism, all, 1, PARALLELISM_MAX)?,
        retries: within("retries", new.retries, 0, 0, RETRIES_MAX)?,
        timeout_secs: within(
            "timeout",
            new.timeout,
            RUN_TIMEOUT_SECS_MAX,
            1,
            RUN_TIMEOUT_SECS_MAX,
        )?,
    })
}

/// How much a run of a job is.
pub(crate) fn shape_of_job(job: &CronJob) -> Shape {
    Shape {
        completions: 1,
        parallelism: 1,
        retries: job.retries,
        timeout_secs: job.timeout_secs,
    }
}

/// The size of a job's pods. One that was taken out of the table since counts as the default one.
pub(crate) fn size_of_job(job: &CronJob) -> SizeName {
    let known = job
        .size
        .as_ref()
        .and_then(|name| sizes::find(name.as_str()));
    known.map_or_else(size_default, |size| size.name)
}

/// A size that there is.
pub(crate) fn size(name: &SizeName) -> Answer<SizeName> {
    sizes::find(name.as_str())
        .map(|size| size.name)
        .ok_or_else(|| Problem::invalid(format!("Couldn't find that size ({name}).")))
}

pub(crate) fn size_default() -> SizeName {
    SIZE_DEFAULT.parse().expect("the default is a size's name")
}

/// A number that none of the app's open runs has, and none of these.
pub(crate) async fn free_number(db: &mut Db, app: &AppRow, others: &[u32]) -> Answer<u32> {
    let open = runs::open_of(db, app.id).await?;
    if open.len() >= OPEN_RUNS_PER_APP_MAX {
        return Err(Problem::invalid(format!(
            "The app has {OPEN_RUNS_PER_APP_MAX} runs that have not ended."
        ))
        .hint("Wait until some have ended, or stop them with app run:stop."));
    }
    let span = NUMBERS.end() - NUMBERS.start() + 1;
    let start = rand::random::<u32>() % span;
    let taken =
        |number: &u32| others.contains(number) || open.iter().any(|run| run.number == *number);
    (0..span)
        .map(|step| NUMBERS.start() + (start + step) % span)
        .find(|number| !taken(number))
        .ok_or_else(|| Problem::conflict("No number for a run is free."))
}
