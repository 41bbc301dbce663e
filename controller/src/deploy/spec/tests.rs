use std::collections::BTreeMap;

use chrono::DateTime;
use fairway_api::{
    accounts::UserRef,
    build_orders::{BuiltImage, BuiltProcess},
    checks::{Check, Checks},
    config_vars::ConfigVars,
    ids::{AppId, PodId, ReleaseId, UserId},
    images::ImageRef,
    names::ProcessType,
    placement::Priority,
    pods::{PodSpec, RestartPolicy, StopPolicy},
    releases::ReleaseStatus,
    secret::Secret,
    sidecars::{BuiltFolder, BuiltSidecar, BuiltSidecars, FolderMount, OnExit, SeenConfig},
    sizes::Resources,
};
use fairway_scheduler::snapshot::{Pod, PodIntent, PodKind};

use super::{Runs, pod_spec, requests_port};
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
        sidecars: Default::default(),
        strategy: None,
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
        mounts: vec![],
        config_files: Default::default(),
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
        sidecars: Default::default(),
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
            volumes: &BTreeMap::new(),
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

/// A sidecar of web pods.
pub(crate) fn sidecar(name: &str, after: &[&str]) -> BuiltSidecar {
    BuiltSidecar {
        name: name.parse().unwrap(),
        process_types: [ProcessType::web()].into(),
        one_offs: false,
        image: image(&[]).image,
        image_name: None,
        command_line: "bin/proxy".into(),
        entrypoint: Some(vec!["bin/proxy".into()]),
        command: Some(vec![]),
        env: [("GREETING".parse().unwrap(), "its own".to_owned())].into(),
        config: SeenConfig::Only(["PORT".parse().unwrap()].into()),
        resources: Resources {
            memory_bytes: 64 << 20,
            cpu_millis: 100,
            pids: 32,
        },
        port: Some(9000),
        takes_requests: false,
        checks: Checks::for_port(),
        stop: StopPolicy::default(),
        after: after.iter().map(|name| name.parse().unwrap()).collect(),
        on_exit: OnExit::Restart,
        folders: vec![FolderMount {
            name: "pages".parse().unwrap(),
            path: "/srv".into(),
        }],
    }
}

fn with_sidecars() -> BuiltImage {
    let mut image = image(&["web", "worker"]);
    let mut elsewhere = sidecar("elsewhere", &["proxy"]);
    elsewhere.process_types = ["worker".parse().unwrap()].into();
    elsewhere.one_offs = true;
    elsewhere.folders.clear();
    elsewhere.config = SeenConfig::All;
    let mut proxy = sidecar("proxy", &[]);
    proxy.takes_requests = true;
    image.sidecars = BuiltSidecars {
        containers: vec![proxy, sidecar("late", &["proxy", "main"]), elsewhere],
        main_after: ["proxy", "elsewhere"]
            .map(|name| name.parse().unwrap())
            .into(),
        folders: vec![BuiltFolder {
            name: "pages".parse().unwrap(),
            size_bytes: 1 << 20,
            path: "/app/pages".into(),
        }],
    };
    image
}

#[test]
fn a_pod_has_the_sidecars_that_go_with_what_it_runs() {
    let names = |kind, process_type: &str, one_off: Option<&OneOff>| -> Vec<String> {
        let spec = spec(&pod(kind, process_type), with_sidecars(), one_off).unwrap();
        let containers = spec.sidecars.containers.iter();
        containers.map(|it| it.name.to_string()).collect()
    };
    assert_eq!(names(PodKind::Service, "web", None), ["proxy", "late"]);
    assert_eq!(names(PodKind::Service, "worker", None), ["elsewhere"]);
    let command = run("web");
    assert_eq!(
        names(PodKind::Run, "one-off", Some(&command)),
        ["elsewhere"]
    );

    let web = spec(&pod(PodKind::Service, "web"), with_sidecars(), None).unwrap();
    assert_eq!((web.port, web.requests_port()), (Some(8080), Some(9000)));
    let order: Vec<_> = web
        .sidecars
        .main_after
        .iter()
        .map(|it| it.as_str())
        .collect();
    assert_eq!(order, ["proxy"], "only what is in the pod is waited for");
    assert_eq!(web.sidecars.containers[1].after.len(), 2);
    assert_eq!(web.sidecars.folders.len(), 1);
    assert_eq!(web.sidecars.main_folders[0].path, "/app/pages");
    assert_eq!(requests_port(&with_sidecars()), 9000);
    let worker = spec(&pod(PodKind::Service, "worker"), with_sidecars(), None).unwrap();
    assert!(worker.sidecars.containers[0].after.is_empty());
    assert!(worker.sidecars.folders.is_empty() && worker.sidecars.main_folders.is_empty());
}

#[test]
fn a_sidecar_sees_the_config_that_is_meant_for_it() {
    let web = spec(&pod(PodKind::Service, "web"), with_sidecars(), None).unwrap();
    let proxy = &web.sidecars.containers[0];
    let value = |name: &str| proxy.env.get(name).map(|it| it.expose().to_owned());
    for (name, expect) in [
        ("GREETING", Some("its own")),
        ("PORT", Some("9000")),
        ("APP_PORT", Some("8080")),
        ("FAIRWAY_APP", Some("shop")),
        ("FAIRWAY_CONTAINER", Some("proxy")),
        ("DYNO", Some("web.1")),
    ] {
        assert_eq!(value(name).as_deref(), expect, "{name}");
    }
    let mut image = with_sidecars();
    image.sidecars.containers[0].env.clear();
    let web = spec(&pod(PodKind::Service, "web"), image, None).unwrap();
    let proxy = &web.sidecars.containers[0];
    assert!(!proxy.env.contains_key("GREETING"), "it was not named");
}
