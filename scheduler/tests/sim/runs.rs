//! Jobs in the simulation: what the releases have on their schedules, batches that people start, and
//! what must hold of runs whatever happens to machines, messages, clocks and the controller.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    ids::{AppId, ReleaseId, RunId},
    jobs::{Concurrency, Missed},
    names::JobName,
    schedule::Schedule,
};
use fairway_scheduler::{
    action::{Action, Step},
    jobs::{Job, JobAction, Progress, Run, RunKind, Shape},
    snapshot::{PodIntent, PodKind},
};

use super::Dice;
use crate::world::{World, size};

/// Jobs that must not run beside themselves.
const EXCLUSIVE: [&str; 2] = ["tick", "swap"];

/// What was seen of runs so far.
#[derive(Debug, Default)]
pub(super) struct Runs {
    begun: BTreeSet<(AppId, JobName, DateTime<Utc>)>,
    ended: BTreeSet<RunId>,
}

/// Puts jobs on the schedule of a release: one a minute that waits for itself, one that replaces
/// itself, one of several pods that runs beside itself.
pub(super) fn put_on_schedule(world: &mut World, app: AppId, release: ReleaseId, dice: &mut Dice) {
    let shape = |completions, parallelism, retries| Shape {
        completions,
        parallelism,
        retries,
        timeout_secs: 200,
    };
    let all = [
        ("tick", "* * * * *", Concurrency::Forbid, shape(1, 1, 1)),
        ("swap", "*/2 * * * *", Concurrency::Replace, shape(1, 1, 0)),
        ("fan", "*/3 * * * *", Concurrency::Allow, shape(3, 2, 2)),
    ];
    let mut cron = BTreeMap::new();
    for (name, line, concurrency, shape) in all {
        if dice.chance(60) {
            let missed = [Missed::RunOnce, Missed::Skip][usize::from(dice.chance(50))];
            let job = Job {
                schedule: Schedule::parse(line, "Europe/Berlin").unwrap(),
                concurrency,
                missed,
                size: size("nano"),
                shape,
            };
            cron.insert(name.parse().unwrap(), job);
        }
    }
    if let Some(release) = world.app(app).releases.get_mut(&release) {
        release.cron = Arc::new(cron);
    }
}

/// Somebody starts a batch, or suspends and resumes a job.
pub(super) fn people(world: &mut World, app: AppId, dice: &mut Dice) {
    // Apart from those that the planner gives.
    let (id, created_at) = (RunId::from_u128((1 << 100) + world.id()), world.now);
    let app = world.app(app);
    if dice.chance(50) {
        if let Some(mark) = app.jobs.marks.get_mut("tick") {
            mark.suspended = !mark.suspended;
            mark.decided = None;
        }
        return;
    }
    let Some(release) = app.current else { return };
    let number = u32::try_from(dice.roll(9_000)).unwrap() + 1;
    let run = Run {
        id,
        job: Some("import".parse().unwrap()),
        kind: RunKind::Job,
        release,
        name: format!("import.{number}"),
        number,
        size: size("nano"),
        shape: Shape {
            completions: 1 + u32::try_from(dice.roll(4)).unwrap(),
            parallelism: 1 + u32::try_from(dice.roll(3)).unwrap(),
            retries: u32::try_from(dice.roll(3)).unwrap(),
            timeout_secs: 60 + u32::try_from(dice.roll(300)).unwrap(),
        },
        progress: Progress::default(),
        in_the_way: 0,
        created_at,
    };
    app.jobs.runs.insert(id, run);
}

/// No schedule starts anything any more.
pub(super) fn suspend(world: &mut World, apps: &[AppId]) {
    for &id in apps {
        let app = world.app(id);
        let names = app.releases.values().flat_map(|it| it.cron.keys().cloned());
        for name in names.collect::<BTreeSet<_>>() {
            let mark = app.jobs.marks.entry(name).or_default();
            mark.suspended = true;
            mark.decided = None;
        }
    }
}

impl Runs {
    /// What must hold after every step.
    pub(super) fn check(&mut self, world: &World, steps: &[Step]) {
        for step in steps {
            let Action::Job(action) = &step.action else {
                continue;
            };
            match action {
                JobAction::Start(new) | JobAction::Miss(new, _) => {
                    assert!(new.scheduled_at <= world.now, "before its time");
                    let key = (step.app, new.job.clone(), new.scheduled_at);
                    assert!(self.begun.insert(key), "two runs for one time: {new:?}");
                }
                JobAction::End { run, end } => {
                    assert!(self.ended.insert(*run), "{run:?} ends twice: {end:?}");
                }
                _ => {}
            }
        }
        for app in world.snapshot.apps.values() {
            let mut active = 0;
            let mut open: BTreeMap<&str, u32> = BTreeMap::new();
            for run in app.jobs.runs.values() {
                self.check_run(run, world.now);
                active += run.progress.active.len();
                if let Some(job) = &run.job {
                    *open.entry(job.as_str()).or_default() += 1;
                }
                for it in run.progress.active.values() {
                    assert!(app.pods.contains_key(&it.pod), "a pod that nobody made");
                }
            }
            for exclusive in EXCLUSIVE {
                let open = open.get(exclusive).copied().unwrap_or_default();
                assert!(open <= 1, "{exclusive} beside itself");
            }
            let theirs = app.pods.values().filter(|pod| {
                pod.kind == PodKind::Job
                    && pod.intent == PodIntent::Wanted
                    && app.jobs.run_of(pod.id).is_none()
            });
            assert_eq!(theirs.count(), 0, "a pod of no run is left running");
            let wanted = |pod: &&fairway_scheduler::snapshot::Pod| {
                pod.kind == PodKind::Job && pod.intent == PodIntent::Wanted
            };
            let wanted = app.pods.values().filter(wanted).count();
            assert!(wanted <= active, "{wanted} pods for {active} places");
        }
    }

    fn check_run(&self, run: &Run, now: DateTime<Utc>) {
        let Progress {
            active,
            waiting,
            next,
            succeeded,
            ..
        } = &run.progress;
        assert!(!self.ended.contains(&run.id), "open after its end");
        assert!(active.len() <= run.shape.parallelism as usize, "{run:?}");
        let begun = active.len() + waiting.len() + *succeeded as usize;
        assert_eq!(begun, *next as usize, "each index is in one place: {run:?}");
        let tries = active
            .values()
            .map(|it| it.failures)
            .chain(waiting.values().map(|it| it.failures));
        assert!(tries.max().unwrap_or(0) <= run.shape.retries, "{run:?}");
        let until = run.created_at + Duration::seconds(run.shape.timeout_secs.into());
        assert!(now < until, "open after its time: {run:?}");
    }
}
