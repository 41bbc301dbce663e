//! Agents, controllers and engines that go away.

use std::{path::Path, sync::Arc};

use fairway_api::pods::PodPhase;
use fairway_node::DOCKER_SOCKET_DEFAULT;
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use crate::machine::{Machine, docker};

#[tokio::test]
async fn a_restarted_agent_takes_pods_up_as_they_are() {
    let mut machine = Machine::start().await;
    let pod = machine.pod("exec httpd -f -h /www -p 8080");
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
        let all_ready =
            |report: &fairway_api::nodes::NodeStatus| report.pods.iter().all(|p| p.is_ready());
        assert!(
            machine.shared().reports.borrow().iter().all(all_ready),
            "it lost its requests"
        );
    }
}

#[tokio::test]
async fn without_a_controller_the_last_plan_goes_on() {
    let mut machine = Machine::start().await;
    let pod = machine.worker("echo run; exec sleep 1000");
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    machine.stop_agent().await;
    machine.shared().away.send_replace(true);
    docker(&["kill", &machine.containers()[0]]);
    machine.start_agent().await;
    // Nobody takes reports now: the engine is asked.
    let running = || {
        let ours = format!("label=dev.fairway.instance={}", machine.instance);
        let list = [
            "ps",
            "--quiet",
            "--filter",
            &ours,
            "--filter",
            "label=dev.fairway.pod",
        ];
        !docker(&list).is_empty()
    };
    machine
        .until_engine("runs the pod again", |_| running())
        .await;
    machine.shared().away.send_replace(false);
    let status = machine
        .until(&pod, "up again", |s| s.is_ready() && s.restarts == 1)
        .await;
    assert_eq!(status.last_exit.unwrap().code, 137);
    machine
        .until_logged(|log| log.iter().filter(|line| line.ends_with(": run")).count() == 2)
        .await;
}

#[tokio::test]
async fn a_one_off_pod_is_not_run_twice() {
    let mut machine = Machine::start().await;
    let pod = machine.one_off("echo migrated; exit 5");
    machine.plan(&[&pod]);
    let before = machine.until_exited(&pod).await;
    assert_eq!(before.last_exit.as_ref().unwrap().code, 5);
    machine.stop_agent().await;
    machine.shared().reports.send_replace(vec![]);
    machine.start_agent().await;
    assert_eq!(machine.until_exited(&pod).await, before);
    assert_eq!(machine.containers().len(), 1);
}

#[tokio::test]
async fn pods_that_left_the_plan_meanwhile_are_stopped_and_foreign_containers_are_not() {
    let mut machine = Machine::start().await;
    let pod = machine.worker("exec sleep 1000");
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    machine.stop_agent().await;
    let label = format!("fairway.test={}", machine.instance);
    let image = machine.registry.image().to_string();
    let foreign = docker(&[
        "run", "--detach", "--label", &label, &image, "sleep", "1000",
    ]);
    let foreign = Foreign(foreign);
    machine.plan(&[]);
    machine.shared().reports.send_replace(vec![]);
    machine.start_agent().await;
    machine.until_gone(&pod).await;
    machine
        .until_engine("is rid of the pod", |machine| {
            machine.containers().is_empty()
        })
        .await;
    assert_eq!(
        docker(&["inspect", "--format", "{{.State.Running}}", &foreign.0]),
        "true"
    );
}

struct Foreign(String);

impl Drop for Foreign {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}

#[tokio::test]
async fn an_engine_that_is_away_at_first_is_named_and_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let mut machine = Machine::with_socket(socket.clone()).await;
    machine.start_agent().await;
    let pod = machine.worker("exec sleep 1000");
    machine.plan(&[&pod]);
    let refused = |phase: &PodPhase| matches!(phase, PodPhase::Refused { .. });
    let status = machine
        .until(&pod, "refused", |status| refused(&status.phase))
        .await;
    let PodPhase::Refused { reason } = status.phase else {
        unreachable!()
    };
    assert!(
        reason.contains("is not running") && reason.contains("systemctl start"),
        "{reason}"
    );
    std::os::unix::fs::symlink(DOCKER_SOCKET_DEFAULT, &socket).unwrap();
    machine.until_ready(&pod).await;
}

#[tokio::test]
async fn an_engine_that_goes_away_for_a_while_is_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let door = Door::open(&socket);
    let mut machine = Machine::with_socket(socket.clone()).await;
    machine.start_agent().await;
    let pod = machine.worker("echo run; exec sleep 1000");
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    drop(door);
    std::fs::remove_file(&socket).unwrap();
    docker(&["kill", &machine.containers()[0]]);
    let _door = Door::open(&socket);
    let status = machine
        .until(&pod, "up again", |s| s.is_ready() && s.restarts == 1)
        .await;
    assert_eq!(status.last_exit.unwrap().code, 137);
    machine
        .until_logged(|log| log.iter().filter(|line| line.ends_with(": run")).count() == 2)
        .await;
}

/// The engine's socket under another path; closing it breaks all connections through it.
struct Door(#[expect(dead_code, reason = "held for its drop")] JoinSet<()>);

impl Door {
    fn open(path: &Path) -> Self {
        let listener = Arc::new(UnixListener::bind(path).unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut through = JoinSet::new();
            while let Ok((mut inner, _)) = listener.accept().await {
                through.spawn(async move {
                    let mut outer = UnixStream::connect(DOCKER_SOCKET_DEFAULT).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut inner, &mut outer).await);
                });
            }
        });
        Self(tasks)
    }
}
