use fairway_api::{ids::AttachId, pods::Attach};
use proptest::prelude::*;

use super::{ending::USELESS_GRACE_SECS_MAX, *};
use crate::testing::spec;

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(secs)
}

fn running(container: &str, started_at: i64) -> Running {
    Running {
        container: container.into(),
        address: None,
        sandbox: None,
        started_at: at(started_at),
    }
}

fn exit(code: i64, when: i64) -> Exit {
    Exit {
        code,
        out_of_memory: false,
        stopped_because: None,
        at: at(when),
        last_lines: vec![],
    }
}

fn failure(why: &str) -> CheckFailure {
    CheckFailure {
        kind: None,
        check: "GET /".into(),
        why: why.into(),
        response: None,
    }
}

fn pod(change: impl FnOnce(&mut PodSpec)) -> Pod {
    let mut spec = spec(1);
    change(&mut spec);
    let record = Record::new(spec.id);
    Pod::new(Arc::new(spec), record)
}

/// Goes through steps and returns what the last one said to do, without log lines.
fn after(pod: &mut Pod, steps: Vec<(i64, Seen)>) -> Vec<Do> {
    let mut todo = vec![];
    for (secs, seen) in steps {
        todo = pod.on(seen, at(secs));
    }
    todo.retain(|thing| !matches!(thing, Do::Say(_)));
    todo
}

fn phase(pod: &Pod) -> &PodPhase {
    &pod.record().status.phase
}

fn wake(secs: u64, timer: Timer) -> Do {
    Do::Wake {
        after: Duration::from_secs(secs),
        timer,
    }
}

fn bury(container: &str) -> Do {
    Do::Bury {
        container: container.into(),
    }
}

fn started() -> Vec<(i64, Seen)> {
    vec![(0, Seen::Wanted), (1, Seen::Started(running("c1", 1)))]
}

fn up() -> Vec<(i64, Seen)> {
    [started(), vec![(2, Seen::StartupPassed)]].concat()
}

#[test]
fn a_pod_becomes_ready_when_its_startup_check_passes() {
    let mut pod = pod(|_| {});
    assert_eq!(
        after(&mut pod, vec![(0, Seen::Wanted)]),
        [Do::Start { run: 1 }]
    );
    let todo = after(&mut pod, vec![(1, Seen::Started(running("c1", 1)))]);
    assert_eq!(
        todo,
        [
            Do::Follow {
                container: "c1".into()
            },
            Do::CheckStartup
        ]
    );
    assert_eq!(phase(&pod), &PodPhase::Starting);
    after(
        &mut pod,
        vec![(2, Seen::StartupFailing(failure("refused")))],
    );
    assert!(pod.record().status.check_failure.is_some());
    assert_eq!(
        after(&mut pod, vec![(3, Seen::StartupPassed)]),
        [Do::CheckPeriodically]
    );
    assert!(pod.record().status.is_ready());
    assert_eq!(pod.record().status.check_failure, None);
}

#[test]
fn a_crash_is_recorded_and_started_again_with_a_growing_pause() {
    let mut pod = pod(|_| {});
    after(&mut pod, started());
    let todo = after(&mut pod, vec![(2, Seen::Ended(exit(1, 2)))]);
    assert_eq!(todo, [Do::NoChecks, wake(1, Timer::Retry)]);
    assert_eq!(phase(&pod), &PodPhase::BackOff { until: at(3) });
    assert_eq!(pod.record().status.last_exit, Some(exit(1, 2)));
    let todo = after(&mut pod, vec![(3, Seen::Woke(Timer::Retry))]);
    assert_eq!(todo, [bury("c1"), Do::Start { run: 2 }]);
    after(&mut pod, vec![(4, Seen::Started(running("c2", 4)))]);
    assert_eq!(pod.record().status.restarts, 1);
    let todo = after(&mut pod, vec![(5, Seen::Ended(exit(1, 5)))]);
    assert!(todo.contains(&wake(2, Timer::Retry)), "{todo:?}");
    // A long healthy run makes the next crash a first one.
    after(
        &mut pod,
        vec![
            (7, Seen::Woke(Timer::Retry)),
            (8, Seen::Started(running("c3", 8))),
        ],
    );
    let todo = after(&mut pod, vec![(700, Seen::Ended(exit(1, 700)))]);
    assert!(todo.contains(&wake(1, Timer::Retry)), "{todo:?}");
}

