use chrono::TimeDelta;
use fairway_api::ids::ReleaseId;
use fairway_scheduler::snapshot::{PodIntent, PodKind};

use super::*;

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(secs)
}

fn pod() -> Pod {
    Pod {
        id: PodId::from_u128(1),
        release: ReleaseId::from_u128(1),
        kind: PodKind::Service,
        process_type: "web".parse().unwrap(),
        ordinal: 1,
        name: "web.1".into(),
        size: SIZE_DEFAULT.parse().unwrap(),
        node: Some("n1".parse().unwrap()),
        unplaced: None,
        intent: PodIntent::Wanted,
        stop_at: None,
        status: None,
        gone: false,
        sidecars: Default::default(),
        created_at: at(0),
    }
}

fn status(phase: PodPhase) -> PodStatus {
    PodStatus {
        id: PodId::from_u128(1),
        phase,
        address: None,
        restarts: 1,
        started_at: None,
        last_exit: None,
        check_failure: None,
        containers: vec![],
    }
}

fn exit(code: i64, out_of_memory: bool, why: Option<&str>) -> Exit {
    Exit {
        code,
        out_of_memory,
        stopped_because: why.map(Into::into),
        at: at(0),
        last_lines: vec![],
    }
}

fn failure(kind: Option<CheckKind>) -> CheckFailure {
    CheckFailure {
        kind,
        check: "GET /".into(),
        why: "answered 500".into(),
        response: Some("no database".into()),
    }
}

/// `kind: message | type of the cause` of each.
fn told(before: Option<&PodStatus>, status: &PodStatus) -> Vec<String> {
    let news = heard(&pod(), before, status).into_iter();
    let line = |it: News| {
        assert_eq!(it.pod.as_deref(), Some("web.1"));
        let cause = it.cause.as_ref().map_or("none", Cause::type_name);
        format!("{}: {} | {cause}", it.kind, it.message)
    };
    news.map(line).collect()
}

#[test]
fn an_end_is_told_with_its_cause() {
    let crashed = PodPhase::BackOff { until: at(1) };
    let table = [
        (
            exit(3, false, None),
            "pod.crashed: web.1 exited with code 3 | exit",
        ),
        (
            exit(139, false, None),
            "pod.crashed: web.1 was killed by SIGSEGV | signal",
        ),
        (
            exit(137, true, None),
            "pod.crashed: web.1 ran out of memory and was killed | out-of-memory",
        ),
        (
            exit(143, false, Some(STOPPED_BY_CHECK)),
            "pod.crashed: web.1 was stopped: check failed | check-failed",
        ),
        (
            exit(143, false, Some("its network was taken away")),
            "pod.crashed: web.1 was stopped: its network was taken away | stopped",
        ),
    ];
    for (exit, expected) in table {
        let now = PodStatus {
            last_exit: Some(exit),
            check_failure: Some(failure(Some(CheckKind::Liveness))),
            ..status(crashed.clone())
        };
        assert_eq!(told(None, &now), [expected]);
        assert!(told(Some(&now), &now).is_empty(), "once");
    }
}

#[test]
fn memory_that_ran_out_is_told_with_its_limit() {
    let now = PodStatus {
        last_exit: Some(exit(137, true, None)),
        ..status(PodPhase::BackOff { until: at(1) })
    };
    let [
        News {
            cause: Some(cause), ..
        },
    ] = &heard(&pod(), None, &now)[..]
    else {
        panic!()
    };
    let limit = sizes::find(SIZE_DEFAULT).unwrap().resources.memory_bytes;
    let expected = Cause::OutOfMemory {
        container: "main".into(),
        limit_bytes: Some(limit),
    };
    assert_eq!(*cause, expected);
    assert_eq!(cause.code(), Some("R15"));
}

#[test]
fn a_long_pause_is_told_by_itself() {
    let now = PodStatus {
        last_exit: Some(exit(1, false, None)),
        restarts: 6,
        ..status(PodPhase::BackOff { until: at(32) })
    };
    assert_eq!(
        told(None, &now),
        [
            "pod.crashed: web.1 exited with code 1 | exit",
            "pod.back-off: web.1 keeps crashing: it starts again in 32 s | back-off",
        ]
    );
}

#[test]
fn checks_say_which_they_are() {
    let checked = |phase, kind| PodStatus {
        check_failure: Some(failure(kind)),
        ..status(phase)
    };
    let check = |status: &PodStatus| match &heard(&pod(), None, status)[..] {
        [
            News {
                cause:
                    Some(Cause::CheckFailed {
                        check, response, ..
                    }),
                ..
            },
        ] => {
            assert_eq!(response.as_deref(), Some("no database"));
            *check
        }
        other => panic!("{other:?}"),
    };
    let unready = PodPhase::Running { ready: false };
    assert_eq!(
        check(&checked(PodPhase::NeverReady, None)),
        CheckKind::Startup
    );
    assert_eq!(check(&checked(unready.clone(), None)), CheckKind::Readiness);
    let restarted = PodStatus {
        last_exit: Some(exit(143, false, Some(STOPPED_BY_CHECK))),
        ..checked(PodPhase::BackOff { until: at(1) }, Some(CheckKind::Startup))
    };
    assert_eq!(check(&restarted), CheckKind::Startup, "as the agent says");
    // Readiness that goes away is news, also when nothing else changed.
    let ready = status(PodPhase::Running { ready: true });
    let expected = "pod.not-ready: web.1 gets no requests: GET /: answered 500 | check-failed";
    assert_eq!(told(Some(&ready), &checked(unready, None)), [expected]);
    assert!(told(None, &ready).is_empty());
}

