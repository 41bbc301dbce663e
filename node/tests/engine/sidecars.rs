//! Pods with several containers.

use std::collections::BTreeSet;

use fairway_api::{
    checks::{Check, Checks},
    pods::{ContainerStatus, PodPhase, PodSpec, PodStatus, StopPolicy},
    sidecars::{FolderMount, OnExit, SharedFolder, Sidecar},
    sizes::Resources,
};

use crate::{
    machine::{Machine, docker, within},
    sessions::{exec, open_in},
};

const FOR_EVER: &str = "exec sleep 1000";

/// A sidecar that runs a script and is up at once.
fn sidecar(pod: &PodSpec, name: &str, script: &str) -> Sidecar {
    Sidecar {
        name: name.parse().unwrap(),
        image: pod.image.clone(),
        command: Some(["sh", "-c", script].map(Into::into).into()),
        entrypoint: None,
        env: Default::default(),
        resources: Resources {
            memory_bytes: 32 << 20,
            cpu_millis: 500,
            pids: 32,
        },
        port: None,
        checks: Checks {
            startup: Check::Uptime { secs: 0 },
            ..Checks::for_worker()
        },
        stop: StopPolicy {
            signal: "SIGTERM".into(),
            grace_secs: 2,
        },
        after: BTreeSet::new(),
        on_exit: OnExit::Restart,
        folders: vec![],
    }
}

/// Adds a sidecar that starts before the main container.
fn before(pod: &mut PodSpec, sidecar: Sidecar) {
    pod.sidecars.main_after.insert(sidecar.name.clone());
    pod.sidecars.containers.push(sidecar);
}

fn share(pod: &mut PodSpec, path: &str, sidecars_path: &str) {
    let name: fairway_api::names::VolumeName = "pages".parse().unwrap();
    let mount = |path: &str| FolderMount {
        name: name.clone(),
        path: path.into(),
    };
    pod.sidecars.main_folders = vec![mount(path)];
    pod.sidecars.containers[0].folders = vec![mount(sidecars_path)];
    pod.sidecars.folders = vec![SharedFolder {
        name: name.clone(),
        size_bytes: 1 << 20,
    }];
}

fn of<'a>(status: &'a PodStatus, name: &str) -> &'a ContainerStatus {
    let mut containers = status.containers.iter();
    containers.find(|it| it.name.as_str() == name).unwrap()
}

/// The engine's id of a container by its name in the pod.
fn id_of(machine: &Machine, name: &str) -> Option<String> {
    let label = "{{index .Config.Labels \"dev.fairway.container\"}}";
    let wanted = if name == "main" { "" } else { name };
    let mut ids = machine.containers().into_iter();
    ids.find(|id| docker(&["inspect", "--format", label, id]) == wanted)
}

/// An adapter that writes a page, and a main container that finds it and serves it.
fn adapted(machine: &Machine) -> PodSpec {
    let mut pod = machine.pod("cat /pages/page; exec httpd -f -h /pages -p 8080");
    let script = "sleep 0.5; echo from the adapter >/shared/page; exec nc -ll -p 9000 -e cat";
    let mut adapter = sidecar(&pod, "adapter", script);
    adapter.port = Some(9000);
    adapter.checks = Checks::for_port();
    before(&mut pod, adapter);
    share(&mut pod, "/pages", "/shared");
    pod
}

#[tokio::test]
async fn containers_of_a_pod_share_network_and_folder_and_have_their_order() {
    let mut machine = Machine::start().await;
    let pod = adapted(&machine);
    machine.plan(&[&pod]);
    let status = machine.until_ready(&pod).await;
    assert_eq!(status.containers.len(), 2);
    assert!(status.address.is_some());
    let log = machine
        .until_logged(|log| log.contains(&"app[web.1]: from the adapter".to_owned()))
        .await;
    let place = |log: &[String], text: &str| log.iter().position(|line| line == text);
    let up = "fairway[web.1/adapter]: State changed from starting to up";
    assert!(place(&log, up).is_some(), "{log:#?}");

    let (main, adapter) = (
        id_of(&machine, "main").unwrap(),
        id_of(&machine, "adapter").unwrap(),
    );
    let network = |id: &str| docker(&["inspect", "--format", "{{.HostConfig.NetworkMode}}", id]);
    assert_eq!(network(&main), network(&adapter));
    assert!(network(&main).starts_with("container:"));
    let memory = |id: &str| docker(&["inspect", "--format", "{{.HostConfig.Memory}}", id]);
    assert_eq!(
        (memory(&main), memory(&adapter)),
        ("67108864".into(), "33554432".into())
    );
    assert_eq!(machine.folders().len(), 1);
    // It has a limit.
    let fill = "cat /dev/zero >/shared/large; echo full";
    let told = docker(&["exec", &adapter, "sh", "-c", fill]);
    assert_eq!(told, "full");

    // A command in one of them, and one that is not there.
    let work = exec(false, &["cat", "/shared/page"]);
    let terminal = open_in(&machine, &pod, Some("adapter"), work.clone()).await;
    assert_eq!(within(terminal.rest()).await.0, "from the adapter\n");
    let terminal = open_in(&machine, &pod, Some("proxy"), work).await;
    let told = within(terminal.rest()).await.2;
    assert!(
        told.contains("web.1 has no container named proxy"),
        "{told}"
    );

    machine.plan(&[]);
    machine.until_gone(&pod).await;
    let log = machine
        .until_logged(|log| {
            log.iter()
                .filter(|line| line.contains("exited with"))
                .count()
                == 2
        })
        .await;
    let ended = log
        .iter()
        .position(|line| line.starts_with("fairway[web.1]: Process exited"));
    let asked = place(
        &log,
        "fairway[web.1/adapter]: Stopping with SIGTERM: stopped",
    );
    assert!(ended.unwrap() < asked.unwrap(), "{log:#?}");
    assert!(machine.containers().is_empty());
    assert!(machine.folders().is_empty());
}