#[test]
fn a_one_off_pod_runs_once() {
    let mut pod = pod(|spec| {
        spec.restart = RestartPolicy::Never;
        spec.checks = None;
        spec.time_to_live_secs = Some(60);
    });
    let todo = after(&mut pod, started());
    assert!(todo.contains(&wake(60, Timer::TimeToLive)), "{todo:?}");
    assert!(pod.record().status.is_ready(), "it is up when it runs");
    after(&mut pod, vec![(2, Seen::Ended(exit(3, 2)))]);
    assert_eq!(phase(&pod), &PodPhase::Exited);
    // The agent is restarted; the container was removed by hand.
    let mut pod = Pod::new(pod.spec().clone(), pod.record().clone());
    assert_eq!(after(&mut pod, vec![(9, Seen::Wanted)]), []);
    assert_eq!(phase(&pod), &PodPhase::Exited);
}

#[test]
fn a_one_off_pod_whose_container_vanished_is_not_run_again() {
    let one_off = |spec: &mut PodSpec| spec.restart = RestartPolicy::Never;
    let mut first = pod(one_off);
    after(&mut first, started());
    let mut pod = Pod::new(first.spec().clone(), first.record().clone());
    assert_eq!(after(&mut pod, vec![(9, Seen::Wanted)]), []);
    assert_eq!(phase(&pod), &PodPhase::Exited);
    assert_eq!(
        pod.record().status.last_exit.as_ref().unwrap().code,
        SIGKILL_CODE
    );
}

#[test]
fn time_to_live_stops_a_pod_for_good() {
    let mut pod = pod(|spec| spec.checks = None);
    let todo = after(
        &mut pod,
        [started(), vec![(60, Seen::Woke(Timer::TimeToLive))]].concat(),
    );
    assert_eq!(
        todo,
        [
            Do::NoChecks,
            Do::Signal("SIGINT".into()),
            wake(20, Timer::Kill)
        ]
    );
    after(&mut pod, vec![(61, Seen::Ended(exit(130, 61)))]);
    assert_eq!(phase(&pod), &PodPhase::Exited);
    let exit = pod.record().status.last_exit.clone().unwrap();
    assert_eq!(exit.to_string(), "was stopped: time to live reached");
}

#[test]
fn an_unwanted_pod_is_asked_then_killed_then_buried() {
    let mut pod = pod(|_| {});
    let todo = after(&mut pod, [up(), vec![(3, Seen::Unwanted)]].concat());
    assert_eq!(
        todo,
        [
            Do::NoChecks,
            Do::Signal("SIGINT".into()),
            wake(20, Timer::Kill)
        ]
    );
    assert_eq!(phase(&pod), &PodPhase::Stopping);
    let todo = after(&mut pod, vec![(23, Seen::Woke(Timer::Kill))]);
    assert_eq!(
        todo,
        [
            Do::Signal("SIGKILL".into()),
            wake(KILL_AGAIN_SECS, Timer::Kill)
        ]
    );
    let todo = after(&mut pod, vec![(24, Seen::Ended(exit(137, 24)))]);
    assert_eq!(todo, [Do::NoChecks, bury("c1"), Do::Gone]);
}

