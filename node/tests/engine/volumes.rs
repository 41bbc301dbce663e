//! Volumes and config files, as pods see them. With a size they need root and loop devices.

use std::{fs, process::Command};

use fairway_api::{
    ids::{SnapshotId, VolumeId},
    pods::{PodPhase, PodSpec},
    secret::Secret,
    volumes::{Mount, VolumeOrder, VolumeSource, VolumeTask},
};

use crate::{
    machine::{Machine, docker},
    registry::Registry,
};

fn local(size_bytes: Option<u64>) -> Mount {
    Mount {
        volume: VolumeId::generate(),
        name: "data".parse().unwrap(),
        source: VolumeSource::Local,
        size_bytes,
        path: "/data".parse().unwrap(),
        read_only: false,
        leased: false,
    }
}

/// Unmounts and removes what a test leaves behind, also when it fails.
struct Mounts(std::path::PathBuf, String);

impl Drop for Mounts {
    fn drop(&mut self) {
        let volumes = fs::read_dir(&self.0).into_iter().flatten().flatten();
        for volume in volumes {
            let mount = volume.path().join("mnt");
            drop(Command::new("umount").arg("--lazy").arg(mount).output());
        }
        drop(fs::remove_dir_all(files_of(&self.1)));
    }
}

/// Where an instance's agent keeps config files.
fn files_of(instance: &str) -> String {
    format!("/dev/shm/fairway-{instance}-files")
}

async fn machine_as(user: &str) -> (Machine, Mounts) {
    let mut machine = Machine::with_socket(fairway_node::DOCKER_SOCKET_DEFAULT.into()).await;
    machine.registry = Registry::start_as(&machine.instance, user).await;
    let volumes = machine.dir.path().join("volumes");
    let mounts = Mounts(volumes, machine.instance.clone());
    machine.start_agent().await;
    (machine, mounts)
}

/// Runs a script in a pod with these mounts; its last lines.
async fn run(machine: &mut Machine, mounts: &[Mount], script: &str) -> Vec<String> {
    let mut pod = machine.one_off(script);
    pod.mounts = mounts.to_vec();
    run_pod(machine, &pod).await
}

async fn run_pod(machine: &mut Machine, pod: &PodSpec) -> Vec<String> {
    machine.plan(&[pod]);
    let exit = machine.until_exited(pod).await.last_exit.unwrap();
    machine.plan(&[]);
    machine.until_gone(pod).await;
    exit.last_lines
}

