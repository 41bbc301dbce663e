use chrono::DateTime;
use fairway_api::{
    ids::{AppId, PodId, ReleaseId},
    pods::{CheckFailure, Exit},
};

use super::*;

fn pod(phase: Option<PodPhase>, intent: PodIntent) -> PodRow {
    let id = PodId::from_u128(1);
    let exit = Exit {
        code: 137,
        out_of_memory: true,
        stopped_because: None,
        at: DateTime::UNIX_EPOCH,
        last_lines: vec![],
    };
    let failure = CheckFailure {
        kind: None,
        check: "port 8080".into(),
        why: "connection refused".into(),
        response: None,
    };
    let status = phase.map(|phase| PodStatus {
        id,
        phase,
        address: None,
        restarts: 0,
        started_at: None,
        last_exit: Some(exit),
        check_failure: Some(failure),
        containers: vec![],
    });
    PodRow {
        id,
        app: AppId::from_u128(2),
        release: ReleaseId::from_u128(3),
        kind: PodKind::Service,
        process_type: "web".parse().unwrap(),
        name: "web.1".into(),
        ordinal: 1,
        size: "nano".parse().unwrap(),
        node: None,
        unplaced: Some("one: is cordoned".into()),
        intent,
        one_off: None,
        status,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

#[test]
fn every_phase_has_a_state_and_a_reason() {
    const CHECK: &str = "port 8080: connection refused";
    const EXIT: &str = "ran out of memory and was killed";
    let until = DateTime::UNIX_EPOCH;
    let refused = PodPhase::Refused {
        reason: "no such image".into(),
    };
    for (phase, state_wanted, reason_wanted) in [
        (None, DynoState::Down, Some("one: is cordoned")),
        (Some(PodPhase::Pending), DynoState::Starting, Some(CHECK)),
        (Some(PodPhase::Starting), DynoState::Starting, Some(CHECK)),
        (Some(PodPhase::Running { ready: true }), DynoState::Up, None),
        (
            Some(PodPhase::Running { ready: false }),
            DynoState::Up,
            Some(CHECK),
        ),
        (
            Some(PodPhase::BackOff { until }),
            DynoState::Crashed,
            Some(EXIT),
        ),
        (Some(PodPhase::NeverReady), DynoState::Crashed, Some(CHECK)),
        (Some(refused), DynoState::Crashed, Some("no such image")),
        (Some(PodPhase::Stopping), DynoState::Stopping, Some(EXIT)),
        (Some(PodPhase::Exited), DynoState::Down, Some(EXIT)),
    ] {
        let pod = pod(phase.clone(), PodIntent::Wanted);
        assert_eq!(state(&pod), state_wanted, "{phase:?}");
        assert_eq!(reason(&pod).as_deref(), reason_wanted, "{phase:?}");
        let ended = phase == Some(PodPhase::Exited);
        assert_eq!(exit_code(&pod), ended.then_some(137), "{phase:?}");
    }
    let leaving = pod(Some(PodPhase::Running { ready: true }), PodIntent::Stopping);
    assert_eq!(state(&leaving), DynoState::Stopping);
}

#[test]
fn the_container_that_is_in_the_way_is_the_reason() {
    let mut row = pod(Some(PodPhase::Running { ready: false }), PodIntent::Wanted);
    let status = row.status.as_mut().unwrap();
    let until = DateTime::UNIX_EPOCH;
    let container = |name: &str, phase| ContainerStatus {
        name: name.parse().unwrap(),
        phase,
        restarts: 2,
        last_exit: status.last_exit.clone(),
        check_failure: None,
    };
    let up = PodPhase::Running { ready: true };
    let containers = vec![
        container("main", up.clone()),
        container("proxy", PodPhase::BackOff { until }),
    ];
    status.containers = containers;
    let told = "proxy: ran out of memory and was killed";
    assert_eq!(reason(&row).as_deref(), Some(told));
    let mut image = crate::deploy::spec::tests::image(&["web"]);
    let mut proxy = crate::deploy::spec::tests::sidecar("proxy", &[]);
    proxy.image_name = Some("nginx:1.27".into());
    image.sidecars.containers.push(proxy);
    let release = crate::deploy::spec::tests::release(image);
    let shown = containers_of(&row, &release);
    let short: Vec<_> = shown
        .iter()
        .map(|it| {
            (
                it.name.as_str(),
                it.state,
                it.image.as_deref(),
                it.command.as_str(),
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            ("main", DynoState::Up, None, "run web"),
            ("proxy", DynoState::Crashed, Some("nginx:1.27"), "bin/proxy")
        ]
    );
    row.status.as_mut().unwrap().phase = up;
    assert_eq!(reason(&row), None);
}

fn containers_of(row: &PodRow, release: &ReleaseRow) -> Vec<DynoContainer> {
    containers(row, release, "run web")
}