#[test]
fn a_pod_that_becomes_unwanted_while_it_starts_is_stopped_when_it_has() {
    let mut pod = pod(|_| {});
    let todo = after(&mut pod, vec![(0, Seen::Wanted), (1, Seen::Unwanted)]);
    assert_eq!(todo, [Do::CancelStart]);
    let todo = after(&mut pod, vec![(2, Seen::Started(running("c1", 2)))]);
    assert!(todo.contains(&Do::Signal("SIGINT".into())), "{todo:?}");
    let todo = after(&mut pod, vec![(3, Seen::Ended(exit(0, 3)))]);
    assert_eq!(todo.last(), Some(&Do::Gone));

    let mut pod = self::pod(|_| {});
    let steps = vec![
        (0, Seen::Wanted),
        (1, Seen::Unwanted),
        (
            2,
            Seen::StartFailed {
                reason: "it is not wanted any more".into(),
            },
        ),
    ];
    assert_eq!(after(&mut pod, steps), [Do::Gone]);
}

#[test]
fn a_pod_that_never_became_ready_stays_stopped_with_its_failure() {
    let mut pod = pod(|_| {});
    let missed = Seen::StartupMissed(failure("refused"));
    let todo = after(&mut pod, [started(), vec![(61, missed)]].concat());
    assert!(
        todo.contains(&wake(USELESS_GRACE_SECS_MAX.into(), Timer::Kill)),
        "{todo:?}"
    );
    assert_eq!(
        after(&mut pod, vec![(62, Seen::Ended(exit(143, 62)))]),
        [Do::NoChecks]
    );
    assert_eq!(phase(&pod), &PodPhase::NeverReady);
    let refused = failure("refused").of(CheckKind::Startup);
    assert_eq!(pod.record().status.check_failure, Some(refused));
    let exit = pod.record().status.last_exit.clone().unwrap();
    assert_eq!(exit.stopped_because.as_deref(), Some("check failed"));
    assert_eq!(
        after(&mut pod, vec![(70, Seen::Unwanted)]),
        [bury("c1"), Do::Gone]
    );
}

#[test]
fn a_pod_that_was_up_before_is_tried_again_when_it_starts_badly() {
    let mut pod = pod(|_| {});
    after(&mut pod, up());
    let steps = vec![
        (3, Seen::Ended(exit(1, 3))),
        (4, Seen::Woke(Timer::Retry)),
        (5, Seen::Started(running("c2", 5))),
        (65, Seen::StartupMissed(failure("refused"))),
        (66, Seen::Ended(exit(143, 66))),
    ];
    after(&mut pod, steps);
    assert_eq!(phase(&pod), &PodPhase::BackOff { until: at(68) });
}

#[test]
fn readiness_only_takes_requests_away_and_liveness_restarts() {
    let mut pod = pod(|_| {});
    let failed = Seen::ReadinessFailed(failure("answered 500"));
    assert_eq!(after(&mut pod, [up(), vec![(3, failed)]].concat()), []);
    assert_eq!(phase(&pod), &PodPhase::Running { ready: false });
    assert_eq!(
        pod.record().status.check_failure,
        Some(failure("answered 500").of(CheckKind::Readiness))
    );
    after(&mut pod, vec![(4, Seen::ReadinessPassed)]);
    assert!(pod.record().status.is_ready());
    let todo = after(
        &mut pod,
        vec![(5, Seen::LivenessFailed(failure("no answer")))],
    );
    assert!(todo.contains(&Do::Signal("SIGINT".into())), "{todo:?}");
    after(&mut pod, vec![(6, Seen::Ended(exit(130, 6)))]);
    assert_eq!(phase(&pod), &PodPhase::BackOff { until: at(7) });
}

