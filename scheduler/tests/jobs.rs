//! Jobs: what a schedule starts, what becomes of a run's pods, and what must hold whatever the clock,
//! the machines and the commands do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    ids::{AppId, PodId, ReleaseId, RunId},
    jobs::{Concurrency, Missed},
    names::JobName,
    schedule::Schedule,
};
use fairway_scheduler::{
    action::{Action, Step},
    jobs::{Active, Job, JobAction, Outcome, Progress, Run, RunKind, Shape},
    snapshot::{NodeState, Pod, PodIntent, PodKind, Release},
};
use proptest::prelude::*;

use crate::world::{World, process_type, size, status};

const ONE: Shape = Shape {
    completions: 1,
    parallelism: 1,
    retries: 0,
    timeout_secs: 3_600,
};

fn job(line: &str, zone: &str) -> Job {
    Job {
        schedule: Schedule::parse(line, zone).unwrap(),
        concurrency: Concurrency::Allow,
        missed: Missed::RunOnce,
        size: size("standard-1x"),
        shape: ONE,
    }
}

fn name(text: &str) -> JobName {
    text.parse().unwrap()
}

/// A world with one machine and an app whose current release has these jobs.
fn world(jobs: &[(&str, Job)]) -> (World, AppId) {
    let mut world = World::new();
    world.set_node("n1", 64 * 1024, 64_000);
    world.report_router("r1", 0, BTreeMap::new());
    let app = world.add_app("shop");
    release(&mut world, app, jobs);
    (world, app)
}

/// Makes a release with these jobs the current one, as the end of a deployment does.
fn release(world: &mut World, app: AppId, jobs: &[(&str, Job)]) {
    let id = ReleaseId::from_u128(world.id());
    let cron: BTreeMap<_, _> = jobs.iter().map(|(n, job)| (name(n), job.clone())).collect();
    let release = Release {
        id,
        version: 1,
        types: BTreeMap::new(),
        cron: Arc::new(cron),
        one_off_sidecars: Default::default(),
    };
    let app = world.app(app);
    app.releases.insert(id, release);
    app.current = Some(id);
}

/// Starts a run as a person does.
fn run(world: &mut World, app: AppId, shape: Shape) -> RunId {
    let (id, created_at) = (RunId::from_u128(world.id()), world.now);
    let app = world.app(app);
    let run = Run {
        id,
        job: Some(name("import")),
        kind: RunKind::Job,
        release: app.current.unwrap(),
        name: "import.4821".into(),
        number: 4821,
        size: size("standard-1x"),
        shape,
        progress: Progress::default(),
        in_the_way: 0,
        created_at,
    };
    app.jobs.runs.insert(id, run);
    id
}

fn told(steps: &[Step]) -> Vec<&JobAction> {
    let jobs = steps.iter().filter_map(|step| match &step.action {
        Action::Job(action) => Some(action),
        _ => None,
    });
    jobs.collect()
}

/// Starts and misses: `nightly 03:00 +2`, with how many times before it were missed.
fn begun(steps: &[Step]) -> Vec<String> {
    let line = |action: &&JobAction| {
        let (word, new) = match action {
            JobAction::Start(new) => ("", new),
            JobAction::Miss(new, _) => ("missed ", new),
            _ => return None,
        };
        let at = new.scheduled_at.format("%H:%M");
        Some(format!("{word}{} {at} +{}", new.job, new.missed))
    };
    told(steps).iter().filter_map(line).collect()
}

fn ends(steps: &[Step]) -> Vec<Outcome> {
    let end = |action: &&JobAction| match action {
        JobAction::End { end, .. } => Some(end.outcome),
        _ => None,
    };
    told(steps).iter().filter_map(end).collect()
}

fn pods_of(world: &mut World, app: AppId) -> Vec<Pod> {
    let pods = world.app(app).pods.values();
    let pods = pods.filter(|pod| pod.kind == PodKind::Job && pod.intent == PodIntent::Wanted);
    pods.cloned().collect()
}

