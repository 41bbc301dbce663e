use std::collections::BTreeMap;

use chrono::DateTime;
use fairway_api::{
    accounts::UserRef,
    build_orders::{BuiltImage, BuiltProcess},
    checks::{Check, Checks},
    config_vars::ConfigVars,
    ids::{AppId, PodId, ReleaseId, UserId},
    images::ImageRef,
    placement::Priority,
    pods::{PodSpec, RestartPolicy, StopPolicy},
    releases::ReleaseStatus,
    secret::Secret,
};
use fairway_scheduler::snapshot::{Pod, PodIntent, PodKind};

use super::{Runs, pod_spec};
use crate::{deploy::one_off::OneOff, store::releases::ReleaseRow};

/// An image with these process types, each of which runs `run TYPE`.
pub(crate) fn image(types: &[&str]) -> BuiltImage {
    let process = |name: &&str| {
        let process = BuiltProcess {
            command_line: format!("run {name}"),
            entrypoint: None,
            command: Some(vec!["run".into(), (*name).into()]),
            checks: None,
            stop: None,
        };
        (name.parse().unwrap(), process)
    };
    BuiltImage {
        image: ImageRef {
            registry: "127.0.0.1:5000".into(),
            repository: "apps/shop".into(),
            digest: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
        },
        size_bytes: 12 * 1024 * 1024,
        built_with: "Python".into(),
        buildpacks: vec![],
        processes: types.iter().map(process).collect(),
        exposed_port: None,
        formation: BTreeMap::new(),
        cron: BTreeMap::new(),
    }
}

