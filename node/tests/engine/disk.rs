//! A disk that is short: what goes, in which order, and what is told. How full the disk is, is as it
//! is; the tests ask for a reserve that it does not have.

use fairway_api::{
    disk::DiskReserve,
    placement::Priority,
    pods::{PodPhase, PodSpec},
};

use crate::machine::{Machine, docker, within};

const MIB: u64 = 1024 * 1024;

/// A machine whose reserve is so many percent of what is free.
async fn machine(percent: u64) -> Machine {
    let mut machine = Machine::with_socket(fairway_node::DOCKER_SOCKET_DEFAULT.into()).await;
    let root = docker(&["info", "--format", "{{.DockerRootDir}}"]);
    let space = rustix::fs::statvfs(root.as_str()).unwrap();
    let free = space.f_bavail * space.f_frsize;
    machine.disk_reserve = DiskReserve::Bytes(free / 100 * percent);
    machine.start_agent().await;
    machine
}

/// A pod that writes so many MiB, then does nothing.
fn writer(machine: &Machine, mib: u64) -> PodSpec {
    machine.worker(&format!(
        "trap 'exit 0' TERM; dd if=/dev/zero of=/big bs=1M count={mib}; echo written; \
         while :; do sleep 0.1; done"
    ))
}

fn containers(machine: &Machine) -> String {
    let filter = format!("label=dev.fairway.instance={}", machine.instance);
    let pods = "label=dev.fairway.pod";
    docker(&[
        "ps", "--all", "--quiet", "--filter", &filter, "--filter", pods,
    ])
}

#[tokio::test]
async fn a_pod_over_its_budget_is_ended_with_what_to_do_and_what_it_wrote_is_gone() {
    // Short, but not so short that anything within its budget has to go.
    let mut machine = machine(40).await;
    let greedy = PodSpec {
        disk_bytes: Some(MIB),
        ..writer(&machine, 4)
    };
    let modest = PodSpec {
        disk_bytes: Some(64 * MIB),
        ..writer(&machine, 4)
    };
    machine.plan(&[&greedy, &modest]);
    let status = machine
        .until(&greedy, "over its budget", |it| it.last_exit.is_some())
        .await;
    let exit = status.last_exit.unwrap();
    let why = exit.stopped_because.unwrap();
    for part in [
        "disk: it wrote 4 MiB",
        "its size allows 1 MiB",
        "app ps:type",
    ] {
        assert!(why.contains(part), "{why}");
    }
    // The two streams of a container come in no order.
    assert!(exit.last_lines.iter().any(|line| line == "written"));
    // It is tried again, with a file system of its own that is empty.
    let again = |status: &fairway_api::pods::PodStatus| status.restarts > 0;
    machine.until(&greedy, "started again", again).await;
    let one_each = |machine: &Machine| containers(machine).lines().count() == 2;
    machine
        .until_engine("removed the old container", one_each)
        .await;
    let modest = machine.until(&modest, "up", |it| it.is_ready()).await;
    assert_eq!((modest.restarts, modest.last_exit), (0, None));
}

#[tokio::test]
async fn a_full_disk_is_told_and_pods_go_by_priority_one_at_a_time() {
    let mut machine = machine(200).await;
    let low = PodSpec {
        priority: Priority::Low,
        ..writer(&machine, 20)
    };
    let larger = writer(&machine, 24);
    let idle = writer(&machine, 1);
    machine.plan(&[&larger, &low, &idle]);
    let mut reports = machine.shared().reports.subscribe();
    let told = reports.wait_for(|reports| {
        let last = reports.last().and_then(|last| last.disk.pressure.as_ref());
        last.is_some_and(|why| why.starts_with("less than "))
    });
    drop(within(told).await.unwrap());
    let exited = |it: &fairway_api::pods::PodStatus| it.phase == PodPhase::Exited;
    let status = machine.until(&low, "evicted", exited).await;
    let exit = status.last_exit.unwrap();
    assert!(exit.is_eviction(), "{exit:?}");
    assert!(exit.to_string().starts_with("was evicted, since"), "{exit}");
    let other = machine.until(&larger, "seen", |_| true).await;
    assert!(!exited(&other), "one at a time: {other:?}");
    machine.until(&larger, "evicted", exited).await;
    let idle = machine.until(&idle, "up", |it| it.is_ready()).await;
    assert_eq!(idle.last_exit, None, "its end would win nothing");
    let one = |machine: &Machine| containers(machine).lines().count() == 1;
    machine.until_engine("removed what went", one).await;
}