fn report(world: &mut World, app: AppId, pod: PodId, word: &str) {
    let seen = status(pod, word, world.now);
    world.app(app).pods.get_mut(&pod).unwrap().status = Some(seen);
}

/// Agents have stopped what they were told to stop.
fn sweep(world: &mut World, app: AppId) {
    for pod in world.app(app).pods.values_mut() {
        pod.gone |= pod.intent == PodIntent::Stopping;
    }
}

fn wait(world: &mut World, secs: i64) -> Vec<Step> {
    world.now += Duration::seconds(secs);
    world.plan()
}

#[test]
fn a_scheduled_run_begins_at_its_time_and_its_pod_is_placed() {
    // The world begins at midnight.
    let (mut world, app) = world(&[("nightly", job("30 0 * * *", "UTC"))]);
    assert!(begun(&world.plan()).is_empty());
    assert_eq!(world.wake_at, Some(world.now + Duration::minutes(30)));
    assert_eq!(begun(&wait(&mut world, 1_800)), ["nightly 00:30 +0"]);
    let [pod] = pods_of(&mut world, app)[..].to_vec().try_into().unwrap();
    assert_eq!(pod.name, "nightly.10001");
    assert!(pod.node.is_some());
    report(&mut world, app, pod.id, "exit:0");
    assert_eq!(ends(&wait(&mut world, 5)), [Outcome::Succeeded]);
    sweep(&mut world, app);
    world.plan();
    assert!(world.app(app).pods.is_empty(), "nothing is left of it");
}

#[test]
fn times_that_were_missed_get_one_run_or_a_record() {
    let mut skipping = job("*/10 * * * *", "UTC");
    skipping.missed = Missed::Skip;
    let (mut world, _) = world(&[("catch-up", job("*/10 * * * *", "UTC")), ("skip", skipping)]);
    world.plan();
    let late = wait(&mut world, 3 * 3_600 + 125);
    assert_eq!(
        begun(&late),
        ["catch-up 03:00 +17", "missed skip 03:00 +17"]
    );
    // The next ones come when they should.
    assert_eq!(
        begun(&wait(&mut world, 475)),
        ["catch-up 03:10 +0", "skip 03:10 +0"]
    );
}

#[test]
fn years_of_silence_cost_one_run_and_little_time() {
    let (mut world, _) = world(&[("minutely", job("* * * * *", "UTC"))]);
    world.plan();
    let late = wait(&mut world, 3 * 365 * 86_400 + 30);
    assert_eq!(begun(&late), ["minutely 00:00 +999"]);
}

#[test]
fn what_one_run_means_for_the_next_is_said_by_the_job() {
    let with = |concurrency| Job {
        concurrency,
        ..job("*/10 * * * *", "UTC")
    };
    for (concurrency, begins, ended, open) in [
        (Concurrency::Allow, 1, vec![], 2),
        (Concurrency::Forbid, 0, vec![], 1),
        (Concurrency::Replace, 1, vec![Outcome::Replaced], 1),
    ] {
        let (mut world, app) = world(&[("tick", with(concurrency))]);
        world.plan();
        assert_eq!(begun(&wait(&mut world, 600)), ["tick 00:10 +0"]);
        let second = wait(&mut world, 600);
        assert_eq!(begun(&second).len(), begins, "{concurrency:?}");
        assert_eq!(ends(&second), ended, "{concurrency:?}");
        assert_eq!(world.app(app).jobs.runs.len(), open, "{concurrency:?}");
        assert_eq!(pods_of(&mut world, app).len(), open, "{concurrency:?}");
        let in_the_way = told(&second)
            .iter()
            .any(|action| matches!(action, JobAction::InTheWay { times: 1, .. }));
        assert_eq!(in_the_way, concurrency == Concurrency::Forbid);
    }
}