#[test]
fn memory_is_named_as_the_reason_once_and_only_if_it_is() {
    let table = [
        // Code, note of the engine, event before; told as out of memory.
        (137, true, false, true),
        (137, false, true, true),
        (1, true, true, true),
        (0, true, true, false),
        (137, false, false, false),
    ];
    for (code, noted, event, wanted) in table {
        let mut pod = pod(|_| {});
        after(&mut pod, up());
        let mut said = vec![];
        if event {
            said.extend(pod.on(Seen::OutOfMemory, at(3)));
        }
        let exit = Exit {
            out_of_memory: noted,
            ..exit(code, 3)
        };
        said.extend(pod.on(Seen::Ended(exit), at(3)));
        let last = pod.record().status.last_exit.clone().unwrap();
        assert_eq!(last.out_of_memory, wanted, "{code} {noted} {event}");
        let line = Do::Say("Error R15: ran out of memory (limit 64 MB)".into());
        assert_eq!(
            said.iter().filter(|&d| *d == line).count(),
            usize::from(wanted || event)
        );
    }
}

#[test]
fn a_pod_over_its_budget_is_buried_at_once_and_tried_again_later() {
    let (written, budget) = (5 << 30, 4 << 30);
    let over = || Seen::Disk(DiskOrder::OverBudget { written, budget });
    let mut pod = pod(|_| {});
    let todo = after(&mut pod, [up(), vec![(3, over())]].concat());
    assert!(todo.contains(&Do::Signal("SIGINT".into())), "{todo:?}");
    assert_eq!(after(&mut pod, vec![(4, over())]), [], "it is told once");
    let todo = after(&mut pod, vec![(5, Seen::Ended(exit(130, 5)))]);
    assert_eq!(todo, [Do::NoChecks, bury("c1"), wake(1, Timer::Retry)]);
    assert_eq!(phase(&pod), &PodPhase::BackOff { until: at(6) });
    let why = pod.record().status.last_exit.clone().unwrap().to_string();
    assert!(why.contains("it wrote 5.0 GiB of files of its own, and its size allows 4.0 GiB"));
    let todo = after(&mut pod, vec![(6, Seen::Woke(Timer::Retry))]);
    assert_eq!(todo, [Do::Start { run: 2 }]);
}

#[test]
fn an_evicted_pod_stays_away_also_after_the_agent_was_restarted() {
    let mut pod = pod(|spec| spec.stop.grace_secs = 3_600);
    let evict = Seen::Disk(DiskOrder::Evict { written: 1 << 30 });
    let todo = after(&mut pod, [up(), vec![(3, evict)]].concat());
    assert!(todo.contains(&wake(30, Timer::Kill)), "{todo:?}");
    let todo = after(&mut pod, vec![(5, Seen::Ended(exit(130, 5)))]);
    assert_eq!(todo, [Do::NoChecks, bury("c1")]);
    assert_eq!(phase(&pod), &PodPhase::Exited);
    assert!(
        pod.record()
            .status
            .last_exit
            .as_ref()
            .unwrap()
            .is_eviction()
    );
    let mut pod = Pod::new(pod.spec().clone(), pod.record().clone());
    assert_eq!(after(&mut pod, vec![(9, Seen::Wanted)]), []);
    assert_eq!(after(&mut pod, vec![(9, Seen::Unwanted)]), [Do::Gone]);
}

#[test]
fn a_short_disk_takes_dead_containers_and_nothing_that_runs() {
    let tidy = || Seen::Disk(DiskOrder::Tidy);
    let mut pod = pod(|_| {});
    assert_eq!(after(&mut pod, [up(), vec![(3, tidy())]].concat()), []);
    after(&mut pod, vec![(4, Seen::Ended(exit(1, 4)))]);
    assert_eq!(after(&mut pod, vec![(4, tidy())]), [bury("c1")]);
    assert_eq!(after(&mut pod, vec![(4, tidy())]), []);
    let todo = after(&mut pod, vec![(5, Seen::Woke(Timer::Retry))]);
    assert_eq!(todo, [Do::Start { run: 2 }]);
    assert_eq!(after(&mut pod, vec![(5, tidy())]), []);
}

