//! What goes well.

use fairway_api::{
    checks::{Check, Checks, Periodic, Statuses},
    pods::{PodPhase, StopPolicy},
};

use crate::machine::{Machine, docker};

#[tokio::test]
async fn a_web_pod_becomes_ready_under_its_limits() {
    let mut machine = Machine::start().await;
    let pod = machine.pod("echo $PORT on $(hostname); exec httpd -f -h /www -p $PORT");
    machine.plan(&[&pod]);
    let status = machine.until_ready(&pod).await;
    assert!(status.address.is_some() && status.started_at.is_some());
    assert_eq!(status.restarts, 0);
    let log = machine.until_logged(|log| log.len() >= 2).await;
    assert!(
        log.contains(&"app[web.1]: 8080 on web-1".into()),
        "{log:#?}"
    );
    assert!(
        log.contains(&"fairway[web.1]: State changed from starting to up".into()),
        "{log:#?}"
    );

    let container = &machine.containers()[0];
    let limits = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} \
                  {{.HostConfig.PidsLimit}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} \
                  {{len .NetworkSettings.Ports}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(
        docker(&["inspect", "--format", limits, container]),
        "67108864 67108864 1000000000 64 [ALL] [no-new-privileges] 0 no"
    );
    let report = machine.shared().reports.borrow().last().unwrap().clone();
    assert_eq!(report.generation, 1);
    assert!(report.capacity.resources.memory_bytes > 0 && report.capacity.disk_free_bytes > 0);
    assert!(
        report.capacity.engine.starts_with("Docker "),
        "{}",
        report.capacity.engine
    );
}

#[tokio::test]
async fn pods_of_one_machine_cannot_reach_each_other() {
    let mut machine = Machine::start().await;
    let server = machine.pod("exec httpd -f -h /www -p 8080");
    machine.plan(&[&server]);
    let address = machine.until_ready(&server).await.address.unwrap();
    let script = format!("nc -w 2 {address} 8080 </tmp && echo reached || echo nobody");
    let client = machine.one_off(&script);
    machine.plan(&[&server, &client]);
    let exit = machine.until_exited(&client).await.last_exit.unwrap();
    // What nc itself says comes by another stream, before or after.
    assert!(exit.last_lines.contains(&"nobody".to_owned()), "{exit:?}");
}

#[tokio::test]
async fn a_pod_that_leaves_the_plan_is_asked_to_stop_and_removed() {
    let mut machine = Machine::start().await;
    let script = "trap 'echo asked; sleep 0.2; echo done; exit 0' USR1; echo up; while :; do sleep 0.1; done";
    let mut pod = machine.worker(script);
    pod.stop = StopPolicy {
        signal: "SIGUSR1".into(),
        grace_secs: 30,
    };
    let stays = machine.worker("echo up; exec sleep 1000");
    machine.plan(&[&pod, &stays]);
    machine.until_ready(&pod).await;
    machine.until_ready(&stays).await;
    machine
        .until_logged(|log| log.iter().filter(|line| line.ends_with(": up")).count() == 2)
        .await;
    machine.plan(&[&stays]);
    machine
        .until(&pod, "stopping", |status| {
            status.phase == PodPhase::Stopping
        })
        .await;
    machine.until_gone(&pod).await;
    assert_eq!(machine.containers().len(), 1);
    let log = machine
        .until_logged(|log| log.iter().any(|line| line.contains("exited")))
        .await;
    let place = |text: &str| log.iter().position(|line| line.ends_with(text));
    assert!(place("app[worker.1]: asked").unwrap() < place("app[worker.1]: done").unwrap());
    assert!(
        place("Stopping with SIGUSR1: stopped").is_some(),
        "{log:#?}"
    );
    assert!(place("Process exited with status 0").is_some(), "{log:#?}");
}

#[tokio::test]
async fn a_pod_that_does_not_listen_to_its_signal_is_killed_after_its_grace() {
    let mut machine = Machine::start().await;
    let mut pod = machine.worker("trap '' TERM; echo up; while :; do sleep 0.1; done");
    pod.stop.grace_secs = 1;
    machine.plan(&[&pod]);
    machine
        .until_logged(|log| log.iter().any(|line| line.ends_with(": up")))
        .await;
    machine.plan(&[]);
    machine.until_gone(&pod).await;
    let log = machine
        .until_logged(|log| log.iter().any(|line| line.contains("exited")))
        .await;
    assert!(
        log.iter().any(|line| line.contains("killing with SIGKILL")),
        "{log:#?}"
    );
    assert!(
        log.iter()
            .any(|line| line.ends_with("exited with status 137")),
        "{log:#?}"
    );
    assert!(machine.containers().is_empty());
}