#[tokio::test]
async fn sidecars_end_when_a_process_that_runs_once_has_ended() {
    let mut machine = Machine::start().await;
    let mut pod = machine.one_off("echo done; exit 3");
    let proxy = sidecar(&pod, "proxy", FOR_EVER);
    before(&mut pod, proxy);
    machine.plan(&[&pod]);
    let status = machine.until_exited(&pod).await;
    assert_eq!(status.last_exit.unwrap().code, 3);
    let ended = |status: &PodStatus| of(status, "proxy").phase == PodPhase::Exited;
    let status = machine.until(&pod, "without its sidecar", ended).await;
    assert_eq!(status.phase, PodPhase::Exited);
    assert_eq!(id_of(&machine, "proxy"), None);
    machine.plan(&[]);
    machine.until_gone(&pod).await;
    assert!(machine.containers().is_empty());
}

#[tokio::test]
async fn a_sidecar_that_ends_is_started_again_and_the_main_process_left_alone() {
    let mut machine = Machine::start().await;
    let mut pod = machine.pod("exec httpd -f -h /www -p 8080");
    let script = "x=x; sleep 1; while :; do x=$x$x; done";
    let proxy = sidecar(&pod, "proxy", script);
    before(&mut pod, proxy);
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let main = id_of(&machine, "main").unwrap();
    let status = machine
        .until(&pod, "not ready", |status| {
            status.phase == PodPhase::Running { ready: false }
                && matches!(of(status, "proxy").phase, PodPhase::BackOff { .. })
        })
        .await;
    let exit = of(&status, "proxy").last_exit.clone().unwrap();
    assert!(exit.out_of_memory, "{exit:?}");
    machine
        .until_logged(|log| {
            log.contains(&"fairway[web.1/proxy]: Error R15: ran out of memory (limit 32 MB)".into())
        })
        .await;
    let status = machine
        .until(&pod, "ready again", |status| {
            status.is_ready() && of(status, "proxy").restarts == 1
        })
        .await;
    assert_eq!(of(&status, "main").restarts, 0);
    assert_eq!(id_of(&machine, "main"), Some(main));
}

#[tokio::test]
async fn the_end_of_a_sidecar_may_take_the_pod_along() {
    let mut machine = Machine::start().await;
    let mut pod = machine.pod("exec httpd -f -h /www -p 8080");
    let mut proxy = sidecar(&pod, "proxy", "sleep 2; exit 7");
    proxy.on_exit = OnExit::RestartPod;
    before(&mut pod, proxy);
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let status = machine
        .until(&pod, "ready again", |status| {
            status.is_ready() && of(status, "main").restarts == 1
        })
        .await;
    assert_eq!(of(&status, "proxy").last_exit.as_ref().unwrap().code, 7);
    machine
        .until_logged(|log| {
            let text = "Restarting all containers of web.1: proxy exited with code 7";
            log.contains(&format!("fairway[web.1]: {text}"))
        })
        .await;
}

#[tokio::test]
async fn a_restarted_agent_takes_all_containers_up_as_they_are() {
    let mut machine = Machine::start().await;
    let pod = adapted(&machine);
    machine.plan(&[&pod]);
    let before = machine.until_ready(&pod).await;
    let containers = machine.containers();
    for kill in [false, true] {
        if kill {
            machine.kill_agent().await;
        } else {
            machine.stop_agent().await;
        }
        machine.shared().reports.send_replace(vec![]);
        machine.start_agent().await;
        assert_eq!(machine.until_ready(&pod).await, before);
        assert_eq!(machine.containers(), containers);
    }
    // One that ended meanwhile is started again, the other goes on.
    let main = id_of(&machine, "main").unwrap();
    machine.stop_agent().await;
    docker(&["kill", &id_of(&machine, "adapter").unwrap()]);
    machine.shared().reports.send_replace(vec![]);
    machine.start_agent().await;
    machine
        .until(&pod, "whole again", |status| {
            status.is_ready() && of(status, "adapter").restarts == 1
        })
        .await;
    assert_eq!(id_of(&machine, "main"), Some(main));
}

#[tokio::test]
async fn containers_whose_network_was_taken_away_get_another_together() {
    let mut machine = Machine::start().await;
    let pod = adapted(&machine);
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let format = "{{.HostConfig.NetworkMode}}";
    let main = id_of(&machine, "main").unwrap();
    let network = docker(&["inspect", "--format", format, &main]);
    docker(&["kill", network.strip_prefix("container:").unwrap()]);
    machine
        .until(&pod, "in another network", |status| {
            status.is_ready() && status.containers.iter().all(|it| it.restarts == 1)
        })
        .await;
    let networks: BTreeSet<String> = ["main", "adapter"]
        .iter()
        .map(|name| {
            // The dead one before it is on its way out.
            let middle = if *name == "main" { "" } else { "adapter-" };
            let running = format!("name=web.1-{middle}[0-9a-f]{{12}}");
            let ours = format!("label=dev.fairway.instance={}", machine.instance);
            let list = ["ps", "--quiet", "--filter", &running, "--filter", &ours];
            let id = docker(&list).lines().next().unwrap().to_owned();
            docker(&["inspect", "--format", format, &id])
        })
        .collect();
    assert_eq!(networks.len(), 1, "{networks:?}");
    assert!(!networks.contains(&network));
}
