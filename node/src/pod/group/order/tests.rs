use chrono::TimeDelta;
use fairway_api::pods::{CheckFailure, Exit};
use proptest::prelude::*;

use super::*;
use crate::testing::{sidecar, spec};

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(secs)
}

fn names(names: &[&str]) -> BTreeSet<ContainerName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A pod whose containers wait for each other like this, `main` for the first list.
fn pod(main: &[&str], sidecars: &[(&str, &[&str])]) -> PodSpec {
    let mut pod = spec(1);
    pod.sidecars.main_after = names(main);
    pod.sidecars.containers = sidecars
        .iter()
        .map(|(name, after)| {
            let mut it = sidecar(name);
            it.after = names(after);
            it
        })
        .collect();
    pod
}

fn group(pod: &PodSpec) -> Group {
    Group::new(pod, &Record::new(pod.id), &BTreeSet::new())
}

fn see(group: &mut Group, seat: usize, phase: PodPhase) {
    let mut record = group.record_of(seat);
    record.status.phase = phase;
    group.note(seat, record);
}

const UP: PodPhase = PodPhase::Running { ready: true };

fn exit(code: i64) -> Exit {
    Exit {
        code,
        out_of_memory: false,
        stopped_because: None,
        at: at(2),
        last_lines: vec![],
    }
}

/// The orders in short: `+web` begins, `-web` ends.
fn next(group: &mut Group, secs: i64) -> Vec<String> {
    let orders = group.next(at(secs));
    let name = |seat: usize| group.seats[seat].name.to_string();
    let short = |order: Order| match order {
        Order::Begin(seat) => format!("+{}", name(seat)),
        Order::Retire(seat) => format!("-{}", name(seat)),
        Order::WakeAt(at) => format!("@{}", at.timestamp()),
        Order::Say(text) => text,
        Order::Left => "left".into(),
    };
    orders.into_iter().map(short).collect()
}

#[test]
fn each_begins_when_what_it_waits_for_is_up() {
    let pod = pod(
        &["db", "proxy"],
        &[
            ("proxy", &["db"]),
            ("db", &[]),
            ("tail", &["main", "db", "proxy"]),
        ],
    );
    let mut group = group(&pod);
    assert_eq!(next(&mut group, 0), ["+db"]);
    assert_eq!(group.record().status.phase, PodPhase::Pending);
    see(&mut group, 2, PodPhase::Starting);
    assert_eq!(next(&mut group, 1), [""; 0]);
    assert_eq!(group.record().status.phase, PodPhase::Starting);
    see(&mut group, 2, UP);
    assert_eq!(next(&mut group, 2), ["+proxy"]);
    see(&mut group, 1, UP);
    assert_eq!(next(&mut group, 3), ["+main"]);
    see(&mut group, 0, UP);
    assert_eq!(next(&mut group, 4), ["+tail"]);
    see(&mut group, 3, PodPhase::Starting);
    assert!(!group.record().status.is_ready(), "one has not been up yet");
    see(&mut group, 3, UP);
    assert!(group.record().status.is_ready());
    // One that restarts is waited for by nobody, but the pod gets no requests.
    see(&mut group, 2, PodPhase::BackOff { until: at(9) });
    assert_eq!(next(&mut group, 5), [""; 0]);
    let status = group.record().status;
    assert_eq!(status.phase, PodPhase::Running { ready: false });
    let shown: Vec<String> = status
        .containers
        .iter()
        .map(|it| it.name.to_string())
        .collect();
    assert_eq!(shown, ["main", "proxy", "db", "tail"]);
}

#[test]
fn they_end_the_other_way_round() {
    let pod = pod(
        &["db", "proxy"],
        &[
            ("proxy", &["db"]),
            ("db", &[]),
            ("tail", &["main", "db", "proxy"]),
        ],
    );
    let mut group = group(&pod);
    for seat in [2, 1, 0, 3] {
        next(&mut group, 0);
        see(&mut group, seat, UP);
    }
    group.leave();
    for (gone, expect) in [
        (None, vec!["-main"]),
        (None, vec![]),
        (Some(0), vec!["-tail"]),
        (Some(3), vec!["-proxy"]),
        (Some(1), vec!["-db"]),
        (Some(2), vec!["left"]),
    ] {
        if let Some(seat) = gone {
            group.gone(seat);
        }
        assert_eq!(next(&mut group, 1), expect, "{gone:?}");
    }
}