#[test]
fn the_schedule_is_that_of_the_current_release() {
    let (mut world, app) = world(&[("tick", job("*/10 * * * *", "UTC"))]);
    world.plan();
    // Another schedule counts from when it came live.
    wait(&mut world, 65);
    release(&mut world, app, &[("tick", job("1 * * * *", "UTC"))]);
    assert!(begun(&world.plan()).is_empty());
    assert!(begun(&wait(&mut world, 1_800)).is_empty());
    // A job that is gone for a day has missed nothing when it comes back.
    release(&mut world, app, &[]);
    world.plan();
    wait(&mut world, 86_400);
    release(&mut world, app, &[("tick", job("*/10 * * * *", "UTC"))]);
    assert!(begun(&world.plan()).is_empty());
    assert_eq!(begun(&wait(&mut world, 600)).len(), 1);
    // Suspended, it does not run, and has missed nothing either.
    let suspend = |world: &mut World, suspended| {
        let mark = world.app(app).jobs.marks.get_mut("tick").unwrap();
        mark.suspended = suspended;
        mark.decided = None;
    };
    suspend(&mut world, true);
    assert!(begun(&wait(&mut world, 7_200)).is_empty());
    suspend(&mut world, false);
    assert!(begun(&world.plan()).is_empty());
    assert_eq!(begun(&wait(&mut world, 600)).len(), 1);
}

#[test]
fn a_pod_that_fails_is_tried_again_and_later_each_time() {
    let (mut world, app) = world(&[]);
    let shape = Shape { retries: 2, ..ONE };
    run(&mut world, app, shape);
    world.plan();
    for (code, pause) in [("exit:1", 2), ("exit:2", 4)] {
        let pod = pods_of(&mut world, app).remove(0);
        report(&mut world, app, pod.id, code);
        world.plan();
        assert!(pods_of(&mut world, app).is_empty());
        assert_eq!(world.wake_at, Some(world.now + Duration::seconds(pause)));
        wait(&mut world, pause);
    }
    let pod = pods_of(&mut world, app).remove(0);
    report(&mut world, app, pod.id, "exit:3");
    let steps = world.plan();
    let last = told(&steps).pop().cloned();
    let Some(JobAction::End { end, .. }) = last else {
        panic!("{steps:#?}")
    };
    assert_eq!((end.outcome, end.exit_code), (Outcome::Failed, Some(3)));
    assert_eq!(end.reason.unwrap(), "exited with code 3 (try 3)");
}

#[test]
fn a_batch_keeps_to_its_parallelism_and_ends_when_all_are_done() {
    let (mut world, app) = world(&[]);
    let shape = Shape {
        completions: 7,
        parallelism: 3,
        ..ONE
    };
    run(&mut world, app, shape);
    world.plan();
    let mut names = BTreeSet::new();
    let mut outcomes = vec![];
    for _ in 0..7 {
        let pods = pods_of(&mut world, app);
        assert!((1..=3).contains(&pods.len()));
        names.extend(pods.iter().map(|pod| pod.name.clone()));
        report(&mut world, app, pods[0].id, "exit:0");
        outcomes.extend(ends(&world.plan()));
    }
    assert_eq!(outcomes, [Outcome::Succeeded]);
    let want: BTreeSet<_> = (0..7).map(|index| format!("import.4821.{index}")).collect();
    assert_eq!(names, want);
}

#[test]
fn one_failure_too_many_ends_a_batch_and_stops_its_pods() {
    let (mut world, app) = world(&[]);
    let shape = Shape {
        completions: 4,
        parallelism: 4,
        ..ONE
    };
    run(&mut world, app, shape);
    world.plan();
    let pods = pods_of(&mut world, app);
    report(&mut world, app, pods[2].id, "exit:9");
    assert_eq!(ends(&world.plan()), [Outcome::Failed]);
    assert!(pods_of(&mut world, app).is_empty());
}