#[tokio::test]
async fn what_a_user_of_the_image_writes_outlives_pods_and_the_agent() {
    let (mut machine, _mounts) = machine_as("app").await;
    let volume = local(None);
    let mounts = [volume.clone()];
    let wrote = run(
        &mut machine,
        &mounts,
        "echo user $(id -u); echo kept >/data/file; stat -c %U:%u /data",
    )
    .await;
    assert_eq!(wrote, ["user 1234", "app:1234"]);
    machine.stop_agent().await;
    machine.start_agent().await;
    assert_eq!(run(&mut machine, &mounts, "cat /data/file").await, ["kept"]);
    let read_only = Mount {
        read_only: true,
        ..volume.clone()
    };
    let refused = run(
        &mut machine,
        &[read_only],
        "echo x >/data/file || echo refused",
    )
    .await;
    assert!(refused.contains(&"refused".to_owned()), "{refused:?}");
    let reported = |machine: &Machine| {
        let reports = machine.shared().reports.borrow();
        reports
            .last()
            .and_then(|it| it.volumes.as_ref())
            .is_some_and(|all| all.iter().any(|it| it.volume == volume.volume))
    };
    machine.until_engine("reported the volume", &reported).await;
    machine.volumes = vec![VolumeOrder {
        volume: volume.volume,
        task: VolumeTask::Remove,
    }];
    machine.plan(&[]);
    machine
        .until_engine("removed the volume", |it| !reported(it))
        .await;
    let left = fs::read_dir(machine.dir.path().join("volumes"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_volume_with_a_size_holds_no_more_and_comes_back_after_a_reboot() {
    let (mut machine, mounts) = machine_as("1234:1235").await;
    let volume = [local(Some(32 << 20))];
    let script =
        "echo kept >/data/file; ls /data; head -c 100000000 /dev/zero >/data/big || echo full";
    let filled = run(&mut machine, &volume, script).await;
    assert_eq!(filled.first().unwrap(), "file", "no lost+found: {filled:?}");
    assert_eq!(filled.last().unwrap(), "full", "{filled:?}");
    let image = mounts.0.join(volume[0].volume.to_string()).join("image");
    assert_eq!(fs::metadata(image).unwrap().len(), 32 << 20);
    // As after a reboot: nothing is mounted.
    machine.stop_agent().await;
    let mount = mounts.0.join(volume[0].volume.to_string()).join("mnt");
    assert!(
        Command::new("umount")
            .arg(&mount)
            .status()
            .unwrap()
            .success()
    );
    machine.start_agent().await;
    let found = run(
        &mut machine,
        &volume,
        "cat /data/file; rm /data/big; stat -c %u:%g /data",
    )
    .await;
    assert_eq!(found, ["kept", "1234:1235"]);
}

#[tokio::test]
async fn a_full_volume_is_named_in_the_log_of_its_pod() {
    let (mut machine, _mounts) = machine_as("").await;
    let mut pod =
        machine.worker("head -c 100000000 /dev/zero >/data/big; echo wrote; exec sleep 1000");
    pod.mounts = vec![local(Some(16 << 20))];
    machine.plan(&[&pod]);
    machine
        .until_logged(|log| log.iter().any(|line| line.ends_with(": wrote")))
        .await;
    // The agent looks at its start, and every half minute after that.
    machine.stop_agent().await;
    machine.start_agent().await;
    let is_full = |line: &String| line.contains("Error: volume data is full");
    machine.until_logged(|log| log.iter().any(is_full)).await;
    machine.plan(&[]);
    machine.until_gone(&pod).await;
}

#[tokio::test]
async fn config_files_are_read_by_the_pods_own_user_and_are_nowhere_else() {
    let (mut machine, _mounts) = machine_as("app").await;
    let mut pod = machine.one_off(
        "cat /run/secrets/KEY; echo; stat -c %a:%u /run/secrets/KEY; echo x >/run/secrets/KEY || echo refused; \
         grep -c ' /run/secrets tmpfs' /proc/mounts || grep ' /run/secrets ' /proc/mounts",
    );
    pod.files = [("KEY".parse().unwrap(), Secret::new("s3cret"))].into();
    machine.plan(&[&pod]);
    let exit = machine.until_exited(&pod).await.last_exit.unwrap();
    let lines = exit.last_lines;
    for line in ["s3cret", "400:1234", "refused"] {
        assert!(lines.contains(&line.to_owned()), "{line}: {lines:?}");
    }
    assert_eq!(lines.last().unwrap(), "1", "in memory: {lines:?}");
    let container = &machine.containers()[0];
    assert!(!docker(&["inspect", container]).contains("s3cret"));
    machine.plan(&[]);
    machine.until_gone(&pod).await;
    let dir = files_of(&machine.instance);
    machine
        .until_engine("removed the files", |_| !fs::exists(&dir).unwrap())
        .await;
}

#[tokio::test]
async fn host_paths_are_mounted_where_the_operator_allows_it() {
    let open = tempfile::tempdir().unwrap();
    let mut machine = Machine::with_socket(fairway_node::DOCKER_SOCKET_DEFAULT.into()).await;
    machine.host_paths = vec![open.path().to_string_lossy().into_owned().parse().unwrap()];
    machine.start_agent().await;
    let at = |path: &std::path::Path| Mount {
        source: VolumeSource::HostPath {
            path: path.to_string_lossy().into_owned().parse().unwrap(),
        },
        ..local(None)
    };
    let below = open.path().join("shop");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("file"), "there\n").unwrap();
    assert_eq!(
        run(&mut machine, &[at(&below)], "cat /data/file").await,
        ["there"]
    );
    let facts = machine
        .shared()
        .reports
        .borrow()
        .last()
        .unwrap()
        .facts
        .clone();
    assert_eq!(facts.unwrap().host_paths, machine.host_paths);
    std::os::unix::fs::symlink("/etc", open.path().join("out")).unwrap();
    for (path, says) in [("/etc", "does not allow"), ("out", "leads out")] {
        let mut pod = machine.worker("cat /data/passwd; exec sleep 1000");
        pod.mounts = vec![at(&open.path().join(path))];
        machine.plan(&[&pod]);
        let is_refused = |phase: &PodPhase| {
            matches!(phase, PodPhase::Refused { reason }
                if reason.contains("its volume data") && reason.contains(says))
        };
        machine
            .until(&pod, "refused", |status| is_refused(&status.phase))
            .await;
    }
    machine.plan(&[]);
}

#[tokio::test]
async fn a_volume_goes_into_an_archive_and_another_one_comes_out_of_it() {
    let (mut machine, _mounts) = machine_as("app").await;
    let (from, to) = (local(Some(32 << 20)), local(Some(32 << 20)));
    let script = "mkdir /data/a; echo kept >/data/a/file; head -c 3000000 /dev/zero >/data/zeros";
    run(&mut machine, std::slice::from_ref(&from), script).await;
    run(
        &mut machine,
        std::slice::from_ref(&to),
        "echo old >/data/old",
    )
    .await;
    let snapshot = SnapshotId::generate();
    let mut busy = machine.worker("exec sleep 1000");
    busy.mounts = vec![from.clone()];
    machine.plan(&[&busy]);
    machine.until_ready(&busy).await;
    machine.volumes = vec![VolumeOrder {
        volume: from.volume,
        task: VolumeTask::Save {
            snapshot,
            mount: Box::new(from.clone()),
        },
    }];
    machine.plan(&[&busy]);
    machine.plan(&[]);
    machine.until_gone(&busy).await;
    let archives = &machine.shared().archives;
    let mut seen = archives.subscribe();
    crate::machine::within(seen.wait_for(|all| all.contains_key(&snapshot)))
        .await
        .unwrap();
    machine.volumes = vec![VolumeOrder {
        volume: to.volume,
        task: VolumeTask::Load {
            snapshot,
            mount: Box::new(to.clone()),
        },
    }];
    machine.plan(&[]);
    let mut ends = machine.shared().volume_ends.subscribe();
    let ended = crate::machine::within(ends.wait_for(|all| !all.is_empty()))
        .await
        .unwrap()
        .clone();
    assert_eq!(ended, [None]);
    machine.volumes.clear();
    let found = run(
        &mut machine,
        &[to],
        "cat /data/a/file; stat -c %u /data/a/file; ls /data",
    )
    .await;
    assert_eq!(found, ["kept", "1234", "a", "zeros"]);
}

#[tokio::test]
async fn pods_of_a_leased_volume_end_when_nobody_answers_any_more() {
    // Nothing of this pod needs a file server: what decides is that it has a lease.
    let open = tempfile::tempdir().unwrap();
    let mut machine = Machine::with_socket(fairway_node::DOCKER_SOCKET_DEFAULT.into()).await;
    machine.host_paths = vec![open.path().to_string_lossy().into_owned().parse().unwrap()];
    machine.start_agent().await;
    let mut pod = machine.worker("trap '' TERM; echo up; while :; do sleep 1; done");
    pod.mounts = vec![Mount {
        source: VolumeSource::HostPath {
            path: open.path().to_string_lossy().into_owned().parse().unwrap(),
        },
        leased: true,
        ..local(None)
    }];
    pod.stop.grace_secs = 300;
    let stays = machine.worker("exec sleep 1000");
    machine.plan(&[&pod, &stays]);
    machine.until_ready(&pod).await;
    machine.until_ready(&stays).await;
    machine.shared().away.send_replace(true);
    // It ignores its stop signal, and is killed when the lease is over.
    machine
        .until_engine("killed the pod", |it| it.running() == 1)
        .await;
    machine.shared().away.send_replace(false);
    machine
        .until(&pod, "back", |status| status.is_ready())
        .await;
    machine.until_ready(&stays).await;
}