#[test]
fn sidecars_end_with_a_process_that_runs_once() {
    let mut pod = pod(&["proxy"], &[("proxy", &[])]);
    pod.restart = RestartPolicy::Never;
    let mut group = group(&pod);
    next(&mut group, 0);
    see(&mut group, 1, UP);
    assert_eq!(next(&mut group, 1), ["+main"]);
    see(&mut group, 0, PodPhase::Exited);
    assert_eq!(next(&mut group, 2), ["-proxy"]);
    assert_eq!(group.record().status.phase, PodPhase::Exited);
    group.gone(1);
    assert_eq!(next(&mut group, 3), [""; 0]);
    // What is left of the main one goes when nobody wants the pod any more.
    group.leave();
    assert_eq!(next(&mut group, 4), ["-main"]);
    group.gone(0);
    assert_eq!(next(&mut group, 5), ["left"]);
}

#[test]
fn what_runs_once_does_not_wait_for_a_sidecar_that_fails() {
    let mut pod = pod(&["proxy"], &[("proxy", &[])]);
    pod.restart = RestartPolicy::Never;
    let mut group = group(&pod);
    next(&mut group, 0);
    let mut record = group.record_of(1);
    record.status.phase = PodPhase::BackOff { until: at(9) };
    record.status.last_exit = Some(exit(3));
    group.note(1, record);
    assert_eq!(next(&mut group, 2), ["-proxy"]);
    let status = group.record().status;
    assert_eq!(status.phase, PodPhase::Exited);
    let exit = status.last_exit.unwrap();
    assert_ne!(exit.code, 0);
    assert_eq!(
        exit.to_string(),
        "was stopped: its container proxy failed: exited with code 3"
    );
}

#[test]
fn a_sidecar_that_never_becomes_ready_fails_the_pod() {
    let pod = pod(&["proxy"], &[("proxy", &[]), ("other", &["main", "proxy"])]);
    let mut group = group(&pod);
    next(&mut group, 0);
    let mut record = group.record_of(1);
    record.status.phase = PodPhase::NeverReady;
    record.status.check_failure = Some(CheckFailure {
        kind: None,
        check: "GET /".into(),
        why: "refused".into(),
        response: None,
    });
    group.note(1, record);
    assert_eq!(next(&mut group, 1), [""; 0], "nothing else has begun");
    let status = group.record().status;
    assert_eq!(status.phase, PodPhase::NeverReady);
    assert_eq!(
        status.check_failure.unwrap().to_string(),
        "proxy: GET /: refused"
    );
}

#[test]
fn one_that_cannot_be_started_is_named() {
    let pod = pod(&["proxy"], &[("proxy", &[])]);
    let mut group = group(&pod);
    next(&mut group, 0);
    let reason = "no such image".to_owned();
    see(&mut group, 1, PodPhase::Refused { reason });
    let reason = "proxy: no such image".to_owned();
    assert_eq!(group.record().status.phase, PodPhase::Refused { reason });
}

#[test]
fn the_end_of_one_may_take_the_pod_along() {
    let mut pod = pod(&["proxy"], &[("proxy", &[])]);
    pod.sidecars.containers[0].on_exit = OnExit::RestartPod;
    let mut group = group(&pod);
    next(&mut group, 0);
    see(&mut group, 1, UP);
    next(&mut group, 1);
    see(&mut group, 0, UP);
    let mut record = group.record_of(1);
    record.status.phase = PodPhase::BackOff { until: at(9) };
    record.status.last_exit = Some(exit(3));
    group.note(1, record);
    assert_eq!(
        next(&mut group, 2),
        [
            "Restarting all containers of web.1: proxy exited with code 3",
            "-main"
        ]
    );
    assert_eq!(
        group.record().status.phase,
        PodPhase::BackOff { until: at(9) }
    );
    group.gone(0);
    assert_eq!(next(&mut group, 3), ["-proxy"]);
    group.gone(1);
    assert_eq!(next(&mut group, 4), ["@9"]);
    assert_eq!(next(&mut group, 9), ["+proxy"]);
    see(&mut group, 1, UP);
    assert_eq!(next(&mut group, 10), ["+main"]);
}