#[test]
fn a_refused_start_is_retried_and_at_once_when_the_engine_is_back() {
    let mut pod = pod(|_| {});
    let failed = || Seen::StartFailed {
        reason: "no engine".into(),
    };
    let todo = after(&mut pod, vec![(0, Seen::Wanted), (1, failed())]);
    assert_eq!(todo, [wake(1, Timer::Retry)]);
    assert_eq!(
        phase(&pod),
        &PodPhase::Refused {
            reason: "no engine".into()
        }
    );
    assert_eq!(
        after(&mut pod, vec![(2, Seen::EngineBack)]),
        [Do::Start { run: 1 }]
    );
    assert_eq!(
        phase(&pod),
        &PodPhase::Refused {
            reason: "no engine".into()
        }
    );
    assert_eq!(
        after(&mut pod, vec![(2, Seen::Woke(Timer::Retry))]),
        [],
        "one start at a time"
    );
    assert_eq!(
        after(&mut pod, vec![(3, failed())]),
        [wake(2, Timer::Retry)]
    );
}

#[test]
fn an_attached_pod_that_cannot_start_is_not_tried_again() {
    let attach = |spec: &mut PodSpec| {
        spec.attach = Some(Attach {
            id: AttachId::from_u128(1),
            tty: true,
        });
        (spec.restart, spec.checks) = (RestartPolicy::Never, None);
    };
    let mut pod = pod(attach);
    let failed = Seen::StartFailed {
        reason: "no".into(),
    };
    assert_eq!(after(&mut pod, vec![(0, Seen::Wanted), (1, failed)]), []);
    assert_eq!(after(&mut pod, vec![(2, Seen::EngineBack)]), []);

    let mut pod = self::pod(attach);
    let todo = after(
        &mut pod,
        [started(), vec![(3, Seen::TerminalGone)]].concat(),
    );
    assert!(todo.contains(&Do::Signal("SIGHUP".into())), "{todo:?}");
    after(&mut pod, vec![(4, Seen::Ended(exit(129, 4)))]);
    assert_eq!(phase(&pod), &PodPhase::Exited);
}

#[test]
fn an_adopted_pod_stays_ready() {
    let mut before = pod(|_| {});
    after(&mut before, up());
    let mut pod = Pod::new(before.spec().clone(), before.record().clone());
    let todo = after(&mut pod, vec![(9, Seen::Adopted(running("c1", 1)))]);
    assert_eq!(
        todo,
        [
            Do::Follow {
                container: "c1".into()
            },
            Do::CheckPeriodically
        ]
    );
    assert_eq!(pod.record(), before.record());
    // Without memory of it, it has to show again that it is up.
    let mut pod = Pod::new(before.spec().clone(), Record::new(before.spec().id));
    after(&mut pod, vec![(9, Seen::Adopted(running("c1", 1)))]);
    assert_eq!(phase(&pod), &PodPhase::Starting);
}

#[test]
fn a_pod_that_died_while_the_agent_was_away_goes_through_back_off() {
    let mut before = pod(|_| {});
    after(&mut before, up());
    let mut pod = Pod::new(before.spec().clone(), before.record().clone());
    let dead = Seen::AdoptedDead {
        container: "c1".into(),
        exit: Some(exit(1, 5)),
    };
    let todo = after(&mut pod, vec![(9, dead)]);
    assert_eq!(
        todo,
        [
            Do::Follow {
                container: "c1".into()
            },
            Do::NoChecks,
            wake(1, Timer::Retry)
        ]
    );
    // The agent is restarted once more, within the pause.
    let mut pod = Pod::new(pod.spec().clone(), pod.record().clone());
    let dead = Seen::AdoptedDead {
        container: "c1".into(),
        exit: None,
    };
    let todo = after(&mut pod, vec![(9, dead)]);
    assert_eq!(
        todo,
        [
            Do::Follow {
                container: "c1".into()
            },
            wake(1, Timer::Retry)
        ]
    );
}