#[tokio::test]
async fn readiness_and_liveness_follow_the_answers() {
    let mut machine = Machine::start().await;
    // Serves for three seconds, then has nothing to serve.
    let script = "httpd -f -h /www -p 8080 & sleep 3; kill $!; wait $!; \
                  exec httpd -f -h /tmp -p 8080";
    let mut pod = machine.pod(script);
    let check = Check::Http {
        path: "/index.html".into(),
        port: None,
        content: Some("hello".into()),
        headers: std::collections::BTreeMap::new(),
        expect: Statuses::default(),
        timeout_secs: 2,
    };
    let periodic = |failures| Periodic {
        check: check.clone(),
        every_secs: 1,
        failures,
        delay_secs: 0,
    };
    pod.checks = Some(Checks {
        startup: check.clone(),
        startup_deadline_secs: 30,
        startup_delay_secs: 0,
        readiness: Some(periodic(1)),
        liveness: Some(periodic(3)),
    });
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let status = machine
        .until(&pod, "not ready", |status| {
            status.phase == PodPhase::Running { ready: false }
        })
        .await;
    assert!(status.check_failure.is_some());
    let status = machine
        .until(&pod, "restarted", |status| status.restarts == 1)
        .await;
    let exit = status.last_exit.unwrap();
    assert_eq!(exit.stopped_because.as_deref(), Some("check failed"));
    machine.until_ready(&pod).await;
}

#[tokio::test]
async fn a_one_off_pod_ends_at_its_time_to_live() {
    let mut machine = Machine::start().await;
    let mut pod = machine.one_off("exec sleep 1000");
    pod.time_to_live_secs = Some(1);
    machine.plan(&[&pod]);
    let exit = machine.until_exited(&pod).await.last_exit.unwrap();
    assert_eq!(exit.to_string(), "was stopped: time to live reached");
}

#[tokio::test]
async fn checks_by_command_run_inside_and_leave_nothing_behind() {
    let mut machine = Machine::start().await;
    let mut pod = machine.worker("touch /tmp/up; sleep 1; exec sleep 1000");
    let command = |script: &str, timeout_secs| Check::Command {
        command: ["sh", "-c", script].map(Into::into).into(),
        timeout_secs,
    };
    let periodic = |check| Periodic {
        check,
        every_secs: 1,
        failures: 1,
        delay_secs: 0,
    };
    pod.checks = Some(Checks {
        startup: command("test -f /tmp/up", 5),
        startup_deadline_secs: 30,
        startup_delay_secs: 0,
        readiness: Some(periodic(command(
            "test -f /tmp/well && exit; echo first >&2; echo not well >&2; exit 3",
            5,
        ))),
        liveness: Some(periodic(command(
            "test -f /tmp/stuck || exit 0; sleep 4242 & sleep 4242",
            1,
        ))),
    });
    machine.plan(&[&pod]);
    let status = machine
        .until(&pod, "not ready", |status| {
            status.phase == PodPhase::Running { ready: false }
        })
        .await;
    let failure = status.check_failure.unwrap();
    assert_eq!(
        failure.to_string(),
        "command sh: exited with code 3: not well"
    );
    assert_eq!(failure.response.as_deref(), Some("first\nnot well\n"));
    let container = machine.containers()[0].clone();
    docker(&["exec", &container, "sh", "-c", "touch /tmp/well"]);
    machine.until_ready(&pod).await;
    // One that hangs is ended with what it started, and counts as failed.
    docker(&["exec", &container, "sh", "-c", "touch /tmp/stuck"]);
    let status = machine
        .until(&pod, "stopping", |status| status.check_failure.is_some())
        .await;
    let failure = status.check_failure.unwrap().to_string();
    assert_eq!(failure, "command sh: it did not end within 1 seconds");
    let gone =
        |_: &Machine| !docker(&["top", &container, "-eo", "pid,args"]).contains("sleep 4242");
    machine.until_engine("ended a check that hangs", gone).await;
    machine
        .until(&pod, "restarted", |status| status.restarts == 1)
        .await;
}

#[tokio::test]
async fn what_a_pod_uses_is_reported() {
    let mut machine = Machine::start().await;
    let pod = machine.pod("(while :; do :; done) & exec httpd -f -h /www -p $PORT");
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let mut reports = machine.shared().reports.subscribe();
    let measured = reports.wait_for(|reports| {
        let usage = reports.last().map(|report| report.usage.clone());
        let usage = usage.unwrap_or_default();
        let own = usage.iter().find(|usage| usage.pod == pod.id);
        // It takes as much of a core as the machine has left, and not more than its size.
        own.is_some_and(|own| {
            (50..=1_200).contains(&own.cpu_millis) && (1..64 << 20).contains(&own.memory_bytes)
        })
    });
    let measured = tokio::time::timeout(std::time::Duration::from_secs(60), measured).await;
    assert!(measured.is_ok(), "no report says what the pod uses");
}