#[test]
fn what_is_there_is_taken_up_and_not_begun_again() {
    let pod = pod(&["proxy"], &[("proxy", &[])]);
    let mut known = group(&pod);
    for seat in [1, 0] {
        next(&mut known, 0);
        let mut record = known.record_of(seat);
        record.status.phase = UP;
        record.was_up = true;
        known.note(seat, record);
    }
    let record = known.record();
    let mut adopted = Group::new(&pod, &record, &names(&["main", "proxy"]));
    assert_eq!(adopted.there(), [0, 1]);
    assert_eq!(next(&mut adopted, 1), [""; 0]);
    assert!(adopted.record().status.is_ready());
    // Without its sidecar, that one is begun; the main one is left alone.
    let mut half = Group::new(&pod, &record, &names(&["main"]));
    assert_eq!(half.there(), [0]);
    assert_eq!(next(&mut half, 1), ["+proxy"]);
    // A process that ran once and has ended needs no sidecars any more.
    let mut done = record;
    done.members.get_mut("main").unwrap().status.phase = PodPhase::Exited;
    let mut done = Group::new(&pod, &done, &BTreeSet::new());
    assert_eq!(next(&mut done, 1), [""; 0]);
}

proptest! {
    /// Whatever is seen and whenever it is unwanted: who waits for somebody begins after it and ends
    /// before it, the main container ends first, and in the end nothing is left.
    #[test]
    fn the_order_holds_whatever_happens(
        edges in proptest::collection::vec((0_usize..5, 0_usize..5), 0..8),
        seen in proptest::collection::vec((0_usize..5, 0_u8..4), 0..40),
    ) {
        const NAMES: [&str; 5] = ["main", "a", "b", "c", "d"];
        // Edges go one way only, and all the way down, as the reader of app.json makes them.
        let mut after = [const { BTreeSet::<usize>::new() }; 5];
        for index in 0..5 {
            for (later, earlier) in &edges {
                if *later == index && earlier < later {
                    let below = after[*earlier].clone();
                    after[index].extend(below);
                    after[index].insert(*earlier);
                }
            }
        }
        let list = |index: usize| -> Vec<&str> { after[index].iter().map(|&it| NAMES[it]).collect() };
        let lists: Vec<Vec<&str>> = (0..5).map(list).collect();
        let sidecars: Vec<(&str, &[&str])> =
            (1..5).map(|index| (NAMES[index], lists[index].as_slice())).collect();
        let pod = pod(&lists[0], &sidecars);
        let mut group = group(&pod);
        let mut running = BTreeSet::new();
        let phases = [PodPhase::Starting, UP, PodPhase::BackOff { until: at(1) }, UP];
        let step = |group: &mut Group, running: &mut BTreeSet<usize>| {
            for order in group.next(at(2)) {
                match order {
                    Order::Begin(seat) => {
                        assert!(after[seat].is_subset(running), "begun too early");
                        running.insert(seat);
                    }
                    Order::Retire(0) => {}
                    Order::Retire(seat) => {
                        assert!(!running.contains(&0), "main ends first");
                        let later = running.iter().filter(|&&it| it != 0);
                        assert!(later.into_iter().all(|&it| !after[it].contains(&seat)));
                    }
                    _ => {}
                }
            }
        };
        for (seat, phase) in seen {
            step(&mut group, &mut running);
            if running.contains(&seat) {
                see(&mut group, seat, phases[usize::from(phase)].clone());
            }
        }
        group.leave();
        for _ in 0..10 {
            step(&mut group, &mut running);
            let ending: Vec<usize> = (0..5)
                .filter(|&it| group.seats[it].state == State::Retiring)
                .collect();
            for seat in ending {
                running.remove(&seat);
                group.gone(seat);
            }
        }
        prop_assert_eq!(group.next(at(3)), [Order::Left]);
    }
}