#[test]
fn a_start_that_failed_says_whether_it_was_the_image() {
    let refused = |reason: &str| {
        told(
            None,
            &status(PodPhase::Refused {
                reason: reason.into(),
            }),
        )
    };
    assert_eq!(
        refused("cannot pull shop: manifest unknown"),
        [
            "pod.refused: web.1 could not be started: cannot pull shop: manifest unknown | \
          image-pull-failed"
        ]
    );
    assert_eq!(
        refused("no such program"),
        ["pod.refused: web.1 could not be started: no such program | start-failed"]
    );
}

#[test]
fn of_commands_only_what_cut_them_off_is_told() {
    let ended = |exit| {
        told(
            None,
            &PodStatus {
                last_exit: Some(exit),
                ..status(PodPhase::Exited)
            },
        )
    };
    assert!(ended(exit(1, false, None)).is_empty());
    assert!(ended(exit(143, false, Some("time to live reached"))).is_empty());
    assert_eq!(
        ended(exit(137, true, None)),
        ["pod.killed: web.1 ran out of memory and was killed | out-of-memory"]
    );
    let evicted = ended(exit(143, false, Some("evicted, since the disk is full")));
    assert!(evicted[0].starts_with("pod.evicted: ") && evicted[0].ends_with(" | evicted"));
}

#[test]
fn many_pods_are_named_by_a_few() {
    assert_eq!(named(&["web.1"]), "web.1");
    assert_eq!(
        named(&["web.1", "web.2", "web.3", "web.4", "web.5"]),
        "web.1, web.2, web.3 and 2 more"
    );
    let told = |names: &[&str]| {
        let told = moved(
            &BTreeMap::new(),
            AppId::from_u128(1),
            &"n1".parse().unwrap(),
            &MoveReason::Drained,
            names,
        );
        about(&"web".parse().unwrap(), names, told)
    };
    let one = told(&["web.1"]);
    assert_eq!(one.message, "web.1 gets replaced: machine n1 is drained");
    assert_eq!(one.pod.as_deref(), Some("web.1"));
    let two = told(&["web.1", "web.2"]);
    assert_eq!(
        two.message,
        "web.1, web.2 get replaced: machine n1 is drained"
    );
    assert_eq!(two.pod.as_deref(), Some("web"));
}

#[test]
fn who_was_given_room_is_told_only_to_its_own_app() {
    let (mine, others) = (AppId::from_u128(1), AppId::from_u128(2));
    let by = preemptor(&BTreeMap::new(), mine, others, PodId::from_u128(9));
    assert_eq!((by.app, by.name.as_str()), (None, ""));
}

#[test]
fn each_container_is_told_of_by_its_name_and_once() {
    let container = |name: &str, phase: PodPhase, code| ContainerStatus {
        name: name.parse().unwrap(),
        phase,
        restarts: 0,
        last_exit: Some(exit(code, code == 137, None)),
        check_failure: None,
    };
    let with = |containers: Vec<ContainerStatus>| PodStatus {
        containers,
        ..status(PodPhase::Running { ready: false })
    };
    let up = || PodPhase::Running { ready: true };
    let waits = || PodPhase::BackOff { until: at(1) };
    let told = |before: &PodStatus, now: &PodStatus| -> Vec<String> {
        let news = heard(&pod(), Some(before), now).into_iter();
        news.map(|it| it.message).collect()
    };
    let well = with(vec![
        container("main", up(), 0),
        container("proxy", up(), 0),
    ]);
    let ill = with(vec![
        container("main", up(), 0),
        container("proxy", waits(), 1),
    ]);
    assert_eq!(told(&well, &ill), ["web.1/proxy exited with code 1"]);
    assert_eq!(told(&ill, &ill), [""; 0]);
    let down = with(vec![
        container("main", waits(), 1),
        container("proxy", up(), 0),
    ]);
    assert_eq!(told(&well, &down), ["web.1 exited with code 1"]);
    let full = with(vec![
        container("main", up(), 0),
        container("proxy", waits(), 137),
    ]);
    let news = heard(&pod(), Some(&well), &full);
    let cause = Cause::OutOfMemory {
        container: "proxy".into(),
        limit_bytes: None,
    };
    assert_eq!((news.len(), &news[0].cause), (1, &Some(cause)));
    assert_eq!(news[0].pod.as_deref(), Some("web.1"));
}
