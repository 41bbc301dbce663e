//! What goes wrong, and how well it is told.

use fairway_api::{checks::Checks, pods::PodPhase};

use crate::machine::Machine;

fn never_ready(phase: &PodPhase) -> bool {
    *phase == PodPhase::NeverReady
}

#[tokio::test]
async fn a_pod_on_the_wrong_port_is_told_which_one_it_uses() {
    let mut machine = Machine::start().await;
    let deadline = |secs| {
        Some(Checks {
            startup_deadline_secs: secs,
            ..Checks::for_port()
        })
    };
    let mut wrong = machine.pod("echo started; exec httpd -f -h /www -p 3000");
    let mut local = machine.pod("exec httpd -f -h /www -p 127.0.0.1:8080");
    let mut deaf = machine.pod("exec sleep 1000");
    for pod in [&mut wrong, &mut local, &mut deaf] {
        pod.checks = deadline(2);
    }
    machine.plan(&[&wrong, &local, &deaf]);
    let table = [
        (
            &wrong,
            "nothing listens on port 8080 (PORT); the process listens on port 3000",
        ),
        (
            &local,
            "the process listens on 127.0.0.1:8080 only, which nobody outside the pod can reach; \
             listen on 0.0.0.0",
        ),
        (&deaf, "nothing listens on port 8080 (PORT)"),
    ];
    for (pod, why) in table {
        let status = machine
            .until(pod, "never ready", |s| never_ready(&s.phase))
            .await;
        let failure = status.check_failure.unwrap();
        assert_eq!(
            (failure.check.as_str(), failure.why.as_str()),
            ("connection to port 8080", why)
        );
        assert_eq!(status.address, None, "it was stopped");
        let exit = status.last_exit.unwrap();
        assert_eq!(exit.stopped_because.as_deref(), Some("check failed"));
        if pod.id == wrong.id {
            assert_eq!(exit.last_lines, ["started"]);
        }
    }
}

#[tokio::test]
async fn a_pod_that_exits_at_once_is_reported_with_its_last_lines_and_restarted() {
    let mut machine = Machine::start().await;
    // Lines that differ only in digits would be told as one.
    let pod = machine.pod(
        "i=1; a=odd; b=even; while [ $i -le 30 ]; do echo $a line $i; \
         c=$a; a=$b; b=$c; i=$((i+1)); done; exit 3",
    );
    machine.plan(&[&pod]);
    let status = machine
        .until(&pod, "ended", |status| status.last_exit.is_some())
        .await;
    assert!(
        matches!(status.phase, PodPhase::BackOff { .. }),
        "{status:?}"
    );
    let exit = status.last_exit.unwrap();
    assert_eq!((exit.code, exit.out_of_memory), (3, false));
    let wanted: Vec<String> = (11..=30)
        .map(|i| format!("{} line {i}", if i % 2 == 0 { "even" } else { "odd" }))
        .collect();
    assert_eq!(exit.last_lines, wanted);
    machine
        .until(&pod, "restarted", |status| status.restarts == 2)
        .await;
    let log = machine
        .until_logged(|log| log.iter().filter(|l| l.ends_with("line 30")).count() == 3)
        .await;
    assert!(
        log.iter().any(|line| line.contains("next start in 1 s")),
        "{log:#?}"
    );
    assert!(
        log.iter().any(|line| line.contains("next start in 2 s")),
        "{log:#?}"
    );
    assert_eq!(
        log.iter()
            .filter(|line| line.ends_with(": odd line 1"))
            .count(),
        3
    );
    machine.plan(&[]);
    machine.until_gone(&pod).await;
    assert!(machine.containers().is_empty());
}

#[tokio::test]
async fn a_pod_over_its_memory_limit_says_so() {
    let mut machine = Machine::start().await;
    // tail keeps the last "line", and zeros have no end of line.
    let mut pod = machine.one_off("exec tail /dev/zero");
    pod.resources.memory_bytes = 16 << 20;
    machine.plan(&[&pod]);
    let exit = machine.until_exited(&pod).await.last_exit.unwrap();
    assert!(exit.out_of_memory && exit.code != 0, "{exit:?}");
    let line = "fairway[run.1234]: Error R15: ran out of memory (limit 16 MB)";
    machine
        .until_logged(|log| log.iter().any(|logged| logged == line))
        .await;
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_with_the_reason_and_tried_again() {
    let mut machine = Machine::start().await;
    let mut nothing = machine.pod("");
    nothing.command = None;
    let mut signal = machine.pod("exec sleep 1000");
    signal.stop.signal = "SIGNONSENSE".into();
    let mut gone = machine.pod("exec sleep 1000");
    gone.image.digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    machine.plan(&[&nothing, &signal, &gone]);
    let table = [
        (&nothing, "the image has no command"),
        (&signal, "SIGNONSENSE"),
        (&gone, "cannot pull"),
    ];
    for (pod, part) in table {
        let refused = |phase: &PodPhase| matches!(phase, PodPhase::Refused { .. });
        let status = machine
            .until(pod, "refused", |status| refused(&status.phase))
            .await;
        let PodPhase::Refused { reason } = status.phase else {
            unreachable!()
        };
        assert!(reason.contains(part), "{reason}");
    }
    machine.plan(&[]);
    for pod in [&nothing, &signal, &gone] {
        machine.until_gone(pod).await;
    }
    assert!(
        machine.containers().is_empty(),
        "what did not start was removed"
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut machine = Machine::start().await;
    let mut pod = machine.pod("");
    pod.command = Some(vec!["gunicorn".into(), "app:app".into()]);
    machine.plan(&[&pod]);
    let status = machine
        .until(&pod, "ended", |status| status.last_exit.is_some())
        .await;
    let exit = status.last_exit.unwrap();
    assert_eq!(exit.code, 127);
    assert!(
        exit.last_lines[0].contains("exec gunicorn failed"),
        "{exit:?}"
    );
}

#[tokio::test]
async fn a_pull_with_the_wrong_password_fails_until_it_is_right() {
    let mut machine = Machine::start().await;
    let pod = machine.worker("exec sleep 1000");
    let right = machine.registry.password.clone();
    machine.registry.password = "wrong".into();
    machine.plan(&[&pod]);
    let refused = |phase: &PodPhase| matches!(phase, PodPhase::Refused { .. });
    let status = machine
        .until(&pod, "refused", |status| refused(&status.phase))
        .await;
    let PodPhase::Refused { reason } = status.phase else {
        unreachable!()
    };
    assert!(
        reason.contains("cannot pull") && !reason.contains("wrong"),
        "{reason}"
    );
    machine.registry.password = right;
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
}
