//! Networks that are ready before their pods.

use fairway_api::pods::PodSpec;

use crate::machine::{Machine, docker};

/// Prints whose host name and address the pod sees, then serves.
const SERVE: &str = "hostname; exec httpd -f -h /www -p 8080";

fn network_of(container: &str) -> String {
    docker(&[
        "inspect",
        "--format",
        "{{.HostConfig.NetworkMode}}",
        container,
    ])
}

/// The pod's container, once it is the only one.
async fn only_container(machine: &Machine) -> String {
    machine
        .until_engine("has one container", |machine| {
            machine.containers().len() == 1
        })
        .await;
    machine.containers().remove(0)
}

/// Waits until a sandbox is ready for the next pod, beside those of the pods.
async fn until_spare(machine: &Machine, taken: usize) {
    machine
        .until_engine("has a spare sandbox", |machine| {
            machine.sandboxes().len() > taken
        })
        .await;
}

#[tokio::test]
async fn a_pod_joins_a_sandbox_keeps_it_over_restarts_and_takes_it_along() {
    let mut machine = Machine::start().await;
    let pod = |script: &str| -> PodSpec { machine.pod(script) };
    let (first, second) = (pod(SERVE), pod(SERVE));
    machine.plan(&[&first]);
    machine.until_ready(&first).await;
    assert!(network_of(&only_container(&machine).await).starts_with("fairway-"));
    until_spare(&machine, 0).await;

    // The next pod of that name has the network that is there, name and all.
    machine.plan(&[&second]);
    let status = machine.until_ready(&second).await;
    let container = only_container(&machine).await;
    let sandbox = network_of(&container);
    let sandbox = sandbox.strip_prefix("container:").unwrap();
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker(&["inspect", "--format", format, sandbox]);
    assert_eq!(status.address.unwrap().to_string(), address);
    machine
        .until_logged(|log| log.iter().filter(|line| line.ends_with(": web-1")).count() == 2)
        .await;

    // An agent that was away leaves it as it is; what nobody has is replaced.
    machine.kill_agent().await;
    machine.shared().reports.send_replace(vec![]);
    machine.start_agent().await;
    assert_eq!(machine.until_ready(&second).await, status);

    // A crash costs the pod neither address nor sandbox.
    docker(&["kill", &container]);
    let again = machine
        .until(&second, "up again", |s| s.is_ready() && s.restarts == 1)
        .await;
    assert_eq!(again.address, status.address);

    // Without its sandbox it has no network, and starts in another.
    docker(&["rm", "--force", sandbox]);
    let moved = machine
        .until(&second, "moved", |s| s.is_ready() && s.restarts == 2)
        .await;
    let why = moved.last_exit.unwrap().stopped_because;
    assert_eq!(why.as_deref(), Some("its network was taken away"));

    // What was the pod's goes with it; the spares stay and are no pods.
    let last = network_of(&only_container(&machine).await);
    machine.plan(&[]);
    machine.until_gone(&second).await;
    let gone = |machine: &Machine| {
        let sandboxes = machine.sandboxes();
        sandboxes.iter().all(|id| !last.ends_with(id.as_str()))
    };
    machine.until_engine("is rid of the sandbox", gone).await;
    assert_eq!(machine.containers().len(), 0);
}