/// Anything that may be seen, in any order.
fn any_seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        Just(Seen::StartupPassed),
        Just(Seen::StartupFailing(failure("a"))),
        Just(Seen::StartupMissed(failure("b"))),
        Just(Seen::ReadinessPassed),
        Just(Seen::ReadinessFailed(failure("c"))),
        Just(Seen::LivenessFailed(failure("d"))),
        Just(Seen::OutOfMemory),
        Just(Seen::TerminalGone),
        Just(Seen::EngineBack),
        Just(Seen::Woke(Timer::Retry)),
        Just(Seen::Woke(Timer::Kill)),
        Just(Seen::Woke(Timer::TimeToLive)),
        Just(Seen::Unwanted),
        (0_i64..140).prop_map(|code| Seen::Ended(exit(code, 50))),
        Just(Seen::StartFailed { reason: "x".into() }),
        Just(Seen::Started(running("c", 10))),
    ]
}

proptest! {
    /// Plays an engine that answers every start, and whatever else may happen in any order.
    #[test]
    fn whatever_happens_a_pod_can_always_be_got_rid_of(
        never in any::<bool>(),
        checks in any::<bool>(),
        events in proptest::collection::vec(any_seen(), 0..40),
    ) {
        let mut pod = pod(|spec| {
            if never { spec.restart = RestartPolicy::Never; }
            if !checks { spec.checks = None; }
        });
        // The engine: is a start under way, does a container run?
        let (mut starting, mut alive) = (false, false);
        let mut gone = false;
        let drain = [Seen::Unwanted, Seen::StartFailed { reason: "x".into() }, Seen::Ended(exit(0, 99))];
        for seen in [Seen::Wanted].into_iter().chain(events).chain(drain) {
            let possible = match &seen {
                Seen::Started(_) | Seen::StartFailed { .. } => starting,
                Seen::Ended(_) => alive,
                _ => true,
            };
            if !possible { continue; }
            match &seen {
                Seen::Started(_) => (starting, alive) = (false, true),
                Seen::StartFailed { .. } => starting = false,
                Seen::Ended(_) => alive = false,
                _ => {}
            }
            for thing in pod.on(seen, at(60)) {
                match thing {
                    Do::Start { .. } => {
                        prop_assert!(!starting && !alive, "two containers of one pod");
                        starting = true;
                    }
                    Do::Signal(_) => prop_assert!(alive, "a signal to nobody"),
                    Do::Bury { .. } => prop_assert!(!alive, "a running container was buried"),
                    Do::Gone => gone = true,
                    _ => {}
                }
            }
            let ready = pod.record().status.is_ready();
            prop_assert!(!ready || alive, "ready without a container");
            if gone { break; }
        }
        prop_assert!(gone && !alive && !starting);
    }
}

#[test]
fn a_pod_whose_network_was_taken_away_starts_again_in_another() {
    let mut pod = pod(|_| {});
    let mut joined = running("c1", 1);
    joined.sandbox = Some("s1".into());
    after(
        &mut pod,
        vec![(0, Seen::Wanted), (1, Seen::Started(joined))],
    );
    assert_eq!(pod.record().sandbox.as_deref(), Some("s1"));
    let todo = after(&mut pod, vec![(2, Seen::StartupPassed), (3, Seen::CutOff)]);
    // Nobody can reach it, so there is little to finish.
    assert!(todo.contains(&wake(USELESS_GRACE_SECS_MAX.into(), Timer::Kill)));
    assert_eq!(after(&mut pod, vec![(3, Seen::CutOff)]), []);
    after(&mut pod, vec![(4, Seen::Ended(exit(143, 4)))]);
    let why = pod
        .record()
        .status
        .last_exit
        .clone()
        .unwrap()
        .stopped_because;
    assert_eq!(why.as_deref(), Some("its network was taken away"));
    let todo = after(
        &mut pod,
        vec![
            (5, Seen::Woke(Timer::Retry)),
            (6, Seen::Started(running("c2", 6))),
        ],
    );
    assert!(todo.contains(&Do::CheckStartup));
    assert_eq!(pod.record().sandbox, None);
}