#[test]
fn pods_of_a_lost_machine_come_again_and_that_is_no_failure() {
    let (mut world, app) = world(&[]);
    world.set_node("n2", 64 * 1024, 64_000);
    world.set_node("n3", 64 * 1024, 64_000);
    run(&mut world, app, ONE);
    world.plan();
    let pod = pods_of(&mut world, app).remove(0);
    report(&mut world, app, pod.id, "ready");
    let machine = pod.node.unwrap();
    world.set_node_state(machine.as_str(), NodeState::Lost);
    world.plan();
    let again = pods_of(&mut world, app).remove(0);
    assert_ne!(again.id, pod.id);
    assert!(again.node.is_some_and(|other| other != machine));
    report(&mut world, app, again.id, "exit:0");
    assert_eq!(ends(&world.plan()), [Outcome::Succeeded]);
}

#[test]
fn a_run_that_takes_too_long_ends() {
    let (mut world, app) = world(&[]);
    run(&mut world, app, ONE);
    world.plan();
    assert!(ends(&wait(&mut world, 3_599)).is_empty());
    assert_eq!(ends(&wait(&mut world, 1)), [Outcome::TimedOut]);
    assert!(pods_of(&mut world, app).is_empty());
}

#[test]
fn a_one_off_pod_leaves_how_it_ended() {
    for (word, outcome, code) in [
        ("exit:0", Outcome::Succeeded, Some(0)),
        ("exit:7", Outcome::Failed, Some(7)),
    ] {
        let (mut world, app) = world(&[]);
        let id = run(&mut world, app, ONE);
        let (pod, now) = (world.pod_id(), world.now);
        let shop = world.app(app);
        shop.pods.insert(
            pod,
            Pod {
                id: pod,
                release: shop.current.unwrap(),
                kind: PodKind::Run,
                process_type: process_type("one-off"),
                ordinal: 4821,
                name: "run.4821".into(),
                size: size("standard-1x"),
                sidecars: Default::default(),
                node: None,
                unplaced: None,
                intent: PodIntent::Wanted,
                stop_at: None,
                status: None,
                gone: false,
                created_at: now,
            },
        );
        let one_off = shop.jobs.runs.get_mut(&id).unwrap();
        one_off.kind = RunKind::OneOff;
        one_off.progress.next = 1;
        one_off
            .progress
            .active
            .insert(0, Active { pod, failures: 0 });
        assert!(ends(&world.plan()).is_empty());
        report(&mut world, app, pod, word);
        let steps = world.plan();
        let Some(JobAction::End { end, .. }) = told(&steps).pop() else {
            panic!("{steps:#?}")
        };
        assert_eq!((end.outcome, end.exit_code), (outcome, code));
    }
}