pub(crate) fn release(image: BuiltImage) -> ReleaseRow {
    ReleaseRow {
        id: ReleaseId::from_u128(1),
        app: AppId::from_u128(2),
        version: 7,
        description: "Deploy 1a2b3c4d".into(),
        status: ReleaseStatus::Pending,
        failure: None,
        user: UserRef {
            id: UserId::from_u128(3),
            email: "a@example.com".parse().unwrap(),
        },
        build: None,
        image: Some(image),
        commit: Some("1a2b3c4d".repeat(5).parse().unwrap()),
        config_version: 1,
        image_expired: false,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

fn pod(kind: PodKind, process_type: &str) -> Pod {
    Pod {
        id: PodId::from_u128(4),
        release: ReleaseId::from_u128(1),
        kind,
        process_type: process_type.parse().unwrap(),
        ordinal: 1,
        name: format!("{process_type}.1"),
        size: "standard-1x".parse().unwrap(),
        node: None,
        unplaced: None,
        intent: PodIntent::Wanted,
        stop_at: None,
        status: None,
        gone: false,
        created_at: DateTime::UNIX_EPOCH,
    }
}

fn spec(pod: &Pod, image: BuiltImage, one_off: Option<&OneOff>) -> Option<PodSpec> {
    let config: ConfigVars = [
        ("GREETING", "hello"),
        ("PORT", "1"),
        ("FAIRWAY_APP", "fake"),
    ]
    .map(|(name, value)| (name.parse().unwrap(), Secret::new(value)))
    .into();
    let (release, app_name) = (release(image), "shop".parse().unwrap());
    let app = release.app;
    let (release, config) = (&release, &config);
    pod_spec(
        pod,
        &Runs {
            priority: Priority::High,
            app,
            app_name: &app_name,
            release,
            config,
            one_off,
        },
    )
}

fn run(command: &str) -> OneOff {
    let env = [("GREETING".parse().unwrap(), Secret::new("mine"))].into();
    OneOff {
        command: command.into(),
        env,
        attach: None,
        time_to_live_secs: 60,
    }
}

#[test]
fn a_web_pod_listens_where_the_image_says() {
    let mut exposes = image(&["web"]);
    let spec_of = |image| spec(&pod(PodKind::Service, "web"), image, None).unwrap();
    assert_eq!(spec_of(exposes.clone()).port, Some(8080));
    exposes.exposed_port = Some(3000);
    let spec = spec_of(exposes);
    assert_eq!((spec.port, spec.env["PORT"].expose()), (Some(3000), "3000"));
    assert_eq!(spec.checks, Some(Checks::for_port()));
    assert_eq!(spec.restart, RestartPolicy::Always);
    assert_eq!(spec.stop, StopPolicy::default());
}

#[test]
fn the_platform_has_the_last_word_in_the_environment() {
    let spec = spec(&pod(PodKind::Service, "web"), image(&["web"]), None).unwrap();
    let env = |name: &str| spec.env[name].expose().to_owned();
    assert_eq!(env("GREETING"), "hello");
    assert_eq!(
        (env("PORT"), env("FAIRWAY_APP")),
        ("8080".into(), "shop".into())
    );
    assert_eq!(
        (env("DYNO"), env("FAIRWAY_RELEASE")),
        ("web.1".into(), "v7".into())
    );
    assert_eq!(env("FAIRWAY_COMMIT"), "1a2b3c4d".repeat(5));
    assert_eq!(env("WEB_SERVICE_HOST"), "web.shop.internal");
    assert_eq!(env("WEB_SERVICE_PORT"), "8080");
}

#[test]
fn a_worker_has_no_port_and_a_release_phase_no_checks() {
    let worker = spec(&pod(PodKind::Service, "worker"), image(&["worker"]), None).unwrap();
    assert_eq!(
        (worker.port, worker.checks),
        (None, Some(Checks::for_worker()))
    );
    // What the user set is the user's: the platform gives a worker no port.
    assert_eq!(worker.env["PORT"].expose(), "1");
    let phase = spec(
        &pod(PodKind::ReleasePhase, "release"),
        image(&["release"]),
        None,
    )
    .unwrap();
    assert_eq!(
        (phase.port, phase.checks, phase.restart),
        (None, None, RestartPolicy::Never)
    );
    assert!(spec(&pod(PodKind::Service, "clock"), image(&["web"]), None).is_none());
}

#[test]
fn checks_and_stop_of_the_release_count() {
    let mut image = image(&["web"]);
    let process = image.processes.get_mut("web").unwrap();
    let checks = Checks {
        startup: Check::Uptime { secs: 9 },
        ..Checks::for_worker()
    };
    let stop = StopPolicy {
        signal: "SIGINT".into(),
        grace_secs: 5,
    };
    (process.checks, process.stop) = (Some(checks.clone()), Some(stop.clone()));
    let spec = spec(&pod(PodKind::Service, "web"), image, None).unwrap();
    assert_eq!((spec.checks, spec.stop), (Some(checks), stop));
}

#[test]
fn a_one_off_command_is_a_shell_line_or_the_name_of_a_type() {
    let pod = pod(PodKind::Run, "one-off");
    let line = spec(&pod, image(&["web"]), Some(&run("echo $GREETING | cat"))).unwrap();
    let words = ["/bin/sh", "-c", "echo $GREETING | cat"];
    assert_eq!(line.command.unwrap(), words);
    assert_eq!(
        line.entrypoint.unwrap(),
        Vec::<String>::new(),
        "no entrypoint stands before it"
    );
    assert_eq!(line.env["GREETING"].expose(), "mine");
    assert_eq!(line.time_to_live_secs, Some(60));

    let named = spec(&pod, image(&["web", "worker"]), Some(&run("worker"))).unwrap();
    assert_eq!(named.command.unwrap(), ["run", "worker"]);
    assert_eq!((named.port, named.checks), (None, None));
}

#[test]
fn in_an_image_of_buildpacks_the_launcher_stands_before_it() {
    let mut image = image(&["web"]);
    let process = image.processes.get_mut("web").unwrap();
    process.entrypoint = Some(vec!["/cnb/process/web".into()]);
    let spec = spec(&pod(PodKind::Run, "one-off"), image, Some(&run("ls"))).unwrap();
    assert_eq!(spec.entrypoint.unwrap(), ["/cnb/lifecycle/launcher"]);
    assert_eq!(spec.command.unwrap(), ["/bin/sh", "-c", "ls"]);
}