/// What may happen between two plans.
#[derive(Debug, Clone)]
enum Happening {
    Wait(i64),
    /// The clock is set, forward or back.
    Jump(i64),
    /// A pod runs, or ends.
    Says(u8, &'static str),
    Machine(u8, NodeState),
    Suspend(bool),
    /// The other of two releases.
    Release(bool),
    /// The controller dies before its plan is written.
    Crash,
    Sweep,
    Batch(Shape),
}

fn happening() -> impl Strategy<Value = Happening> {
    let state = prop_oneof![
        Just(NodeState::Ready),
        Just(NodeState::Lost),
        Just(NodeState::Draining)
    ];
    let word = prop_oneof![
        Just("starting"),
        Just("ready"),
        Just("exit:0"),
        Just("exit:0"),
        Just("exit:1"),
        Just("refused:x")
    ];
    let shape = (1u32..6, 1u32..4, 0u32..3, 1u32..4_000).prop_map(
        |(completions, parallelism, retries, timeout_secs)| Shape {
            completions,
            parallelism,
            retries,
            timeout_secs,
        },
    );
    prop_oneof![
        4 => (1i64..900).prop_map(Happening::Wait),
        1 => (-2 * 3_600i64..86_400).prop_map(Happening::Jump),
        6 => (any::<u8>(), word).prop_map(|(pod, word)| Happening::Says(pod, word)),
        1 => (0u8..3, state).prop_map(|(node, state)| Happening::Machine(node, state)),
        1 => any::<bool>().prop_map(Happening::Suspend),
        1 => any::<bool>().prop_map(Happening::Release),
        1 => Just(Happening::Crash),
        3 => Just(Happening::Sweep),
        1 => shape.prop_map(Happening::Batch),
    ]
}

/// What was seen so far, for what must hold over time.
#[derive(Default)]
struct Seen {
    begun: BTreeSet<(JobName, DateTime<Utc>)>,
}

fn happen(world: &mut World, app: AppId, jobs: &[Vec<(&str, Job)>; 2], it: &Happening) {
    match it {
        Happening::Wait(secs) | Happening::Jump(secs) => world.now += Duration::seconds(*secs),
        Happening::Says(which, word) => {
            let pods = pods_of(world, app);
            if let Some(pod) = pods.get(usize::from(*which) % pods.len().max(1))
                && pod.node.is_some()
                && !pod.has_exited()
            {
                report(world, app, pod.id, word);
            }
        }
        Happening::Machine(which, state) => world.set_node_state(&format!("n{which}"), *state),
        Happening::Suspend(suspended) => {
            if let Some(mark) = world.app(app).jobs.marks.get_mut("tick") {
                mark.suspended = *suspended;
                mark.decided = None;
            }
        }
        Happening::Release(which) => release(world, app, &jobs[usize::from(*which)]),
        Happening::Crash => {
            let before = world.snapshot.clone();
            world.plan();
            world.snapshot = before;
        }
        Happening::Sweep => sweep(world, app),
        Happening::Batch(shape) => drop(run(world, app, *shape)),
    }
}

fn check(
    world: &mut World,
    app: AppId,
    steps: &[Step],
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    let now = world.now;
    let mut started: BTreeMap<JobName, u32> = BTreeMap::new();
    for action in told(steps) {
        if let JobAction::Start(new) | JobAction::Miss(new, _) = action {
            prop_assert!(new.scheduled_at <= now, "before its time");
            let key = (new.job.clone(), new.scheduled_at);
            prop_assert!(
                seen.begun.insert(key),
                "{} twice for {}",
                new.job,
                new.scheduled_at
            );
            *started.entry(new.job.clone()).or_default() += 1;
        }
    }
    prop_assert!(
        started.values().all(|&count| count == 1),
        "two runs of a job at once"
    );
    let pods = pods_of(world, app);
    let shop = world.app(app);
    let mut counted = 0;
    for run in shop.jobs.runs.values() {
        let Progress {
            active,
            waiting,
            next,
            succeeded,
            ..
        } = &run.progress;
        counted += active.len();
        prop_assert!(active.len() <= run.shape.parallelism as usize);
        let begun = active.len() + waiting.len() + *succeeded as usize;
        prop_assert_eq!(begun, *next as usize, "each index is in one place");
        prop_assert!(*next <= run.shape.completions && *succeeded < run.shape.completions);
        let tries = active
            .values()
            .map(|it| it.failures)
            .chain(waiting.values().map(|it| it.failures));
        prop_assert!(tries.max().unwrap_or(0) <= run.shape.retries);
        let until = run.created_at + Duration::seconds(run.shape.timeout_secs.into());
        prop_assert!(now < until, "open after its time");
        for it in active.values() {
            prop_assert!(
                pods.iter().any(|pod| pod.id == it.pod),
                "a pod that nobody made"
            );
        }
    }
    prop_assert_eq!(
        counted,
        pods.len(),
        "every pod is of one run, and of one index"
    );
    for exclusive in ["tick", "replace"] {
        let runs = shop.jobs.runs.values();
        let open = runs.filter(|run| run.job.as_ref().is_some_and(|it| it.as_str() == exclusive));
        prop_assert!(open.count() <= 1, "{exclusive} beside itself");
    }
    Ok(())
}

fn two_releases() -> [Vec<(&'static str, Job)>; 2] {
    let with = |line, zone, concurrency, missed| Job {
        concurrency,
        missed,
        shape: Shape {
            retries: 1,
            timeout_secs: 5_000,
            ..ONE
        },
        ..job(line, zone)
    };
    let tick = with(
        "*/10 * * * *",
        "Europe/Berlin",
        Concurrency::Forbid,
        Missed::RunOnce,
    );
    let replace = with(
        "5 * * * *",
        "America/New_York",
        Concurrency::Replace,
        Missed::Skip,
    );
    let allow = with(
        "30 2 * * *",
        "Australia/Lord_Howe",
        Concurrency::Allow,
        Missed::RunOnce,
    );
    let other = with(
        "*/20 * * * *",
        "Asia/Kolkata",
        Concurrency::Forbid,
        Missed::Skip,
    );
    [
        vec![
            ("tick", tick),
            ("replace", replace.clone()),
            ("allow", allow),
        ],
        vec![("tick", other), ("replace", replace)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever clocks, machines, commands and crashes do: never two runs of one scheduled time,
    /// never more pods than allowed, every run ends. That a plan is a fixpoint, and the same with a
    /// memory as without, the world checks for each.
    #[test]
    fn runs_keep_their_promises(happenings in prop::collection::vec(happening(), 1..80)) {
        let jobs = two_releases();
        let (mut world, app) = world(&jobs[0]);
        world.set_node("n0", 2_048, 4_000);
        world.set_node("n2", 64 * 1024, 64_000);
        let mut seen = Seen::default();
        for it in happenings {
            happen(&mut world, app, &jobs, &it);
            world.report_router("r1", 0, BTreeMap::new());
            let steps = world.plan();
            check(&mut world, app, &steps, &mut seen)?;
        }
    }

    /// While the clock goes forward nothing is lost: each scheduled time has its run, or was counted
    /// by the one that came late, stood in the way, or records that it was missed.
    #[test]
    fn every_scheduled_time_is_accounted_for(
        pauses in prop::collection::vec(1i64..60_000, 1..20),
        ends in prop::collection::vec(any::<bool>(), 20),
        concurrency in prop_oneof![Just(Concurrency::Forbid), Just(Concurrency::Replace)],
        missed in prop_oneof![Just(Missed::RunOnce), Just(Missed::Skip)],
        from in 0i64..365 * 86_400,
    ) {
        let tick = Job { concurrency, missed, shape: Shape { timeout_secs: 86_400, ..ONE }, ..job("*/10 1-23 * * *", "Europe/Berlin") };
        let schedule = tick.schedule.clone();
        let (mut world, app) = world(&[("tick", tick)]);
        world.now += Duration::seconds(from);
        let mut at = world.now;
        let mut counted = 0;
        world.plan();
        for (pause, end) in pauses.into_iter().zip(ends) {
            let steps = wait(&mut world, pause);
            for action in told(&steps) {
                counted += match action {
                    JobAction::Start(new) | JobAction::Miss(new, _) => 1 + new.missed,
                    JobAction::InTheWay { times, .. } => *times,
                    _ => 0,
                };
            }
            for pod in pods_of(&mut world, app) {
                if end && !pod.has_exited() && pod.node.is_some() {
                    report(&mut world, app, pod.id, "exit:0");
                }
            }
            world.plan();
            sweep(&mut world, app);
        }
        let mut want = 0;
        while let Some(next) = schedule.next_after(at).filter(|next| *next <= world.now) {
            want += 1;
            at = next;
        }
        prop_assert_eq!(counted, want);
    }
}
